"""What leaves a ledger with an object that abandons what it holds."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.abandonment import without_abandoned
from cloudrun_identity.iam.claims import HOLD_EVERYTHING, Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.ledger import Holding, Ledger

from .strategies import TARGET

ANN, BOB = (Grant(TARGET, "roles/run.invoker", f"user:{name}@example.com") for name in ("ann", "bob"))
ONE, TWO = (Claimant("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
LEAVING = Declaration(ONE, abandon=True)


def held(*claimants: Claimant) -> Holding:
    return Holding(frozenset(map(str, claimants)), GrantState.GRANTED, unique_id="7")


def test_what_nobody_else_has_is_nobodys() -> None:
    ledger = Ledger(TARGET, holdings={ANN: held(ONE), BOB: held(TWO)})
    assert without_abandoned(ledger, [LEAVING, Declaration(TWO)]).holdings == {BOB: held(TWO)}


def test_what_others_share_stays_theirs() -> None:
    ledger = Ledger(TARGET, holdings={ANN: held(ONE, TWO)})
    assert without_abandoned(ledger, [LEAVING]).holdings == {ANN: held(TWO)}


def test_what_somebody_wants_who_is_not_named_yet_becomes_theirs() -> None:
    ledger = Ledger(TARGET, holdings={ANN: held(ONE)})
    wanting = Declaration(TWO, frozenset({Claim(ANN)}))
    assert without_abandoned(ledger, [LEAVING, wanting]).holdings == {ANN: held(TWO)}
    braked = replace(wanting, writable=False)
    assert without_abandoned(ledger, [LEAVING, braked]).holdings == {}


@pytest.mark.parametrize(
    "declarations",
    [
        [],
        [Declaration(ONE)],
        [Declaration(ONE, frozenset({Claim(ANN)}), abandon=True)],
        [Declaration(ONE, holds=(HOLD_EVERYTHING,), abandon=True)],
        [Declaration(ONE, writable=False, abandon=True)],
    ],
    ids=["unheard", "releasing", "claimed", "held", "braked"],
)
def test_only_what_is_abandoned_leaves(declarations: list[Declaration]) -> None:
    ledger = Ledger(TARGET, holdings={ANN: held(ONE)})
    assert without_abandoned(ledger, declarations) == ledger


def test_a_predecessor_of_the_same_name_leaves_with_its_successor() -> None:
    ledger = Ledger(TARGET, holdings={ANN: held(replace(ONE, uid="before"))})
    assert without_abandoned(ledger, [LEAVING]).holdings == {}
