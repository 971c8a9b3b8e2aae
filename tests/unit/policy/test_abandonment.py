"""What leaves a ledger with an object that abandons what it holds."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, LedgerEntry
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.abandonment import without_abandoned
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from tests.unit.iam.strategies import TARGET

ANN, BOB = (Grant(TARGET, "roles/run.invoker", f"user:{name}@example.com") for name in ("ann", "bob"))
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
LEAVING = DesiredGrants(ONE, abandon=True)


def held(*owners: Owner) -> LedgerEntry:
    return LedgerEntry(frozenset(map(str, owners)), GrantState.GRANTED, unique_id="7")


def test_what_nobody_else_has_is_nobodys() -> None:
    ledger = Ledger(TARGET, entries={ANN: held(ONE), BOB: held(TWO)})
    assert without_abandoned(ledger, [LEAVING, DesiredGrants(TWO)]).entries == {BOB: held(TWO)}


def test_what_others_share_stays_theirs() -> None:
    ledger = Ledger(TARGET, entries={ANN: held(ONE, TWO)})
    assert without_abandoned(ledger, [LEAVING]).entries == {ANN: held(TWO)}


def test_what_somebody_wants_who_is_not_named_yet_becomes_theirs() -> None:
    ledger = Ledger(TARGET, entries={ANN: held(ONE)})
    wanting = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))
    assert without_abandoned(ledger, [LEAVING, wanting]).entries == {ANN: held(TWO)}
    braked = replace(wanting, writable=False)
    assert without_abandoned(ledger, [LEAVING, braked]).entries == {}


@pytest.mark.parametrize(
    "all_desired",
    [
        [],
        [DesiredGrants(ONE)],
        [DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), abandon=True)],
        [DesiredGrants(ONE, retains=(RETAIN_ALL,), abandon=True)],
        [DesiredGrants(ONE, writable=False, abandon=True)],
    ],
    ids=["unheard", "releasing", "claimed", "held", "braked"],
)
def test_only_what_is_abandoned_leaves(all_desired: list[DesiredGrants]) -> None:
    ledger = Ledger(TARGET, entries={ANN: held(ONE)})
    assert without_abandoned(ledger, all_desired) == ledger


def test_a_predecessor_of_the_same_name_leaves_with_its_successor() -> None:
    ledger = Ledger(TARGET, entries={ANN: held(replace(ONE, uid="before"))})
    assert without_abandoned(ledger, [LEAVING]).entries == {}
