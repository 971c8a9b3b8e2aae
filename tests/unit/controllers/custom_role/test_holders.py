"""Members that hold a role without an entry in a ledger."""

from dataclasses import replace

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.custom_role.holders import RoleHolders, read_holders
from cloudrun_identity.controllers.custom_role.plan import asks_for_holders, plan
from cloudrun_identity.controllers.custom_role.role import RoleSeen, RoleWant
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.outcomes import Failing
from cloudrun_identity.reconcile.steps import Fail, Refuse
from tests.unit.controllers.carry_out import NOON
from tests.unit.policy.fake_policies import fault

from .roles import NAME, NARROW, OPS, RECORD, TARGET, WIDE, declared, seen, want

ANN = Grant(TARGET, NAME, "user:ann@example.com")
DELETED_ANN = Grant(TARGET, NAME, "deleted:user:ann@example.com?uid=1")
UNREADABLE = Failing(Reason.PERMISSION_DENIED, "reading who holds the role: denied")


def held(*grants: Grant, found: RoleSeen | None = None, unreadable: Failing | None = None) -> RoleSeen:
    holders = RoleHolders(frozenset(grants), unreadable=unreadable)
    return replace(found or seen(permissions=NARROW), holders=holders)


@pytest.mark.parametrize("holder", [ANN, DELETED_ANN], ids=["live", "deleted"])
def test_holder_that_no_object_declares_refuses_the_expansion(holder: Grant) -> None:
    (step,) = plan(declared(), held(holder), NOON).steps
    assert isinstance(step, Refuse)
    assert step.reason is Reason.DENIED_BY_GUARDRAIL
    assert step.message.startswith(
        f"spec.permissions: {holder.member} holds the role on Project payments-prod-1234 already, by a grant "
        "that no object declares; remove that grant, or have it admitted: guardrails.grants"
    )


def test_holder_does_not_hold_up_a_narrower_role() -> None:
    found = held(ANN, found=seen(permissions=WIDE))
    assert [type(step).__name__ for step in plan(declared(), found, NOON).steps] == ["UpdateRole"]


def test_policy_that_cannot_be_read_delays_the_expansion() -> None:
    (step,) = plan(declared(), held(unreadable=UNREADABLE), NOON).steps
    assert isinstance(step, Fail)
    assert step.outcome == UNREADABLE


@pytest.mark.parametrize(
    ("wanted", "found", "asks"),
    [
        (declared(), seen(), False),
        (declared(), seen(title="Old"), False),
        (declared(), seen(permissions=WIDE), False),
        (declared(), seen(permissions=NARROW), True),
        (declared(), seen(stage="DISABLED"), True),
        (declared(), seen(deleted=True), True),
        (declared(None, adopts=True), seen(record=None), True),
        (declared(None), seen(record=None), False),
        (declared(denied=True), seen(permissions=NARROW), False),
        (declared(None), RoleSeen(None), True),
    ],
    ids=[
        "as declared",
        "renamed",
        "narrowed",
        "expanded",
        "enabled",
        "undeleted",
        "adopted",
        "refused adoption",
        "refused expansion",
        "created",
    ],
)
def test_policies_are_read_only_before_permissions_are_added(
    wanted: RoleWant, found: RoleSeen, asks: bool
) -> None:
    assert asks_for_holders(wanted, replace(found, holders=None), NOON) is asks


class Policies:
    """Policies of three resources: one has the role, one does not exist, one cannot be read."""

    async def get(self, target: Target) -> Policy:
        if target.name == "missing":
            raise fault(Fault.NOT_FOUND)
        if target.name == "unreadable":
            raise fault(Fault.PERMISSION_DENIED)
        policy = Policy()
        policy.bindings.add(role=NAME, members=["user:ann@example.com"])
        policy.bindings.add(role="roles/viewer", members=["user:bob@example.com"])
        return policy


async def test_holders_are_read_from_every_policy() -> None:
    ledger = Ledger.of(TARGET)
    missing, unreadable = (Ledger.of(Target.secret("payments", name)) for name in ("missing", "unreadable"))
    assert await read_holders(Policies(), [ledger, missing], NAME) == RoleHolders(frozenset({ANN}))
    found = await read_holders(Policies(), [ledger, unreadable], NAME)
    assert found.grants == {ANN}
    assert found.unreadable is not None
    assert f"reading who holds {NAME} on Secret unreadable" in found.unreadable.message


def test_grant_left_since_the_policies_were_read_refuses_the_expansion() -> None:
    """A binding that is made and abandoned during the read is in no policy that was read."""
    left = Ledger.of(TARGET).with_left({ANN: "IAMBinding/payments/ann/u"})
    wanted = replace(declared(), ledgers=lambda: [left])
    (step,) = plan(wanted, held(), NOON).steps
    assert isinstance(step, Refuse)
    assert ANN.member in step.message

    assert asks_for_holders(wanted, replace(held(), holders=None), NOON), "the grant may be removed since"
    removed_by_hand = replace(held(), holders=RoleHolders(left_before=frozenset({ANN})))
    assert [type(step).__name__ for step in plan(wanted, removed_by_hand, NOON).steps] == ["UpdateRole"]


def test_managed_holder_is_judged_for_the_namespace_of_its_object() -> None:
    (step,) = plan(want(RECORD, OPS), held(OPS[0]), NOON).steps
    assert isinstance(step, Refuse)
    assert "IAMBinding payments/ops grants the role already" in step.message
