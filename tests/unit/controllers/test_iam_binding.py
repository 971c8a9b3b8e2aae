from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import IAMBinding, ManagedProject, Reason, TargetKind
from cloudrun_identity.controllers.iam_binding import BindingSeen, BindingWant, IAMBindingController
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.reconcile.cluster_state import identity_key, project_key
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.references import Unresolved

from .attachments import ROLLED_OUT
from .cluster_state import EMAIL, FakeClusterState, binding, identity, project, record

NONE: Any = None
CONTROLLER = IAMBindingController(NONE, NONE)
BINDING = """
kind: IAMBinding
metadata: {name: web, namespace: payments}
spec:
  projectRef: {name: payments-prod}
  target: {kind: Service, location: europe-west1, name: checkout}
  role: roles/run.invoker
  members: [{principal: "group:ops@example.com"}, {identityRef: {name: checkout}}]
"""
ON_ACCOUNT = {"kind": "ServiceAccount", "identityRef": {"name": "checkout"}}
CLUSTER = FakeClusterState(project(), identity(), accounts=[record()])


def resolve(obj: IAMBinding, cluster: FakeClusterState = CLUSTER) -> BindingWant | Blocked:
    return CONTROLLER.resolve(obj, Allowed(project(), observe=False), cluster)


def target(obj: IAMBinding, cluster: FakeClusterState = CLUSTER) -> Target:
    want = resolve(obj, cluster)
    assert isinstance(want, BindingWant)
    return want.target


def blocked(obj: IAMBinding, cluster: FakeClusterState) -> Blocked:
    want = resolve(obj, cluster)
    assert isinstance(want, Blocked)
    return want


def test_references_are_the_project_target_and_members() -> None:
    assert CONTROLLER.references(binding(BINDING, target=ON_ACCOUNT)) == {
        project_key("payments-prod"),
        identity_key("payments", "checkout"),
    }


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"kind": "Project"}, Target(TargetKind.PROJECT, "payments-prod-1234")),
        (
            {"kind": "Job", "location": "europe-west1", "name": "settle"},
            Target(TargetKind.JOB, "payments-prod-1234", "europe-west1", "settle"),
        ),
        (ON_ACCOUNT, Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)),
        (
            {"kind": "ServiceAccount", "email": "legacy@payments-prod-1234.iam.gserviceaccount.com"},
            Target(
                TargetKind.SERVICE_ACCOUNT,
                "payments-prod-1234",
                name="legacy@payments-prod-1234.iam.gserviceaccount.com",
            ),
        ),
    ],
)
def test_target_is_resolved(declared: dict[str, str], expected: Target) -> None:
    assert target(binding(BINDING, target=declared)) == expected


def test_email_of_a_declared_identity_is_owned_by_that_identity() -> None:
    want = resolve(binding(BINDING, target={"kind": "ServiceAccount", "email": EMAIL}))
    assert isinstance(want, BindingWant)
    assert want.owner == DeclaredIdentity("payments", "checkout")


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        (FakeClusterState(project()), Reason.DEPENDENCY_NOT_FOUND),
        (FakeClusterState(project(), identity()), Reason.DEPENDENCY_NOT_READY),
        (
            FakeClusterState(project(), identity(), accounts=[record(unique_id="")]),
            Reason.DEPENDENCY_NOT_READY,
        ),
    ],
)
def test_target_without_a_settled_account_is_waited_for(cluster: FakeClusterState, reason: Reason) -> None:
    found = blocked(binding(BINDING, target=ON_ACCOUNT), cluster)
    assert isinstance(found.outcome, Waiting)
    assert found.outcome.reason is reason
    assert found.unresolved.startswith("spec.target.identityRef: ")


def test_binding_on_an_account_of_another_project_is_refused() -> None:
    elsewhere = FakeClusterState(identity(projectRef={"name": "another"}), accounts=[record()])
    found = blocked(binding(BINDING, target=ON_ACCOUNT), elsewhere)
    assert isinstance(found.outcome, Refused)
    assert found.outcome.reason is Reason.INVALID_SPEC


def test_every_member_is_a_requested_grant() -> None:
    want = resolve(binding(BINDING))
    assert isinstance(want, BindingWant)
    group, account = CONTROLLER.requested_grants(want, CLUSTER)
    assert (group.path, group.role, group.member) == (
        "spec.members[0]",
        "roles/run.invoker",
        GrantMember("group:ops@example.com"),
    )
    assert account.path == "spec.members[1]"
    assert isinstance(account.member, GrantMember)
    assert account.member.principal == f"serviceAccount:{EMAIL}"
    _, unready = CONTROLLER.requested_grants(want, FakeClusterState(project(), identity()))
    assert isinstance(unready.member, Unresolved)


def test_status_shows_the_declared_target_role_and_member_count() -> None:
    want = resolve(binding(BINDING, members=[{"principal": "group:ops@example.com"}] * 2))
    assert isinstance(want, BindingWant)
    summary = CONTROLLER.summarize(want, BindingSeen())
    assert summary.fields == {
        "target": "Service europe-west1/checkout",
        "role": "roles/run.invoker",
        "member_count": 1,
    }
    assert summary.issues == ()


