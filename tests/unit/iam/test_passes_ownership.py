"""Planning where ownership is not plain: accounts created anew, exclusive bindings, grants from before."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration, Hold
from cloudrun_identity.iam.exclusive import is_spared
from cloudrun_identity.iam.grants import Condition, Grant, Slot
from cloudrun_identity.iam.ledger import Holding, Ledger
from cloudrun_identity.iam.merge import Release
from cloudrun_identity.iam.passes import Plan, plan, settle
from cloudrun_identity.iam.principals import email
from cloudrun_identity.kube.ledger_bounds import MAX_BYTES
from cloudrun_identity.kube.ledger_objects import to_object

from .strategies import TARGET

UID = "0a1b2c3d-0000-0000-0000-000000000000"

ROLE = "roles/run.invoker"
ACCOUNT, ANN, EVE = (
    Grant(TARGET, ROLE, member)
    for member in (
        "serviceAccount:web@shop.iam.gserviceaccount.com",
        "user:ann@example.com",
        "user:eve@example.com",
    )
)
AGENT = Grant(TARGET, ROLE, "serviceAccount:service-1@serverless-robot-prod.iam.gserviceaccount.com")
ONE, TWO = (Claimant("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
ALONE = frozenset({Slot(TARGET, ROLE)})


def holding(claimant: Claimant, **changes: object) -> Holding:
    held = Holding(frozenset({str(claimant)}), GrantState.GRANTED)
    return replace(held, **changes)


def planned(ledger: Ledger, *declarations: Declaration, standing: set[Grant]) -> Plan:
    return plan(ledger, declarations, standing, may_release=True, spared=is_spared)


def test_a_grant_to_an_account_of_the_same_name_and_another_id_is_given_anew() -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(ONE, unique_id="1")})
    wanted = Declaration(ONE, frozenset({Claim(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, standing={ACCOUNT})

    assert found.stale == (Release(ACCOUNT, ("1",)),)
    assert found.claims == (Claim(ACCOUNT, "2", former_ids=("1",)),)
    assert found.ledger.holdings[ACCOUNT].unique_ids == ("1", "2"), "either may be what stands after a crash"
    settled = settle(found, {ACCOUNT}, added={ACCOUNT}, rejected=(), written_at=None)
    assert settled.holdings[ACCOUNT].unique_ids == ("2",)


TOMBSTONE = ACCOUNT.entombed("1")
HELD = Declaration(ONE, holds=(Hold(TARGET, ROLE, prefix="serviceAccount:"),))


@pytest.mark.parametrize(
    ("standing", "declared", "settings", "released"),
    [
        ({TOMBSTONE}, HELD, {}, True),
        ({ACCOUNT}, HELD, {}, False),
        ({TOMBSTONE, ACCOUNT}, HELD, {}, False),
        ({ACCOUNT.entombed("2")}, HELD, {}, False),
        ({TOMBSTONE}, HELD, {"may_return": lambda *account: account == (email(ACCOUNT.member), "1")}, False),
        ({TOMBSTONE}, HELD, {"may_release": False}, False),
        ({TOMBSTONE}, HELD, {"observed": True}, False),
        ({TOMBSTONE}, replace(HELD, writable=False), {}, False),
        ({TOMBSTONE}, replace(HELD, claimant=TWO), {}, False),
        ({TOMBSTONE}, Declaration(ONE, frozenset({Claim(ACCOUNT, "1")})), {}, False),
    ],
)
def test_a_grant_that_is_only_kept_goes_with_its_account_unless_that_may_return(
    standing: set[Grant], declared: Declaration, settings: dict[str, Any], released: bool
) -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(ONE, unique_id="1")})

    found = plan(
        ledger, [declared], standing, **{"may_release": True, "may_return": lambda *_: False} | settings
    )

    assert found.released == ((Release(ACCOUNT, ("1",)),) if released else ())
    assert found.ledger.holdings.keys() == {ACCOUNT}, "until it was seen gone"


def test_where_google_shows_a_tombstone_one_write_will_do() -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(ONE, unique_id="1")})
    wanted = Declaration(ONE, frozenset({Claim(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, standing=set())

    assert found.stale == ()
    assert found.claims[0].former_ids == ("1",)


def test_whoever_has_a_binding_alone_shares_it_with_google_only() -> None:
    wanted = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE)

    found = planned(Ledger(TARGET), wanted, standing={ANN, EVE, AGENT})

    assert found.intruders == found.evictable == (EVE,)


def test_another_condition_makes_another_binding() -> None:
    wanted = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE)
    elsewhere = replace(EVE, condition=Condition("nights", "", "true"))

    assert planned(Ledger(TARGET), wanted, standing={ANN, elsewhere}).intruders == ()


def test_in_observe_mode_intruders_are_seen_and_stay() -> None:
    wanted = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE, writable=False)

    found = planned(Ledger(TARGET), wanted, standing={ANN, EVE})

    assert (found.intruders, found.evictable) == ((EVE,), ())


def test_nobody_is_removed_while_somebody_has_yet_to_declare() -> None:
    alone = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE)
    found = plan(Ledger(TARGET), [alone], {EVE}, may_release=False, spared=is_spared)
    assert (found.intruders, found.evictable) == ((EVE,), ())


def test_a_claim_of_another_object_is_a_conflict_and_removes_nobody() -> None:
    alone = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE)
    other = Declaration(TWO, frozenset({Claim(ACCOUNT)}))

    found = planned(Ledger(TARGET), alone, other, standing={ANN, EVE, ACCOUNT})

    assert found.contested == {ONE.seat: ACCOUNT}
    assert found.evictable == ()


def test_what_a_missing_object_holds_is_a_conflict_too() -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(TWO)})
    alone = Declaration(ONE, frozenset({Claim(ANN)}), exclusive=ALONE)

    assert planned(ledger, alone, standing={ANN, ACCOUNT}).contested == {ONE.seat: ACCOUNT}


def test_a_grant_that_stood_before_is_left_on_deletion() -> None:
    ledger = Ledger(TARGET, holdings={ANN: holding(ONE, foreign_before=True)})

    found = planned(ledger, Declaration(ONE), standing={ANN})

    assert found.released == ()
    assert found.ledger.is_empty


def test_a_grant_that_stood_before_goes_with_who_claimed_it() -> None:
    ledger = Ledger(TARGET, holdings={ANN: holding(ONE, foreign_before=True)})

    found = planned(ledger, Declaration(ONE, claims_existing=True), standing={ANN})

    assert [release.grant for release in found.released] == [ANN]


def test_the_last_claimant_decides_about_a_grant_that_stood_before() -> None:
    shared = replace(holding(ONE, foreign_before=True), claimants=frozenset({str(ONE), str(TWO)}))
    claims_it = Declaration(ONE, claims_existing=True)
    keeps_it = Declaration(TWO, frozenset({Claim(ANN)}))

    after_one = planned(Ledger(TARGET, holdings={ANN: shared}), claims_it, keeps_it, standing={ANN})
    after_both = planned(after_one.ledger, claims_it, Declaration(TWO), standing={ANN})

    assert after_one.released == after_both.released == ()
    assert after_both.ledger.is_empty


def test_a_grant_that_somebody_keeps_taking_away_is_pending_and_not_lost_twice() -> None:
    ledger = Ledger(TARGET, holdings={ANN: holding(ONE)})
    wanted = Declaration(ONE, frozenset({Claim(ANN)}))

    found = planned(ledger, wanted, standing=set())
    settled = settle(found, set(), added=(), rejected=(), written_at=None)

    assert found.drifted == {ANN}
    assert settled.holdings[ANN].state is GrantState.PENDING
    assert planned(settled, wanted, standing=set()).drifted == frozenset()


TOMB = replace(ACCOUNT, member=f"deleted:{ACCOUNT.member}?uid=1")


@pytest.mark.parametrize("held", [True, False])
def test_nothing_is_granted_to_an_account_that_the_policy_shows_as_deleted(held: bool) -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(ONE, unique_id="1")} if held else {})
    found = planned(ledger, Declaration(ONE, frozenset({Claim(ACCOUNT, unique_id="1")})), standing={TOMB})
    assert found.claims == (), "whoever has its e-mail now is not who was meant"
    assert found.drifted == ({ACCOUNT} if held else set())
    assert set(found.ledger.holdings) == ({ACCOUNT} if held else set())


def test_an_account_that_took_the_place_of_a_deleted_one_is_granted_what_is_claimed_for_it() -> None:
    ledger = Ledger(TARGET, holdings={ACCOUNT: holding(ONE, unique_id="1")})
    found = planned(ledger, Declaration(ONE, frozenset({Claim(ACCOUNT, unique_id="2")})), standing={TOMB})
    assert [claim.grant for claim in found.claims] == [ACCOUNT]
    assert found.claims == (Claim(ACCOUNT, "2", former_ids=("1",)),)


def test_a_crowd_that_names_the_same_members_does_not_fill_the_ledger_for_others() -> None:
    members = [Grant(TARGET, ROLE, f"user:u{number}@example.com") for number in range(250)]
    crowd = [
        Declaration(Claimant("IAMBinding", "shop", f"many-{number}", UID), frozenset(map(Claim, members)))
        for number in range(80)
    ]
    first = planned(Ledger(TARGET), *crowd, standing=set())
    assert set(first.ledger.holdings) == set(members)
    assert len(json.dumps(to_object(first.ledger, {}))) < MAX_BYTES

    there = {ANN: holding(TWO)}
    late = planned(
        Ledger(TARGET, holdings=there), *crowd, Declaration(TWO, frozenset({Claim(ANN)})), standing={ANN}
    )
    assert late.ledger.holdings[ANN].claimants == {str(TWO)}, "whoever is there is not pushed out"


def test_who_found_no_room_beside_the_others_has_the_grant_once_they_leave() -> None:
    crowd = [
        Declaration(Claimant("IAMBinding", "shop", f"{number:04}", UID), frozenset({Claim(ANN)}))
        for number in range(1501)
    ]
    full = planned(Ledger(TARGET), *crowd, standing=set()).ledger
    assert len(full.holdings[ANN].claimants) == 1500

    gone = [replace(each, claims=frozenset()) for each in crowd[:-1]]
    left = planned(full, *gone, crowd[-1], standing={ANN})
    assert left.released == ()
    assert left.ledger.holdings[ANN].claimants == {str(crowd[-1].claimant)}
