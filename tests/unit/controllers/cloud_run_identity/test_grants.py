"""The grants that an identity declares, and the objects that it references."""

from typing import Any

import pytest

from cloudrun_identity.api import AccountLoss, CloudRunIdentity, ManagedProject, Reason, TargetKind
from cloudrun_identity.controllers.cloud_run_identity.grants import (
    OPEN_ID_TOKEN_CREATOR,
    TOKEN_CREATOR,
    USER,
    WORKLOAD_IDENTITY_USER,
    identity_grants,
    identity_references,
)
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import IAMCondition, Target
from cloudrun_identity.reconcile.cluster_state import custom_role_key, identity_key, project_key
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, project, record

CHECKOUT = GrantMember(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)
SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared, generation: 1}
spec: {projectID: shared-prod-1234, namespaces: {names: [payments]}}
status: {projectNumber: "28"}
"""
PRICING = """
kind: CloudRunIdentity
metadata: {name: pricing, namespace: payments, uid: u-pricing, generation: 1}
spec: {projectRef: {name: payments-prod}}
"""
PRICING_EMAIL = "pricing@payments-prod-1234.iam.gserviceaccount.com"


STEADY = (record(),)


def requested_grants(
    obj: CloudRunIdentity, *objects: Any, accounts: Any = STEADY
) -> tuple[RequestedGrant, ...]:
    delegated = project()
    return identity_grants(
        obj, delegated, EMAIL, FakeClusterState(delegated, obj, *objects, accounts=accounts)
    )


def role(*objects: Any, **grant: Any) -> RequestedGrant:
    (requested,) = requested_grants(identity(roles=[{"role": "roles/run.invoker", **grant}]), *objects)
    return requested


def test_role_is_requested_on_the_project_once_the_account_is_settled() -> None:
    obj = identity(roles=[{"role": "roles/cloudsql.client"}])
    (requested,) = requested_grants(obj)
    assert (requested.path, requested.target, requested.role, requested.member) == (
        "spec.roles[0]",
        Target(TargetKind.PROJECT, "payments-prod-1234"),
        "roles/cloudsql.client",
        CHECKOUT,
    )
    (early,) = requested_grants(obj, accounts=())
    assert isinstance(early.member, Unresolved)
    (held,) = requested_grants(obj, accounts=[record(lost=AccountLoss.REPLACED)])
    assert isinstance(held.member, Unresolved), "an account that replaced the managed one gets nothing"


def test_role_is_requested_on_a_workload_under_a_condition() -> None:
    requested = role(
        target={"kind": "Service", "location": "europe-west1", "name": "pricing"},
        condition={"title": "office hours", "expression": "true"},
    )
    assert requested.target == Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "pricing")
    assert requested.condition == IAMCondition("office hours", "", "true")


def test_role_in_another_project_is_subject_to_its_guardrails() -> None:
    shared: ManagedProject = project(SHARED)
    requested = role(shared, projectRef={"name": "shared"}, target={"kind": "Secret", "name": "stripe"})
    assert requested.target == Target(TargetKind.SECRET, "shared-prod-1234", name="stripe")
    assert requested.project == shared
    assert role(shared, projectRef={"name": "shared"}).target == Target(
        TargetKind.PROJECT, "shared-prod-1234"
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"suspend": True}, Reason.DEPENDENCY_NOT_READY),
        ({"managementPolicy": "Observe"}, Reason.DEPENDENCY_NOT_READY),
        ({"namespaces": {"names": ["shop"]}}, Reason.DENIED_BY_GUARDRAIL),
    ],
)
def test_nothing_is_granted_in_a_closed_or_suspended_project(spec: dict[str, Any], reason: Reason) -> None:
    requested = role(
        project(SHARED, **{"projectID": "shared-prod-1234", "namespaces": {"names": ["payments"]}, **spec}),
        projectRef={"name": "shared"},
    )
    assert isinstance(requested.target, Unresolved)
    assert isinstance(requested.target.outcome, Waiting | Refused)
    assert requested.target.outcome.reason is reason
    assert requested.target.outcome.message.startswith("spec.roles[0].projectRef: ")


def test_role_in_a_missing_project_waits_for_the_project() -> None:
    requested = role(
        projectRef={"name": "shared"}, target={"kind": "Service", "location": "europe-west1", "name": "web"}
    )
    assert requested.target == Unresolved(
        "Service europe-west1/web of ManagedProject shared",
        Waiting(
            Reason.DEPENDENCY_NOT_FOUND,
            "spec.roles[0].projectRef: ManagedProject shared does not exist; create it, or correct the "
            "reference",
        ),
    )
    (custom,) = requested_grants(
        identity(roles=[{"customRoleRef": {"name": "runner"}, "projectRef": {"name": "shared"}}])
    )
    assert isinstance(custom.role, Unresolved)


def test_role_on_the_account_of_another_identity_waits_for_it() -> None:
    target = {"kind": "ServiceAccount", "identityRef": {"name": "pricing"}}
    obj = identity(roles=[{"role": USER, "target": target}])
    pricing = record("payments/pricing", PRICING_EMAIL, unique_id="222")
    (requested,) = requested_grants(obj, identity(PRICING), accounts=[record(), pricing])
    assert requested.target == Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=PRICING_EMAIL)
    assert requested.owner == DeclaredIdentity("payments", "pricing")
    (early,) = requested_grants(obj, identity(PRICING))
    assert isinstance(early.target, Unresolved)
    assert str(early.target) == "ServiceAccount of payments/pricing"


def test_members_that_may_act_as_the_identity_get_roles_on_it() -> None:
    ann = [{"principal": "user:ann@example.com"}]
    found = requested_grants(
        identity(
            users=ann,
            tokenCreators=ann,
            openIDTokenCreators=ann,
            workloadIdentityUsers=[
                {
                    "kubernetes": {
                        "projectRef": {"name": "shared"},
                        "namespace": "jobs",
                        "serviceAccount": "prefect",
                    }
                }
            ],
            usableFrom=[{"projectRef": {"name": "shared"}}],
        ),
        project(SHARED),
    )
    assert [(requested.path, requested.role, _member(requested)) for requested in found] == [
        ("spec.users[0]", USER, "user:ann@example.com"),
        ("spec.tokenCreators[0]", TOKEN_CREATOR, "user:ann@example.com"),
        ("spec.openIDTokenCreators[0]", OPEN_ID_TOKEN_CREATOR, "user:ann@example.com"),
        (
            "spec.workloadIdentityUsers[0]",
            WORKLOAD_IDENTITY_USER,
            "serviceAccount:shared-prod-1234.svc.id.goog[jobs/prefect]",
        ),
        (
            "spec.usableFrom[0].projectRef",
            TOKEN_CREATOR,
            "serviceAccount:service-28@serverless-robot-prod.iam.gserviceaccount.com",
        ),
    ]
    assert {requested.target for requested in found} == {ACCOUNT}
    assert {requested.owner for requested in found} == {DeclaredIdentity("payments", "checkout")}


def test_every_referenced_object_requeues_the_identity() -> None:
    there = {"projectRef": {"name": "shared"}}
    obj = identity(
        roles=[
            {"role": "roles/viewer", "projectRef": {"name": "logs"}},
            {"customRoleRef": {"name": "runner"}},
            {"role": USER, "target": {"kind": "ServiceAccount", "identityRef": {"name": "pricing"}}},
        ],
        users=[{"identityRef": {"name": "ci"}}],
        tokenCreators=[{"cloudRunServiceAgentOf": {"projectRef": {"name": "run-prod"}}}],
        openIDTokenCreators=[{"identityRef": {"name": "caller", "namespace": "shop"}}],
        workloadIdentityUsers=[{"kubernetes": {**there, "namespace": "jobs", "serviceAccount": "prefect"}}],
        usableFrom=[{"projectRef": {"name": "web"}}],
    )
    assert identity_references(obj) == {
        *map(project_key, ("payments-prod", "logs", "run-prod", "shared", "web")),
        custom_role_key("payments", "runner"),
        identity_key("payments", "pricing"),
        identity_key("payments", "ci"),
        identity_key("shop", "caller"),
    }


def _member(requested: RequestedGrant) -> str:
    assert isinstance(requested.member, GrantMember)
    return requested.member.principal
