"""From wishes to claims, holds and obstacles."""

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
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.desired_grants import DesiredGrant, Retain
from cloudrun_identity.reconcile.grants.members import Holder, Nobody
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant, ResolvedGrants
from cloudrun_identity.reconcile.grants.targets import NoTarget
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, project

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
SQL = "roles/cloudsql.client"
ANN = Holder("user:ann@example.com")


class FakeRoles:
    """Roles without any permission that escalates; `faults` by role, `read` are those that were asked for."""

    def __init__(self, **faults: Fault) -> None:
        self.faults = {f"roles/{name}": fault for name, fault in faults.items()}
        self.read: list[str] = []
        self.permitted = frozenset({"cloudsql.instances.connect"})

    async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
        self.read.append(role)
        if role in self.faults:
            raise GoogleError(self.faults[role], "google.iam.admin.v1.IAM/GetRole", "no such role")
        return self.permitted

    def max_permissions(self, role: str, project_id: str) -> frozenset[str]:
        return self.permitted


async def resolved(
    *requested_grants: RequestedGrant,
    roles: FakeRoles | None = None,
    cluster: FakeWorld | None = None,
    delegated: ManagedProject | None = None,
) -> ResolvedGrants:
    delegated = delegated or project()
    resolve_grants = GrantResolver(roles or FakeRoles())
    return await resolve_grants.resolve_grants(
        requested_grants, "payments", delegated, cluster or FakeWorld(delegated), 0.0
    )


def requested(role: str = SQL, holder: Holder | Nobody = ANN, target: Target = HOME) -> RequestedGrant:
    return RequestedGrant("spec.roles[0]", target, role, holder)


async def test_an_admitted_wish_is_a_claim() -> None:
    holder = Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    requested_grants = await resolved(requested(holder=holder))
    assert requested_grants == ResolvedGrants(
        frozenset({DesiredGrant(Grant(HOME, SQL, holder.member), "111")})
    )


async def test_equal_wishes_are_one_claim() -> None:
    assert len((await resolved(requested(), requested())).desired_grants) == 1


async def test_a_wish_for_nobody_holds_whoever_has_the_role_there() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no such identity")
    requested_grants = await resolved(requested(holder=Nobody("identity:payments/x", outcome)))
    assert requested_grants.desired_grants == frozenset()
    assert requested_grants.retains == (Retain(HOME, SQL, prefix="serviceAccount:"),)
    (obstacle,) = requested_grants.failures
    assert obstacle.unresolved
    assert obstacle.state is GrantState.PENDING
    assert (obstacle.member, obstacle.outcome) == ("identity:payments/x", outcome)


async def test_a_wish_that_no_guardrail_admits_holds_just_itself() -> None:
    requested_grants = await resolved(requested("roles/storage.admin"), requested())
    assert {desired_grant.grant.role for desired_grant in requested_grants.desired_grants} == {SQL}
    assert requested_grants.retains == (Retain(HOME, "roles/storage.admin", ANN.member),)
    (obstacle,) = requested_grants.failures
    assert not obstacle.unresolved
    assert obstacle.state is GrantState.REJECTED
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert obstacle.outcome.message.startswith("spec.roles[0]: ")


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.INVALID_ARGUMENT])
async def test_a_role_that_does_not_exist_is_refused(fault: Fault) -> None:
    roles = FakeRoles(**{"cloudsql.client": fault})
    (obstacle,) = (await resolved(requested(), roles=roles)).failures
    assert obstacle.outcome == Refused(
        Reason.REJECTED,
        f"spec.roles[0]: there is no role {SQL}; a custom role is written projects/PROJECT/roles/ID",
    )


async def test_a_role_that_no_entry_admits_is_not_even_read() -> None:
    roles = FakeRoles()
    (obstacle,) = (await resolved(requested("projects/victim/roles/secret"), roles=roles)).failures
    assert isinstance(obstacle.outcome, Refused)
    assert roles.read == []


async def test_a_role_that_cannot_be_read_now_freezes_the_wish() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.UNAVAILABLE})
    requested_grants = await resolved(requested(), roles=roles)
    assert requested_grants.retains == (Retain(HOME, SQL, ANN.member),)
    assert not requested_grants.desired_grants


