"""Resolution of the members that a spec names."""

from typing import Any

import pytest

from cloudrun_identity.api import Member, Reason, WorkloadIdentityUser
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.reconcile.grants.members import GrantMember, Members
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, Waiting
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, PROJECT, FakeClusterState, identity, project, record

ANN = GrantMember("user:ann@example.com")
PUBSUB_AGENT = "service-417203958816@gcp-sa-pubsub.iam.gserviceaccount.com"


def resolve(
    member: dict[str, Any], cluster: FakeClusterState, namespace: str = "payments"
) -> GrantMember | Unresolved:
    return Members(cluster, namespace).resolve(Member.model_validate(member), "spec.members[0]")


def unresolved(member: dict[str, Any], cluster: FakeClusterState, namespace: str = "payments") -> Outcome:
    found = resolve(member, cluster, namespace)
    assert isinstance(found, Unresolved)
    return found.outcome


def test_principal_is_normalized() -> None:
    assert resolve({"principal": "user:Ann@Example.com"}, FakeClusterState()) == ANN


def test_identity_resolves_to_its_account_once_settled() -> None:
    cluster = FakeClusterState(project(), identity(), accounts=[record()])
    assert resolve({"identityRef": {"name": "checkout"}}, cluster) == GrantMember(
        f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout")
    )


def test_email_of_a_declared_identity_resolves_to_that_identity() -> None:
    cluster = FakeClusterState(project(), identity(), accounts=[record()])
    named = resolve({"principal": f"serviceAccount:{EMAIL.upper()}"}, cluster)
    assert named == resolve({"identityRef": {"name": "checkout"}}, cluster)
    other = unresolved({"principal": f"serviceAccount:{EMAIL}"}, cluster, namespace="shop")
    assert isinstance(other, Refused)


@pytest.mark.parametrize("accounts", [[], [record(unique_id="")]])
def test_identity_without_a_settled_account_is_waited_for(accounts: list[Any]) -> None:
    outcome = unresolved(
        {"identityRef": {"name": "checkout"}}, FakeClusterState(identity(), accounts=accounts)
    )
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY


def test_missing_identity_is_waited_for() -> None:
    outcome = unresolved({"identityRef": {"name": "checkout"}}, FakeClusterState())
    assert outcome == Waiting(
        Reason.DEPENDENCY_NOT_FOUND,
        "spec.members[0]: CloudRunIdentity payments/checkout does not exist; create it, or correct the "
        "reference",
    )


def test_identity_of_another_namespace_must_allow_the_reference() -> None:
    member = {"identityRef": {"name": "checkout", "namespace": "payments"}}
    closed = FakeClusterState(identity(), accounts=[record()])
    outcome = unresolved(member, closed, namespace="shop")
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED_BY_GUARDRAIL
    opened = FakeClusterState(identity(allowedNamespaces=["shop"]), accounts=[record()])
    assert isinstance(resolve(member, opened, namespace="shop"), GrantMember)


def test_service_agent_requires_a_project_that_admits_the_namespace() -> None:
    member = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    assert resolve(member, FakeClusterState(project())) == GrantMember(
        "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
    )
    missing, other = (
        unresolved(member, FakeClusterState()),
        unresolved(member, FakeClusterState(project()), "other"),
    )
    unready = unresolved(
        member, FakeClusterState(project(PROJECT.replace('status: {projectNumber: "417203958816"}', "")))
    )
    assert isinstance(missing, Waiting)
    assert missing.reason is Reason.DEPENDENCY_NOT_FOUND
    assert isinstance(other, Refused)
    assert other.reason is Reason.DENIED_BY_GUARDRAIL
    assert isinstance(unready, Waiting)
    assert unready.reason is Reason.DEPENDENCY_NOT_READY


PUBSUB = {"serviceAgentOf": {"projectRef": {"name": "payments-prod"}, "service": "pubsub.googleapis.com"}}


def test_service_agent_is_named_by_its_service() -> None:
    cluster = FakeClusterState(project())
    agent = "serviceAccount:service-417203958816@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert resolve(PUBSUB, cluster) == GrantMember(agent)
    run = {"serviceAgentOf": {"projectRef": {"name": "payments-prod"}, "service": "run.googleapis.com"}}
    short = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    assert resolve(run, cluster) == resolve(short, cluster)


