"""Planning where ownership is not plain: accounts created anew, exclusive bindings, grants from before."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.limits import MAX_BYTES
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import to_object
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.exclusive import is_protected
from cloudrun_identity.policy.merge import Removal
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.settlement import settle
from tests.unit.iam.strategies import TARGET

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
ONE, TWO = (Owner("IAMBinding", "payments", name, "uid") for name in ("one", "two"))
ALONE = frozenset({BindingKey(TARGET, ROLE)})


def entry(grant: Grant, *owners: Owner, **fields: Any) -> LedgerEntry:
    return entry_of(grant, [*map(str, owners)], **{"state": GrantState.GRANTED, **fields})


def planned(ledger: Ledger, *all_desired: DesiredGrants, present: set[Grant]) -> PolicyPlan:
    return plan_policy(ledger, all_desired, present, may_release=True, protected=is_protected)


def test_a_grant_to_an_account_of_the_same_name_and_another_id_is_given_anew() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, present={ACCOUNT})

    assert found.replaced == (Removal(ACCOUNT, ("1",)),)
    assert found.desired_grants == (DesiredGrant(ACCOUNT, "2", former_unique_ids=("1",)),)
    assert found.ledger.entries[ACCOUNT].unique_ids == ("1", "2"), "either may be what stands after a crash"
    settled = settle(found, {ACCOUNT}, added={ACCOUNT}, refused=(), written_at=None)
    assert settled.entries[ACCOUNT].unique_ids == ("2",)


TOMBSTONE = ACCOUNT.deleted_form("1")
HELD = DesiredGrants(ONE, retains=(Retain(TARGET, ROLE, prefix="serviceAccount:"),))


@pytest.mark.parametrize(
    ("present", "declared", "settings", "released"),
    [
        ({TOMBSTONE}, HELD, {}, True),
        ({ACCOUNT}, HELD, {}, False),
        ({TOMBSTONE, ACCOUNT}, HELD, {}, False),
        ({ACCOUNT.deleted_form("2")}, HELD, {}, False),
        ({TOMBSTONE}, HELD, {"may_return": lambda *account: account == (email(ACCOUNT.member), "1")}, False),
        ({TOMBSTONE}, HELD, {"may_release": False}, False),
        ({TOMBSTONE}, HELD, {"observed": True}, False),
        ({TOMBSTONE}, replace(HELD, writable=False), {}, False),
        ({TOMBSTONE}, replace(HELD, owner=TWO), {}, False),
        ({TOMBSTONE}, DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, "1")})), {}, False),
    ],
)
def test_a_grant_that_is_only_kept_goes_with_its_account_unless_that_may_return(
    present: set[Grant], declared: DesiredGrants, settings: dict[str, Any], released: bool
) -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})

    found = plan_policy(
        ledger, [declared], present, **{"may_release": True, "may_return": lambda *_: False} | settings
    )

    assert found.released == ((Removal(ACCOUNT, ("1",)),) if released else ())
    assert found.ledger.entries.keys() == {ACCOUNT}, "until it was seen gone"


def test_where_google_shows_a_tombstone_one_write_will_do() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, present=set())

    assert found.replaced == ()
    assert found.desired_grants[0].former_unique_ids == ("1",)


def test_whoever_has_a_binding_alone_shares_it_with_google_only() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)

    found = planned(Ledger.of(TARGET), wanted, present={ANN, EVE, AGENT})

    assert found.unmanaged == found.removable == (EVE,)


def test_another_condition_makes_another_binding() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    elsewhere = replace(EVE, condition=IAMCondition("nights", "", "true"))

    assert planned(Ledger.of(TARGET), wanted, present={ANN, elsewhere}).unmanaged == ()


def test_in_observe_mode_intruders_are_seen_and_stay() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE, writable=False)

    found = planned(Ledger.of(TARGET), wanted, present={ANN, EVE})

    assert (found.unmanaged, found.removable) == ((EVE,), ())


def test_nobody_is_removed_while_somebody_has_yet_to_declare() -> None:
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    found = plan_policy(Ledger.of(TARGET), [alone], {EVE}, may_release=False, protected=is_protected)
    assert (found.unmanaged, found.removable) == ((EVE,), ())


def test_a_claim_of_another_object_is_a_conflict_and_removes_nobody() -> None:
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    other = DesiredGrants(TWO, frozenset({DesiredGrant(ACCOUNT)}))

    found = planned(Ledger.of(TARGET), alone, other, present={ANN, EVE, ACCOUNT})

    assert found.conflicting == {ONE.owner_key: ACCOUNT}
    assert found.removable == ()


def test_what_a_missing_object_holds_is_a_conflict_too() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, TWO)})
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)

    assert planned(ledger, alone, present={ANN, ACCOUNT}).conflicting == {ONE.owner_key: ACCOUNT}


def test_a_grant_that_stood_before_is_left_on_deletion() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE, present_before=True)})

    found = planned(ledger, DesiredGrants(ONE), present={ANN})

    assert found.released == ()
    assert found.ledger.is_empty


def test_a_grant_that_stood_before_goes_with_who_claimed_it() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE, present_before=True)})

    found = planned(ledger, DesiredGrants(ONE, owns_existing=True), present={ANN})

    assert [release.grant for release in found.released] == [ANN]


def test_the_last_claimant_decides_about_a_grant_that_stood_before() -> None:
    shared = entry(ANN, ONE, TWO, present_before=True)
    claims_it = DesiredGrants(ONE, owns_existing=True)
    keeps_it = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))

    after_one = planned(Ledger.of(TARGET, {ANN: shared}), claims_it, keeps_it, present={ANN})
    after_both = planned(after_one.ledger, claims_it, DesiredGrants(TWO), present={ANN})

    assert after_one.released == after_both.released == ()
    assert after_both.ledger.is_empty


def test_a_grant_that_somebody_keeps_taking_away_is_pending_and_not_lost_twice() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE)})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}))

    found = planned(ledger, wanted, present=set())
    settled = settle(found, set(), added=(), refused=(), written_at=None)

    assert found.drifted == {ANN}
    assert settled.entries[ANN].state is GrantState.PENDING
    assert planned(settled, wanted, present=set()).drifted == frozenset()


TOMB = replace(ACCOUNT, member=f"deleted:{ACCOUNT.member}?uid=1")


@pytest.mark.parametrize("held", [True, False])
def test_nothing_is_granted_to_an_account_that_the_policy_shows_as_deleted(held: bool) -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")} if held else {})
    found = planned(
        ledger, DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="1")})), present={TOMB}
    )
    assert found.desired_grants == (), "whoever has its e-mail now is not who was meant"
    assert found.drifted == ({ACCOUNT} if held else set())
    assert set(found.ledger.entries) == ({ACCOUNT} if held else set())


def test_an_account_that_took_the_place_of_a_deleted_one_is_granted_what_is_claimed_for_it() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    found = planned(
        ledger, DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")})), present={TOMB}
    )
    assert [desired_grant.grant for desired_grant in found.desired_grants] == [ACCOUNT]
    assert found.desired_grants == (DesiredGrant(ACCOUNT, "2", former_unique_ids=("1",)),)


def test_a_crowd_that_names_the_same_members_does_not_fill_the_ledger_for_others() -> None:
    members = [Grant(TARGET, ROLE, f"user:u{number}@example.com") for number in range(250)]
    crowd = [
        DesiredGrants(
            Owner("IAMBinding", "shop", f"many-{number}", UID), frozenset(map(DesiredGrant, members))
        )
        for number in range(80)
    ]
    first = planned(Ledger.of(TARGET), *crowd, present=set())
    assert set(first.ledger.entries) == set(members)
    assert len(json.dumps(to_object(first.ledger, {}))) < MAX_BYTES

    there = {ANN: entry(ANN, TWO)}
    late = planned(
        Ledger.of(TARGET, there),
        *crowd,
        DesiredGrants(TWO, frozenset({DesiredGrant(ANN)})),
        present={ANN},
    )
    assert late.ledger.entries[ANN].owners == (str(TWO),), "whoever is there is not pushed out"


def test_who_found_no_room_beside_the_others_has_the_grant_once_they_leave() -> None:
    crowd = [
        DesiredGrants(Owner("IAMBinding", "shop", f"{number:04}", UID), frozenset({DesiredGrant(ANN)}))
        for number in range(1501)
    ]
    full = planned(Ledger.of(TARGET), *crowd, present=set()).ledger
    assert len(full.entries[ANN].owners) == 1500

    gone = [replace(each, desired_grants=frozenset()) for each in crowd[:-1]]
    left = planned(full, *gone, crowd[-1], present={ANN})
    assert left.released == ()
    assert left.ledger.entries[ANN].owners == (str(crowd[-1].owner),)