async def test_a_role_that_is_not_ours_to_read_may_hold_anything() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.PERMISSION_DENIED})
    (obstacle,) = (await resolved(requested(), roles=roles)).failures
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL


SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared, generation: 1}
spec:
  projectID: shared-prod-1234
  namespaces: {names: [payments]}
  guardrails: {grants: [{roles: [roles/pubsub.publisher], targetKinds: [Project], members: [identities]}]}
status: {projectNumber: "1"}
"""


async def test_each_wish_is_judged_by_the_guardrails_of_the_project_that_it_is_about() -> None:
    shared = project(SHARED)
    there = Target(TargetKind.PROJECT, "shared-prod-1234")
    holder = Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    publish, sql = (
        RequestedGrant("spec.roles[0]", there, role, holder, project=shared)
        for role in ("roles/pubsub.publisher", SQL)
    )
    requested_grants = await resolved(
        requested(holder=holder), publish, sql, cluster=FakeWorld(project(), shared)
    )
    assert {
        (desired_grant.grant.target, desired_grant.grant.role)
        for desired_grant in requested_grants.desired_grants
    } == {
        (HOME, SQL),
        (there, "roles/pubsub.publisher"),
    }
    (obstacle,) = requested_grants.failures
    assert isinstance(obstacle.outcome, Refused)
    assert "ManagedProject shared" in obstacle.outcome.message


async def test_a_wish_without_a_target_holds_the_role_wherever_it_is() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no ManagedProject shared")
    nowhere = RequestedGrant("spec.roles[0]", NoTarget("ManagedProject shared", outcome), SQL, ANN)
    requested_grants = await resolved(nowhere)
    assert requested_grants.retains == (Retain(None, SQL, ANN.member),)
    (obstacle,) = requested_grants.failures
    assert (str(obstacle.target), obstacle.outcome, obstacle.unresolved) == (
        "ManagedProject shared",
        outcome,
        True,
    )


CUSTOM = f"projects/{HOME.project_id}/roles/runner"
LENT = project(
    guardrails={"grants": [{"roles": [CUSTOM], "targetKinds": ["Project"], "members": ["user:*"]}]}
)


def declared(*permissions: str, state: RoleState = RoleState.PRESENT, **facts: Any) -> FakeWorld:
    """A world with a CustomRole that declares the permissions."""
    role = CustomRole.model_validate(
        {
            "metadata": {"name": "runner", "namespace": "payments"},
            "spec": {"projectRef": {"name": "payments-prod"}, "roleID": "runner", "permissions": permissions},
        }
    )
    record = LedgerRole(
        role_id="runner", owner="payments/runner", owner_uid="", origin=Origin.CREATED, state=state
    )
    return FakeWorld(LENT, role, roles=[record], **facts)


async def test_a_new_grant_is_judged_by_what_the_role_is_declared_to_permit_too() -> None:
    cluster = declared("run.jobs.run", "run.jobs.runWithOverrides")

    (obstacle,) = (await resolved(requested(CUSTOM), cluster=cluster, delegated=LENT)).failures

    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert "run.jobs.runWithOverrides" in obstacle.outcome.message


async def test_a_grant_that_is_held_does_not_suffer_from_what_its_role_is_not_allowed_to_become() -> None:
    grant = Grant(HOME, CUSTOM, ANN.member)
    cluster = declared(
        "run.jobs.runWithOverrides", entries={grant: entry_of(grant, ["IAMBinding/payments/ops/u"])}
    )

    assert (await resolved(requested(CUSTOM), cluster=cluster, delegated=LENT)).desired_grants == {
        DesiredGrant(grant)
    }


async def test_the_declaration_of_a_role_that_was_deleted_counts_for_nothing() -> None:
    cluster = declared("run.jobs.runWithOverrides", state=RoleState.DELETED)

    assert not (await resolved(requested(CUSTOM), cluster=cluster, delegated=LENT)).failures


async def test_what_a_role_has_become_while_it_was_read_is_judged() -> None:
    class Growing(FakeRoles):
        async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
            known = await super().permissions(role, project_id, max_age)
            self.permitted = frozenset({"run.jobs.runWithOverrides"})
            return known

    (obstacle,) = (await resolved(requested(CUSTOM), roles=Growing(), delegated=LENT)).failures

    assert isinstance(obstacle.outcome, Refused)
