"""Ledgers after an object abandoned its grants."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import Grant, IAMCondition
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.review import SyncFacts
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


def test_grant_that_an_edit_revoked_is_not_abandoned() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE), BOB: recorded(BOB, ONE)})
    leaving = replace(LEAVING, declared=(Retain(TARGET, ANN.role, ANN.member),), ending=True)
    assert without_abandoned(ledger, [leaving]).entries == {BOB: recorded(BOB, ONE)}
    plan = plan_policy(ledger, [leaving], {ANN, BOB}, SyncFacts(may_release=True))
    assert [removal.grant for removal in plan.released] == [BOB]
    assert plan.ledger.entries.keys() == {BOB}


def test_abandoned_grant_has_the_declared_condition() -> None:
    nightly = replace(ANN, condition=IAMCondition("nightly", "", "true"))
    declared = Retain(TARGET, ANN.role, ANN.member, any_condition=False)
    leaving = DesiredGrants(ONE, abandon=True, declared=(declared,))
    assert leaving.leaves(ANN)
    assert not leaving.leaves(nightly)
    assert Retain(TARGET, ANN.role, ANN.member).covers(nightly)


# Shared grants: the owner that leaves last decides.

DELETED = DesiredGrants(TWO, ending=True)


@pytest.mark.parametrize(
    ("first", "last", "stays"),
    [
        (LEAVING, DELETED, False),
        (replace(DELETED, owner=ONE), replace(LEAVING, owner=TWO), True),
        (replace(DELETED, owner=ONE), DELETED, False),
    ],
    ids=["abandoned, then deleted", "deleted, then abandoned", "deleted twice"],
)
@pytest.mark.parametrize("readable", [True, False])
def test_last_owner_decides_about_a_shared_grant(
    first: DesiredGrants, last: DesiredGrants, stays: bool, readable: bool
) -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE, TWO)})
    staying = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))
    if readable:
        ledger = plan_policy(ledger, [first, staying], {ANN}, SyncFacts(may_release=True)).ledger
    else:
        ledger = without_abandoned(ledger, [first, staying])

    plan = plan_policy(ledger, [first, last], {ANN}, SyncFacts(may_release=True))

    assert [removal.grant for removal in plan.released] == ([] if stays else [ANN])
    assert plan.ledger.is_empty is stays


def test_one_abandoning_owner_is_enough_when_all_leave_at_once() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE, TWO)})
    plan = plan_policy(ledger, [LEAVING, DELETED], {ANN}, SyncFacts(may_release=True))
    assert plan.released == ()
    assert plan.ledger.is_empty


def test_owner_that_an_edit_removed_has_no_say_about_a_shared_grant() -> None:
    ledger = Ledger.of(TARGET, {ANN: recorded(ANN, ONE, TWO)})
    edited = DesiredGrants(ONE)
    staying = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))
    once = plan_policy(ledger, [edited, staying], {ANN}, SyncFacts(may_release=True))
    assert once.ledger.entries[ANN].owners == (str(TWO),)
    twice = plan_policy(
        once.ledger, [edited, replace(LEAVING, owner=TWO)], {ANN}, SyncFacts(may_release=True)
    )
    assert twice.released == ()
