"""What leaves a ledger with an object that abandons what it holds."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from cloudrun_identity.policy.settlement import without_abandoned
from tests.unit.iam.strategies import TARGET

ANN, BOB = (Grant(TARGET, "roles/run.invoker", f"user:{name}@example.com") for name in ("ann", "bob"))
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
LEAVING = DesiredGrants(ONE, abandon=True)


def held(grant: Grant, *owners: Owner) -> LedgerEntry:
    return entry_of(grant, [*map(str, owners)], GrantState.GRANTED, unique_id="7")


def test_what_nobody_else_has_is_nobodys() -> None:
    ledger = Ledger.of(TARGET, {ANN: held(ANN, ONE), BOB: held(BOB, TWO)})
    assert without_abandoned(ledger, [LEAVING, DesiredGrants(TWO)]).entries == {BOB: held(BOB, TWO)}


def test_what_others_share_stays_theirs() -> None:
    ledger = Ledger.of(TARGET, {ANN: held(ANN, ONE, TWO)})
    assert without_abandoned(ledger, [LEAVING]).entries == {ANN: held(ANN, TWO)}


def test_what_somebody_wants_who_is_not_named_yet_becomes_theirs() -> None:
    ledger = Ledger.of(TARGET, {ANN: held(ANN, ONE)})
    wanting = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))
    assert without_abandoned(ledger, [LEAVING, wanting]).entries == {ANN: held(ANN, TWO)}
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
    ledger = Ledger.of(TARGET, {ANN: held(ANN, ONE)})
    assert without_abandoned(ledger, all_desired) == ledger


def test_a_predecessor_of_the_same_name_leaves_with_its_successor() -> None:
    ledger = Ledger.of(TARGET, {ANN: held(ANN, replace(ONE, uid="before"))})
    assert without_abandoned(ledger, [LEAVING]).entries == {}
