"""Who the members that a spec names are."""

from typing import Any

import pytest

from cloudrun_identity.api import Member, Reason, WorkloadIdentityUser
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.reconcile.grants.members import GrantMember, Members
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, Waiting
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, PROJECT, FakeWorld, identity, project, record

ANN = GrantMember("user:ann@example.com")


def resolve(
    member: dict[str, Any], cluster: FakeWorld, namespace: str = "payments"
) -> GrantMember | Unresolved:
    return Members(cluster, namespace).resolve(Member.model_validate(member), "spec.members[0]")


def nobody(member: dict[str, Any], cluster: FakeWorld, namespace: str = "payments") -> Outcome:
    holder = resolve(member, cluster, namespace)
    assert isinstance(holder, Unresolved)
    return holder.outcome


def test_a_principal_is_itself_in_the_form_that_policies_are_compared_by() -> None:
    assert resolve({"principal": "user:Ann@Example.com"}, FakeWorld()) == ANN


def test_an_identity_is_its_account_once_that_is_steady() -> None:
    cluster = FakeWorld(project(), identity(), accounts=[record()])
    assert resolve({"identityRef": {"name": "checkout"}}, cluster) == GrantMember(
        f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout")
    )


def test_an_email_that_an_identity_declares_is_a_reference_to_it() -> None:
    cluster = FakeWorld(project(), identity(), accounts=[record()])
    named = resolve({"principal": f"serviceAccount:{EMAIL.upper()}"}, cluster)
    assert named == resolve({"identityRef": {"name": "checkout"}}, cluster)
    stranger = nobody({"principal": f"serviceAccount:{EMAIL}"}, cluster, namespace="shop")
    assert isinstance(stranger, Refused)


@pytest.mark.parametrize("accounts", [[], [record(unique_id="")]])
def test_an_identity_without_a_steady_account_is_waited_for(accounts: list[Any]) -> None:
    outcome = nobody({"identityRef": {"name": "checkout"}}, FakeWorld(identity(), accounts=accounts))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY


def test_an_identity_that_does_not_exist_is_waited_for() -> None:
    outcome = nobody({"identityRef": {"name": "checkout"}}, FakeWorld())
    assert outcome == Waiting(
        Reason.DEPENDENCY_NOT_FOUND, "spec.members[0]: CloudRunIdentity payments/checkout does not exist"
    )


def test_another_namespaces_identity_must_allow_it() -> None:
    member = {"identityRef": {"name": "checkout", "namespace": "payments"}}
    closed = FakeWorld(identity(), accounts=[record()])
    outcome = nobody(member, closed, namespace="shop")
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED_BY_GUARDRAIL
    opened = FakeWorld(identity(allowedNamespaces=["shop"]), accounts=[record()])
    assert isinstance(resolve(member, opened, namespace="shop"), GrantMember)


def test_a_service_agent_is_that_of_an_admitting_project() -> None:
    member = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    assert resolve(member, FakeWorld(project())) == GrantMember(
        "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
    )
    missing, stranger = nobody(member, FakeWorld()), nobody(member, FakeWorld(project()), "stranger")
    unready = nobody(
        member, FakeWorld(project(PROJECT.replace('status: {projectNumber: "417203958816"}', "")))
    )
    assert isinstance(missing, Waiting)
    assert missing.reason is Reason.DEPENDENCY_NOT_FOUND
    assert isinstance(stranger, Refused)
    assert stranger.reason is Reason.DENIED_BY_GUARDRAIL
    assert isinstance(unready, Waiting)
    assert unready.reason is Reason.DEPENDENCY_NOT_READY


def test_a_kubernetes_service_account_is_one_of_the_pool_of_its_project() -> None:
    user = {
        "kubernetes": {
            "projectRef": {"name": "payments-prod"},
            "namespace": "jobs",
            "serviceAccount": "prefect",
        }
    }
    assert outside(user, FakeWorld(project())) == GrantMember(
        "serviceAccount:payments-prod-1234.svc.id.goog[jobs/prefect]"
    )
    missing = outside(user, FakeWorld())
    assert isinstance(missing, Unresolved)
    assert missing.text == "payments-prod[jobs/prefect]"
    assert missing.outcome == Waiting(
        Reason.DEPENDENCY_NOT_FOUND,
        "spec.workloadIdentityUsers[0].kubernetes.projectRef: ManagedProject payments-prod does not exist",
    )
    stranger = outside(user, FakeWorld(project()), "stranger")
    assert isinstance(stranger, Unresolved)
    assert isinstance(stranger.outcome, Refused)


def test_a_principal_of_a_pool_is_itself() -> None:
    pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/subject/main"
    assert outside({"principal": pool}, FakeWorld()) == GrantMember(pool)


def test_the_agent_of_a_suspended_project_is_waited_for() -> None:
    member = {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    outcome = nobody(member, FakeWorld(project(suspend=True)))
    assert isinstance(outcome, Waiting)
    assert outcome.reason is Reason.DEPENDENCY_NOT_READY


def outside(
    user: dict[str, Any], cluster: FakeWorld, namespace: str = "payments"
) -> GrantMember | Unresolved:
    parsed = WorkloadIdentityUser.model_validate(user)
    return Members(cluster, namespace).workload_identity_user(parsed, "spec.workloadIdentityUsers[0]")