def test_one_of_several_service_agents_is_named() -> None:
    build = {"projectRef": {"name": "payments-prod"}, "service": "cloudbuild.googleapis.com"}
    outcome = unresolved({"serviceAgentOf": build}, FakeClusterState(project()))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.INVALID_SPEC
    assert outcome.message.startswith("spec.members[0]: cloudbuild.googleapis.com has several service agents")
    one = {"serviceAgentOf": build | {"agent": "cloudbuild"}}
    assert resolve(one, FakeClusterState(project())) == GrantMember(
        "serviceAccount:417203958816@cloudbuild.gserviceaccount.com"
    )


@pytest.mark.parametrize("member", [PUBSUB, {"principal": PUBSUB_AGENT}, {"principal": PUBSUB_AGENT.upper()}])
def test_service_agent_by_name_and_by_email_is_judged_alike(member: dict[str, Any]) -> None:
    if "principal" in member:
        member = {"principal": f"serviceAccount:{member['principal']}"}
    assert resolve(member, FakeClusterState(project())) == GrantMember(f"serviceAccount:{PUBSUB_AGENT}")
    other = unresolved(member, FakeClusterState(project()), "other")
    assert isinstance(other, Refused)
    assert other.reason is Reason.DENIED_BY_GUARDRAIL


def test_service_agent_of_an_unmanaged_project_is_named_by_its_email() -> None:
    agent = "serviceAccount:service-999999999999@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert resolve({"principal": agent}, FakeClusterState(project()), "other") == GrantMember(agent)


def test_kubernetes_service_account_is_in_the_pool_of_its_project() -> None:
    user = {
        "kubernetes": {
            "projectRef": {"name": "payments-prod"},
            "namespace": "jobs",
            "serviceAccount": "prefect",
        }
    }
    assert workload_identity_user(user, FakeClusterState(project())) == GrantMember(
        "serviceAccount:payments-prod-1234.svc.id.goog[jobs/prefect]"
    )
    missing = workload_identity_user(user, FakeClusterState())
    assert isinstance(missing, Unresolved)
    assert missing.text == "payments-prod[jobs/prefect]"
    assert missing.outcome == Waiting(
        Reason.DEPENDENCY_NOT_FOUND,
        "spec.workloadIdentityUsers[0].kubernetes.projectRef: ManagedProject payments-prod does not exist; "
        "create it, or correct the reference",
    )
    other = workload_identity_user(user, FakeClusterState(project()), "other")
    assert isinstance(other, Unresolved)
    assert isinstance(other.outcome, Refused)


def test_principal_of_a_workload_identity_pool_is_unchanged() -> None:
    pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/subject/main"
    assert workload_identity_user({"principal": pool}, FakeClusterState()) == GrantMember(pool)


@pytest.mark.parametrize(
    "principal",
    [
        "serviceAccount:payments-prod-1234.svc.id.goog[jobs/prefect]",
        "serviceAccount:PAYMENTS-prod-1234.svc.id.goog[jobs/prefect]",
        "serviceAccount:payments-prod-1234.hub.id.goog[jobs/prefect]",
        "group:payments-prod-1234.svc.id.goog:/allAuthenticatedUsers/",
        "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/"
        "payments-prod-1234.svc.id.goog/subject/ns/jobs/sa/prefect",
        "principalSet://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/"
        "payments-prod-1234.svc.id.goog/namespace/jobs",
    ],
)
def test_gke_workload_requires_a_project_that_admits_the_namespace(principal: str) -> None:
    user = {"principal": principal}
    assert isinstance(workload_identity_user(user, FakeClusterState(project())), GrantMember)
    other = workload_identity_user(user, FakeClusterState(project()), "other")
    assert isinstance(other, Unresolved)
    assert isinstance(other.outcome, Refused)
    assert other.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    foreign = workload_identity_user(user, FakeClusterState(), "other")
    assert isinstance(foreign, GrantMember), "no ManagedProject decides about the pool"


def test_service_agent_of_a_suspended_project_is_waited_for() -> None:
    member = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    outcome = unresolved(member, FakeClusterState(project(suspend=True)))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY


def workload_identity_user(
    user: dict[str, Any], cluster: FakeClusterState, namespace: str = "payments"
) -> GrantMember | Unresolved:
    parsed = WorkloadIdentityUser.model_validate(user)
    return Members(cluster, namespace).workload_identity_user(parsed, "spec.workloadIdentityUsers[0]")