def test_member_with_several_ends_or_forms_counts_once() -> None:
    account = {"principal": f"serviceAccount:{EMAIL.upper()}"}
    members = [
        {"principal": "user:ann@example.com", "duration": "1h"},
        {"principal": "user:ann@example.com", "expiresAt": "2030-01-31T18:00:00Z"},
        {"principal": "user:ann@example.com"},
        {"identityRef": {"name": "checkout"}},
        {"identityRef": {"name": "checkout"}, "duration": "1h"},
        account,
    ]
    want = resolve(binding(BINDING, members=members))
    assert isinstance(want, BindingWant)
    assert CONTROLLER.summarize(want, BindingSeen()).fields["member_count"] == 2


class Services:
    """A shared list with one service, which allows unauthenticated invocation."""

    def __init__(self) -> None:
        self.ages: list[float] = []

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        assert str(workload) == "Service europe-west1/checkout"
        self.ages.append(max_age)
        return replace(ROLLED_OUT, invoker_iam_disabled=True)


async def issues(services: Services, obj: IAMBinding, delegated: ManagedProject) -> tuple[str, ...]:
    controller = IAMBindingController(services, NONE)
    want = controller.resolve(obj, Allowed(delegated, observe=False), CLUSTER)
    assert isinstance(want, BindingWant)
    return controller.summarize(want, await controller.observe(want, 0.0)).issues


async def test_issue_reports_a_service_that_allows_unauthenticated_calls() -> None:
    services = Services()
    (issue,) = await issues(services, binding(BINDING), project())
    assert (
        "Service europe-west1/checkout of project payments-prod-1234 allows unauthenticated invocation"
        in issue
    )
    assert "--invoker-iam-check" in issue
    assert services.ages == [300.0], "an edit accepts a cached list"


async def test_service_outside_the_guardrails_is_not_read() -> None:
    services = Services()
    delegated = project(guardrails={"workloads": [{"names": ["another"], "namespaces": ["*"]}]})
    assert await issues(services, binding(BINDING), delegated) == ()
    assert services.ages == []


def test_several_bindings_may_declare_one_grant() -> None:
    assert CONTROLLER.declares(binding(BINDING)) == ""


OPS = "group:ops@example.com"
MEMBER = f"serviceAccount:{EMAIL}"
INVOKED = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")
UNKNOWN = FakeClusterState(project())


def covers(obj: IAMBinding, cluster: FakeClusterState, grant: Grant) -> bool:
    return any(pattern.covers(grant) for pattern in CONTROLLER.declared_grants(obj, cluster))


@pytest.mark.parametrize(
    ("cluster", "grant", "covered"),
    [
        (CLUSTER, Grant(INVOKED, "roles/run.invoker", OPS), True),
        (CLUSTER, Grant(INVOKED, "roles/run.invoker", MEMBER), True),
        (CLUSTER, Grant(INVOKED, "roles/run.invoker", "group:revoked@example.com"), False),
        (CLUSTER, Grant(INVOKED, "roles/run.invoker", "serviceAccount:revoked@x.example"), False),
        (CLUSTER, Grant(INVOKED, "roles/run.viewer", OPS), False),
        (CLUSTER, Grant(replace(INVOKED, name="former"), "roles/run.invoker", OPS), False),
        (CLUSTER, Grant(INVOKED, "roles/run.invoker", OPS, IAMCondition("nightly", "", "true")), False),
        (UNKNOWN, Grant(INVOKED, "roles/run.invoker", MEMBER), True),
        (UNKNOWN, Grant(INVOKED, "roles/run.invoker", "group:revoked@example.com"), False),
        (FakeClusterState(), Grant(INVOKED, "roles/run.invoker", "group:revoked@example.com"), True),
    ],
)
def test_declared_grants_are_those_of_the_spec(
    cluster: FakeClusterState, grant: Grant, covered: bool
) -> None:
    assert covers(binding(BINDING), cluster, grant) is covered


def test_declared_grants_of_an_unresolved_target_match_role_and_member() -> None:
    obj = binding(BINDING, target=ON_ACCOUNT, members=[{"principal": OPS}])
    account = Target.service_account("payments-prod-1234", EMAIL)
    assert covers(obj, UNKNOWN, Grant(account, "roles/run.invoker", OPS))
    assert not covers(obj, UNKNOWN, Grant(account, "roles/run.invoker", "group:revoked@example.com"))


def test_declared_grants_of_an_unresolved_role_are_known_by_member() -> None:
    for where in (ON_ACCOUNT, {"kind": "Project"}):
        obj = binding(
            BINDING, target=where, role=None, customRoleRef={"name": "gone"}, members=[{"principal": OPS}]
        )
        grant = Grant(Target.project("payments-prod-1234"), "projects/payments-prod-1234/roles/x", OPS)
        assert covers(obj, UNKNOWN, grant)
        assert not covers(obj, UNKNOWN, replace(grant, member="group:revoked@example.com"))
