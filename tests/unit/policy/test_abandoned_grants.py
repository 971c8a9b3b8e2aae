"""Ledgers after an object abandoned its grants."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants
from cloudrun_identity.policy.settlement import without_abandoned
from tests.unit.policy.strategies import TARGET

ANN, BOB = (Grant(TARGET, "roles/run.invoker", f"user:{name}@example.com") for name in ("ann", "bob"))
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
LEAVING = DesiredGrants(ONE, abandon=True)


def recorded(grant: Grant, *owners: Owner) -> LedgerEntry:
    return entry_of(grant, [*map(str, owners)], GrantState.GRANTED, unique_id="7")


def test_abandoned_grant_without_further_owner_is_dropped() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE), BOB: recorded(BOB, TWO)})
    assert without_abandoned(ledger, [LEAVING, DesiredGrants(TWO)]).entries == {BOB: recorded(BOB, TWO)}


def test_abandoned_grant_keeps_its_other_owners() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE, TWO)})
    assert without_abandoned(ledger, [LEAVING]).entries == {ANN: recorded(ANN, TWO)}


def test_abandoned_grant_passes_to_an_object_that_desires_it() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE)})
    wanting = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))
    assert without_abandoned(ledger, [LEAVING, wanting]).entries == {ANN: recorded(ANN, TWO)}
    suspended = replace(wanting, writable=False)
    assert without_abandoned(ledger, [LEAVING, suspended]).entries == {}


@pytest.mark.parametrize(
    "declared",
    [
        [],
        [DesiredGrants(ONE)],
        [DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), abandon=True)],
        [DesiredGrants(ONE, retains=(RETAIN_ALL,), abandon=True)],
        [DesiredGrants(ONE, writable=False, abandon=True)],
    ],
    ids=["undeclared", "releasing", "desired", "retained", "suspended"],
)
def test_grant_that_is_not_abandoned_is_kept(declared: list[DesiredGrants]) -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE)})
    assert without_abandoned(ledger, declared) == ledger


def test_predecessor_of_the_same_name_abandons_with_its_successor() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, replace(ONE, uid="before"))})
    assert without_abandoned(ledger, [LEAVING]).entries == {}
