"""From wishes to claims, holds and obstacles."""

from typing import Any

import pytest

from cloudrun_identity.api import (
    CustomRole,
    GrantState,
    ManagedProject,
    Origin,
    Reason,
    RoleState,
    TargetKind,
)
from cloudrun_identity.controllers.grants.members import Holder, Nobody
from cloudrun_identity.controllers.grants.targets import NoTarget
from cloudrun_identity.controllers.grants.wishes import Judge, Wish, Wishes
from cloudrun_identity.controllers.outcomes import Refused, Waiting
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.claims import Claim, Hold
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import Holding, RoleRecord
from tests.unit.controllers.world import EMAIL, FakeWorld, project

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

    def at_most(self, role: str, project_id: str) -> frozenset[str]:
        return self.permitted


async def judged(
    *wishes: Wish,
    roles: FakeRoles | None = None,
    world: FakeWorld | None = None,
    lent: ManagedProject | None = None,
) -> Wishes:
    lent = lent or project()
    judge = Judge(roles or FakeRoles())
    return await judge.judge(wishes, "payments", lent, world or FakeWorld(lent), 0.0)


def wish(role: str = SQL, holder: Holder | Nobody = ANN, target: Target = HOME) -> Wish:
    return Wish("spec.roles[0]", target, role, holder)


async def test_an_admitted_wish_is_a_claim() -> None:
    holder = Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    wishes = await judged(wish(holder=holder))
    assert wishes == Wishes(frozenset({Claim(Grant(HOME, SQL, holder.member), "111")}))


async def test_equal_wishes_are_one_claim() -> None:
    assert len((await judged(wish(), wish())).claims) == 1


async def test_a_wish_for_nobody_holds_whoever_has_the_role_there() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no such identity")
    wishes = await judged(wish(holder=Nobody("identity:payments/x", outcome)))
    assert wishes.claims == frozenset()
    assert wishes.holds == (Hold(HOME, SQL, prefix="serviceAccount:"),)
    (obstacle,) = wishes.obstacles
    assert obstacle.unresolved
    assert obstacle.state is GrantState.PENDING
    assert (obstacle.member, obstacle.outcome) == ("identity:payments/x", outcome)


async def test_a_wish_that_no_guardrail_admits_holds_just_itself() -> None:
    wishes = await judged(wish("roles/storage.admin"), wish())
    assert {claim.grant.role for claim in wishes.claims} == {SQL}
    assert wishes.holds == (Hold(HOME, "roles/storage.admin", ANN.member),)
    (obstacle,) = wishes.obstacles
    assert not obstacle.unresolved
    assert obstacle.state is GrantState.REJECTED
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert obstacle.outcome.message.startswith("spec.roles[0]: ")


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.INVALID_ARGUMENT])
async def test_a_role_that_does_not_exist_is_refused(fault: Fault) -> None:
    roles = FakeRoles(**{"cloudsql.client": fault})
    (obstacle,) = (await judged(wish(), roles=roles)).obstacles
    assert obstacle.outcome == Refused(
        Reason.REJECTED,
        f"spec.roles[0]: there is no role {SQL}; a custom role is written projects/PROJECT/roles/ID",
    )


async def test_a_role_that_no_entry_admits_is_not_even_read() -> None:
    roles = FakeRoles()
    (obstacle,) = (await judged(wish("projects/victim/roles/secret"), roles=roles)).obstacles
    assert isinstance(obstacle.outcome, Refused)
    assert roles.read == []


async def test_a_role_that_cannot_be_read_now_freezes_the_wish() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.UNAVAILABLE})
    wishes = await judged(wish(), roles=roles)
    assert wishes.holds == (Hold(HOME, SQL, ANN.member),)
    assert not wishes.claims


async def test_a_role_that_is_not_ours_to_read_may_hold_anything() -> None:
    roles = FakeRoles(**{"cloudsql.client": Fault.PERMISSION_DENIED})
    (obstacle,) = (await judged(wish(), roles=roles)).obstacles
    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL


SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared, generation: 1}
spec:
  projectID: shared-prod-1234
  namespaces: {names: [payments]}
  guardrails: {grants: [{roles: [roles/pubsub.publisher], "on": [Project], members: [identities]}]}
status: {projectNumber: "1"}
"""


async def test_each_wish_is_judged_by_the_guardrails_of_the_project_that_it_is_about() -> None:
    shared = project(SHARED)
    there = Target(TargetKind.PROJECT, "shared-prod-1234")
    holder = Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    publish, sql = (
        Wish("spec.roles[0]", there, role, holder, project=shared) for role in ("roles/pubsub.publisher", SQL)
    )
    wishes = await judged(wish(holder=holder), publish, sql, world=FakeWorld(project(), shared))
    assert {(claim.grant.target, claim.grant.role) for claim in wishes.claims} == {
        (HOME, SQL),
        (there, "roles/pubsub.publisher"),
    }
    (obstacle,) = wishes.obstacles
    assert isinstance(obstacle.outcome, Refused)
    assert "ManagedProject shared" in obstacle.outcome.message


async def test_a_wish_without_a_target_holds_the_role_wherever_it_is() -> None:
    outcome = Waiting(Reason.DEPENDENCY_NOT_FOUND, "there is no ManagedProject shared")
    nowhere = Wish("spec.roles[0]", NoTarget("ManagedProject shared", outcome), SQL, ANN)
    wishes = await judged(nowhere)
    assert wishes.holds == (Hold(None, SQL, ANN.member),)
    (obstacle,) = wishes.obstacles
    assert (str(obstacle.target), obstacle.outcome, obstacle.unresolved) == (
        "ManagedProject shared",
        outcome,
        True,
    )


CUSTOM = f"projects/{HOME.project_id}/roles/runner"
LENT = project(guardrails={"grants": [{"roles": [CUSTOM], "on": ["Project"], "members": ["user:*"]}]})


def declared(*permissions: str, state: RoleState = RoleState.PRESENT, **facts: Any) -> FakeWorld:
    """A world with a CustomRole that declares the permissions."""
    role = CustomRole.model_validate(
        {
            "metadata": {"name": "runner", "namespace": "payments"},
            "spec": {"projectRef": {"name": "payments-prod"}, "roleID": "runner", "permissions": permissions},
        }
    )
    record = RoleRecord("runner", "payments/runner", "", Origin.CREATED, state)
    return FakeWorld(LENT, role, roles=[record], **facts)


async def test_a_new_grant_is_judged_by_what_the_role_is_declared_to_permit_too() -> None:
    world = declared("run.jobs.run", "run.jobs.runWithOverrides")

    (obstacle,) = (await judged(wish(CUSTOM), world=world, lent=LENT)).obstacles

    assert isinstance(obstacle.outcome, Refused)
    assert obstacle.outcome.reason is Reason.DENIED_BY_GUARDRAIL
    assert "run.jobs.runWithOverrides" in obstacle.outcome.message


async def test_a_grant_that_is_held_does_not_suffer_from_what_its_role_is_not_allowed_to_become() -> None:
    grant = Grant(HOME, CUSTOM, ANN.member)
    world = declared(
        "run.jobs.runWithOverrides", holdings={grant: Holding(frozenset({"IAMBinding/payments/ops/u"}))}
    )

    assert (await judged(wish(CUSTOM), world=world, lent=LENT)).claims == {Claim(grant)}


async def test_the_declaration_of_a_role_that_was_deleted_counts_for_nothing() -> None:
    world = declared("run.jobs.runWithOverrides", state=RoleState.DELETED)

    assert not (await judged(wish(CUSTOM), world=world, lent=LENT)).obstacles


async def test_what_a_role_has_become_while_it_was_read_is_judged() -> None:
    class Growing(FakeRoles):
        async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
            known = await super().permissions(role, project_id, max_age)
            self.permitted = frozenset({"run.jobs.runWithOverrides"})
            return known

    (obstacle,) = (await judged(wish(CUSTOM), roles=Growing(), lent=LENT)).obstacles

    assert isinstance(obstacle.outcome, Refused)
