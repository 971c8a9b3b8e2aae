"""Grants that their owners retain without declaring them, and that another client removes."""

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import settle
from cloudrun_identity.policy.steps import RetainGrant, RetainReason
from tests.unit.policy.one_policy import desiring
from tests.unit.policy.pure_sync import entry
from tests.unit.policy.strategies import TARGET

ONE, TWO = (Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
ANN = Grant(TARGET, "roles/run.invoker", "user:ann@example.com")
UNIQUE_ID = "111"
RETAINING = DesiredGrants(ONE, retains=(RETAIN_ALL,))
BLOCKED = DesiredGrants(ONE, retains=(RETAIN_ALL,), writable=False)
"""An object that cannot declare its grants, such as one whose custom role is not ready."""
SUSPENDED = desiring(ONE, ANN, writable=False)


def recorded(*owners: Owner, unique_id: str = "") -> Ledger:
    return Ledger.of(TARGET, {ANN: entry(ANN, *owners, unique_id=unique_id)})


def after(ledger: Ledger, declared: DesiredGrants, **facts: bool) -> Ledger:
    """Return the ledger after a sync of a policy without the grant."""
    plan = _planned(ledger, declared, set(), **facts)
    return settle(plan, (), added=(), refused=(), written_at=None)


def _planned(ledger: Ledger, declared: DesiredGrants, present: set[Grant], **facts: bool) -> PolicyPlan:
    return plan_policy(ledger, [declared], present, SyncFacts(may_release=True, **facts))


@pytest.mark.parametrize("owner", [RETAINING, BLOCKED], ids=["retaining", "blocked"])
def test_absent_grant_is_pending_and_a_later_one_is_left(owner: DesiredGrants) -> None:
    ledger = after(recorded(ONE), owner)
    assert ledger.entries[ANN].state is GrantState.PENDING
    assert after(ledger, owner) == ledger, "nothing is written again"

    appeared = settle(_planned(ledger, owner, {ANN}), {ANN}, added=(), refused=(), written_at=None)

    [step] = _planned(appeared, desiring(ONE), {ANN}).steps
    assert step == RetainGrant(ANN, ONE.owner_key, RetainReason.PRESENT_BEFORE)


@pytest.mark.parametrize(
    ("ledger", "owner", "facts"),
    [
        pytest.param(recorded(ONE), SUSPENDED, {}, id="suspended owner"),
        pytest.param(recorded(ONE), RETAINING, {"observed": True}, id="observed project"),
        pytest.param(recorded(ONE, TWO), RETAINING, {}, id="another owner has not declared its grants"),
    ],
)
def test_entry_of_an_absent_grant_stays(ledger: Ledger, owner: DesiredGrants, facts: dict[str, bool]) -> None:
    assert after(ledger, owner, **facts) == ledger


def test_entry_of_a_deleted_account_stays_because_its_grant_may_return() -> None:
    ledger = recorded(ONE, unique_id=UNIQUE_ID)
    deleted = {ANN.deleted_form(UNIQUE_ID)}

    settled = settle(_planned(ledger, RETAINING, deleted), deleted, added=(), refused=(), written_at=None)

    assert settled.entries[ANN].state is GrantState.GRANTED
