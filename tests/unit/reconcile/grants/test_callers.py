"""Callers of Cloud Run: the grants that each product needs, and what it lacks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import (
    BindingMember,
    GrantState,
    IAMBinding,
    LedgerEntry,
    ManagementPolicy,
    Reason,
    TargetKind,
)
from cloudrun_identity.api.predefined_roles import EVENT_RECEIVER, INVOKER, TOKEN_CREATOR, USER
from cloudrun_identity.controllers.iam_binding import BindingWant, IAMBindingController
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.reconcile.cluster_state import identity_key, project_key
from cloudrun_identity.reconcile.grants.caller_checks import caller_issues, observe_callers
from cloudrun_identity.reconcile.grants.callers import PRODUCTS, caller_of
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, binding, identity, project, record

NONE: Any = None
CONTROLLER = IAMBindingController(NONE, NONE)
BINDING = """
kind: IAMBinding
metadata: {name: web, namespace: payments}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Service, location: europe-west1, name: checkout}
  role: roles/run.invoker
  members: []
"""
SERVICE = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)
CALLER = f"serviceAccount:{EMAIL}"
PUB_SUB = "serviceAccount:service-417203958816@gcp-sa-pubsub.iam.gserviceaccount.com"
SCHEDULER = "service-417203958816@gcp-sa-cloudscheduler.iam.gserviceaccount.com"
CLUSTER = FakeClusterState(project(), identity(), accounts=[record()])
FIELDS = ("cloudSchedulerOf", "cloudTasksOf", "pubSubPushOf", "eventarcOf")
GRANTS = {
    "cloudSchedulerOf": {(SERVICE, INVOKER, CALLER)},
    "cloudTasksOf": {(SERVICE, INVOKER, CALLER)},
    "pubSubPushOf": {(SERVICE, INVOKER, CALLER), (ACCOUNT, TOKEN_CREATOR, PUB_SUB)},
    "eventarcOf": {
        (SERVICE, INVOKER, CALLER),
        (ACCOUNT, TOKEN_CREATOR, PUB_SUB),
        (PROJECT, EVENT_RECEIVER, CALLER),
    },
}


def called_by(*fields: str, name: str = "checkout", **spec: Any) -> IAMBinding:
    return binding(BINDING, members=[{field: {"identityRef": {"name": name}}} for field in fields], **spec)


def want_of(obj: IAMBinding, cluster: FakeClusterState = CLUSTER) -> BindingWant:
    want = CONTROLLER.resolve(obj, Allowed(project(), observe=False), cluster)
    assert isinstance(want, BindingWant)
    return want


def requested(obj: IAMBinding, cluster: FakeClusterState = CLUSTER) -> set[tuple[Any, Any, Any]]:
    found = CONTROLLER.requested_grants(want_of(obj, cluster), cluster)
    return {
        (each.target, each.role, each.member.principal if isinstance(each.member, GrantMember) else None)
        for each in found
    }


@pytest.mark.parametrize("field", FIELDS)
def test_each_product_gets_what_its_setup_asks_for(field: str) -> None:
    assert requested(called_by(field)) == GRANTS[field]


@given(st.sets(st.sampled_from(FIELDS), min_size=1))
def test_callers_of_one_identity_need_the_union_of_their_grants(fields: set[str]) -> None:
    assert requested(called_by(*fields)) == set().union(*(GRANTS[field] for field in fields))


def test_every_product_has_a_member() -> None:
    assert {BindingMember.model_fields[each.field].alias for each in PRODUCTS} == set(FIELDS)
    assert caller_of(BindingMember(principal="allUsers")) is None


@given(
    st.sampled_from(FIELDS), st.sampled_from(["Exclusive", "Additive"]), st.sampled_from(["Claim", "Keep"])
)
def test_further_grants_of_a_caller_are_never_exclusive_or_claimed(
    field: str, how: str, existing: str
) -> None:
    obj = called_by(field, authority=how, existingGrants=existing)
    for each in CONTROLLER.requested_grants(want_of(obj), CLUSTER):
        is_main = each.target == SERVICE
        assert each.exclusive is (is_main and how == "Exclusive")
        assert each.claim is (is_main and existing == "Claim")


def test_default_guardrails_admit_all_but_the_receiver_of_events() -> None:
    delegated = project(guardrails={"workloads": [{"namespaces": ["payments"], "names": ["checkout"]}]})
    cluster = FakeClusterState(delegated, identity(), accounts=[record()])
    facts = guardrail_facts(delegated, cluster)
    admitted = {
        each.role
        for each in CONTROLLER.requested_grants(want_of(called_by("eventarcOf"), cluster), cluster)
        if isinstance(each.target, Target) and isinstance(each.member, GrantMember)
        if isinstance(
            decide(
                GrantRequest(
                    "payments",
                    each.target,
                    str(each.role),
                    each.member.identity or each.member.principal,
                    frozenset(),
                    each.owner,
                ),
                delegated,
                facts,
            ),
            Admitted,
        )
    }
    assert admitted == {INVOKER, TOKEN_CREATOR}


def test_caller_refers_to_its_identity() -> None:
    assert CONTROLLER.references(called_by("pubSubPushOf")) == {
        project_key("payments-prod"),
        identity_key("payments", "checkout"),
    }


@pytest.mark.parametrize("field", ["pubSubPushOf", "eventarcOf"])
def test_missing_identity_of_a_caller_is_waited_for(field: str) -> None:
    cluster = FakeClusterState(project())
    found = CONTROLLER.requested_grants(want_of(called_by(field), cluster), cluster)
    assert len(found) == len(GRANTS[field])
    unresolved = [each.target for each in found if isinstance(each.target, Unresolved)]
    assert all(
        each.outcome.message.startswith(f"spec.members[0].{field}.identityRef: ") for each in unresolved
    )
    assert unresolved
    for each in found:
        assert isinstance(each.member, Unresolved)
        assert isinstance(each.member.outcome, Waiting)
        assert each.member.outcome.reason is Reason.DEPENDENCY_NOT_FOUND


OTHER = project(
    """
