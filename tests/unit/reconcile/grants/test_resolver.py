"""Resolution of requested grants into desired grants, retained grants and failures."""

from typing import Any

import pytest

from cloudrun_identity.api import (
    CustomRole,
    GrantState,
    LedgerRole,
    ManagedProject,
    Origin,
    Reason,
    RoleState,
    TargetKind,
)
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.desired_grants import DesiredGrant, Retain
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant, ResolvedGrants
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.references import Unresolved
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, project

from .fake_roles import FakeRoles

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
SQL = "roles/cloudsql.client"
ANN = GrantMember("user:ann@example.com")


async def resolved(
    *requested_grants: RequestedGrant,
    roles: FakeRoles | None = None,
    cluster: FakeClusterState | None = None,
    delegated: ManagedProject | None = None,
) -> ResolvedGrants:
    delegated = delegated or project()
    resolver = GrantResolver(roles or FakeRoles())
    return await resolver.resolve(
        requested_grants, "payments", delegated, cluster or FakeClusterState(delegated), 0.0
    )


def requested(
    role: str = SQL, member: GrantMember | Unresolved = ANN, target: Target = HOME
) -> RequestedGrant:
    return RequestedGrant("spec.roles[0]", target, role, member)


async def test_admitted_request_becomes_a_desired_grant() -> None:
    member = GrantMember(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    found = await resolved(requested(member=member))
    assert found == ResolvedGrants(frozenset({DesiredGrant(Grant(HOME, SQL, member.principal), "111")}))


async def test_equal_requests_become_one_desired_grant() -> None:
    assert len((await resolved(requested(), requested())).desired) == 1


async def test_unresolved_member_retains_every_member_of_the_role() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no such identity")
    found = await resolved(requested(member=Unresolved("identity:payments/x", outcome)))
    assert found.desired == frozenset()
    assert found.retains == (Retain(HOME, SQL, prefix="serviceAccount:"),)
    (failure,) = found.failures
    assert failure.unresolved
    assert failure.state is GrantState.PENDING
    assert (failure.member, failure.outcome) == ("identity:payments/x", outcome)


async def test_denied_request_retains_only_its_own_grant() -> None:
    found = await resolved(requested("roles/storage.admin"), requested())
    assert {each.grant.role for each in found.desired} == {SQL}
    assert found.retains == (Retain(HOME, "roles/storage.admin", ANN.principal),)
    (failure,) = found.failures
    assert not failure.unresolved
    assert failure.state is GrantState.REJECTED
    assert isinstance(failure.outcome, Refused)
    assert failure.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert failure.outcome.message.startswith("spec.roles[0]: ")


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.INVALID_ARGUMENT])
async def test_request_for_a_missing_role_is_refused(fault: Fault) -> None:
    roles = FakeRoles(**{"cloudsql.client": fault})
    (failure,) = (await resolved(requested(), roles=roles)).failures
    assert failure.outcome == Refused(
        Reason.REJECTED,
        f"spec.roles[0]: role {SQL} does not exist; a custom role is written projects/PROJECT/roles/ID",
    )


async def test_role_that_no_guardrail_entry_admits_is_not_read() -> None:
    roles = FakeRoles()
    (failure,) = (await resolved(requested("projects/victim/roles/secret"), roles=roles)).failures
    assert isinstance(failure.outcome, Refused)
    assert roles.read == []


async def test_unreadable_role_retains_the_grant() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.UNAVAILABLE})
    found = await resolved(requested(), roles=roles)
    assert found.retains == (Retain(HOME, SQL, ANN.principal),)
    assert not found.desired


async def test_role_without_read_permission_is_treated_as_escalating() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.PERMISSION_DENIED})
    (failure,) = (await resolved(requested(), roles=roles)).failures
    assert isinstance(failure.outcome, Refused)
    assert failure.outcome.reason is Reason.DENIED_BY_GUARDRAIL


SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared, generation: 1}
spec:
  projectID: shared-prod-1234
  namespaces: {names: [payments]}
  guardrails: {grants: [{roles: [roles/pubsub.publisher], targetKinds: [Project], members: [identities]}]}
status: {projectNumber: "1"}
"""


async def test_request_is_checked_against_the_guardrails_of_its_target_project() -> None:
    shared = project(SHARED)
    there = Target(TargetKind.PROJECT, "shared-prod-1234")
    member = GrantMember(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    publish, sql = (
        RequestedGrant("spec.roles[0]", there, role, member, project=shared)
        for role in ("roles/pubsub.publisher", SQL)
    )
    found = await resolved(
        requested(member=member), publish, sql, cluster=FakeClusterState(project(), shared)
    )
    assert {(each.grant.target, each.grant.role) for each in found.desired} == {
        (HOME, SQL),
        (there, "roles/pubsub.publisher"),
    }
    (failure,) = found.failures
    assert isinstance(failure.outcome, Refused)
    assert "ManagedProject shared" in failure.outcome.message


async def test_unresolved_target_retains_the_role_on_every_target() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "ManagedProject shared does not exist")
    nowhere = RequestedGrant("spec.roles[0]", Unresolved("ManagedProject shared", outcome), SQL, ANN)
    found = await resolved(nowhere)
    assert found.retains == (Retain(None, SQL, ANN.principal),)
    (failure,) = found.failures
    assert (str(failure.target), failure.outcome, failure.unresolved) == (
        "ManagedProject shared",
        outcome,
        True,
    )


CUSTOM = f"projects/{HOME.project_id}/roles/runner"
DELEGATED = project(
    guardrails={
        "grants": [
            {"roles": [CUSTOM], "targetKinds": ["Project"], "members": ["user:*"], "namespaces": ["*"]}
        ]
    }
)


def declared(*permissions: str, state: RoleState = RoleState.PRESENT, **facts: Any) -> FakeClusterState:
    """Return a cluster with a CustomRole that declares the permissions."""
    role = CustomRole.model_validate(
        {
            "metadata": {"name": "runner", "namespace": "payments"},
            "spec": {"projectRef": {"name": "payments-prod"}, "roleID": "runner", "permissions": permissions},
        }
    )
    record = LedgerRole(
        role_id="runner", owner="payments/runner", owner_uid="", origin=Origin.CREATED, state=state
    )
    return FakeClusterState(DELEGATED, role, roles=[record], **facts)


async def test_new_grant_is_checked_against_declared_role_permissions() -> None:
    cluster = declared("run.jobs.run", "run.jobs.runWithOverrides")

    (failure,) = (await resolved(requested(CUSTOM), cluster=cluster, delegated=DELEGATED)).failures

    assert isinstance(failure.outcome, Refused)
    assert failure.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert "run.jobs.runWithOverrides" in failure.outcome.message


async def test_existing_grant_ignores_permissions_refused_for_its_role() -> None:
    grant = Grant(HOME, CUSTOM, ANN.principal)
    cluster = declared(
        "run.jobs.runWithOverrides", entries={grant: entry_of(grant, ["IAMBinding/payments/ops/u"])}
    )

    assert (await resolved(requested(CUSTOM), cluster=cluster, delegated=DELEGATED)).desired == {
        DesiredGrant(grant)
    }


async def test_declared_permissions_of_a_deleted_role_are_ignored() -> None:
    cluster = declared("run.jobs.runWithOverrides", state=RoleState.DELETED)

    assert not (await resolved(requested(CUSTOM), cluster=cluster, delegated=DELEGATED)).failures


async def test_permissions_added_while_the_role_is_read_are_checked() -> None:
    class Growing(FakeRoles):
        async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
            known = await super().permissions(role, project_id, max_age)
            self.permitted = frozenset({"run.jobs.runWithOverrides"})
            return known

    (failure,) = (await resolved(requested(CUSTOM), roles=Growing(), delegated=DELEGATED)).failures

    assert isinstance(failure.outcome, Refused)