kind: ManagedProject
metadata: {name: events-prod, uid: u-events, generation: 1}
spec: {projectID: events-prod-1, namespaces: {names: [payments]}}
status: {projectNumber: "555555555555"}
"""
)
ELSEWHERE = identity(projectRef={"name": "events-prod"})
THERE = record(email="checkout@events-prod-1.iam.gserviceaccount.com")


def test_agent_and_receiver_are_in_the_project_of_the_identity() -> None:
    cluster = FakeClusterState(project(), OTHER, ELSEWHERE, accounts=[THERE])
    account = Target(TargetKind.SERVICE_ACCOUNT, "events-prod-1", name=THERE.email)
    caller = f"serviceAccount:{THERE.email}"
    assert requested(called_by("eventarcOf"), cluster) == {
        (SERVICE, INVOKER, caller),
        (
            account,
            TOKEN_CREATOR,
            "serviceAccount:service-555555555555@gcp-sa-pubsub.iam.gserviceaccount.com",
        ),
        (Target.project("events-prod-1"), EVENT_RECEIVER, caller),
    }
    projects = {
        each.project.metadata.name
        for each in CONTROLLER.requested_grants(want_of(called_by("eventarcOf"), cluster), cluster)
        if each.project
    }
    assert projects == {"events-prod"}


@pytest.mark.parametrize(
    ("spec", "outcome"),
    [
        ({"namespaces": {"names": ["shop"]}}, Refused),
        ({"managementPolicy": ManagementPolicy.OBSERVE.value}, Waiting),
        ({"suspend": True}, Waiting),
    ],
)
def test_project_of_the_identity_must_admit_the_grants(spec: dict[str, Any], outcome: type[Any]) -> None:
    other = OTHER.model_copy(update={"spec": type(OTHER.spec).model_validate(OTHER.spec.to_dict() | spec)})
    cluster = FakeClusterState(project(), other, ELSEWHERE, accounts=[THERE])
    _, token = CONTROLLER.requested_grants(want_of(called_by("pubSubPushOf"), cluster), cluster)
    assert isinstance(token.target, Unresolved)
    assert isinstance(token.target.outcome, outcome)


class Access:
    """Answers of the permission checks."""

    def __init__(self, state: AccessState) -> None:
        self.state = state
        self.asked: list[tuple[str, str, tuple[Target, ...]]] = []

    async def member_access(self, member: str, permission: str, *targets: Target) -> AccessState:
        self.asked.append((member, permission, targets))
        return self.state


async def issues(obj: IAMBinding, access: Access, cluster: FakeClusterState = CLUSTER) -> tuple[str, ...]:
    want = want_of(obj, cluster)
    checks: Any = access
    return caller_issues(await observe_callers(obj, want.target, want.project, cluster, checks))


async def test_agent_that_lost_its_role_is_reported_with_the_remedy() -> None:
    access = Access(AccessState.NOT_GRANTED)
    assert await issues(called_by("cloudSchedulerOf"), access) == (
        f"Cloud Scheduler cannot call as {EMAIL}: no policy of the account and its project lets {SCHEDULER} "
        "create tokens; gcloud projects add-iam-policy-binding payments-prod-1234 "
        f"--member=serviceAccount:{SCHEDULER} --role=roles/cloudscheduler.serviceAgent",
    )
    permission = "iam.serviceAccounts.getOpenIdToken"
    assert access.asked == [(f"serviceAccount:{SCHEDULER}", permission, (ACCOUNT, PROJECT))]


async def test_job_is_run_with_an_access_token() -> None:
    access = Access(AccessState.GRANTED)
    target = {"kind": "Job", "location": "europe-west1", "name": "checkout"}
    assert await issues(called_by("cloudSchedulerOf", target=target), access) == ()
    assert access.asked[0][1] == "iam.serviceAccounts.getAccessToken"


async def test_cloud_tasks_reports_an_account_without_users() -> None:
    (issue,) = await issues(called_by("cloudTasksOf"), Access(AccessState.GRANTED))
    assert "the principals that enqueue calls in Cloud Tasks need roles/iam.serviceAccountUser" in issue
    assert issue.endswith("add them to spec.users of CloudRunIdentity payments/checkout")
    grant = Grant(ACCOUNT, USER, "group:shop@example.com")
    entry = LedgerEntry(member=grant.member, owners=("IAMBinding/payments/x/u",), state=GrantState.GRANTED)
    used = FakeClusterState(project(), identity(), accounts=[record()], entries={grant: entry})
    assert await issues(called_by("cloudTasksOf"), Access(AccessState.GRANTED), used) == ()
    users = identity(users=[{"principal": "group:shop@example.com"}])
    declared = FakeClusterState(project(), users, accounts=[record()])
    assert await issues(called_by("cloudTasksOf"), Access(AccessState.GRANTED), declared) == ()


@pytest.mark.parametrize("field", ["pubSubPushOf", "eventarcOf"])
async def test_agent_that_the_operator_grants_tokens_is_not_checked(field: str) -> None:
    access = Access(AccessState.NOT_GRANTED)
    assert await issues(called_by(field), access) == ()
    assert access.asked == []


async def test_callers_of_a_workload_outside_the_guardrails_are_not_checked() -> None:
    access = Access(AccessState.NOT_GRANTED)
    target = {"kind": "Service", "location": "europe-west1", "name": "another"}
    assert await issues(called_by("cloudSchedulerOf", target=target), access) == ()
    assert access.asked == []


def test_identity_of_a_caller_is_matched_by_its_name() -> None:
    (main, *_) = CONTROLLER.requested_grants(want_of(called_by("pubSubPushOf")), CLUSTER)
    assert isinstance(main.member, GrantMember)
    assert main.member.identity == DeclaredIdentity("payments", "checkout")
