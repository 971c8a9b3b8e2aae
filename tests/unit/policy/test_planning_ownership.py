"""Plans for recreated accounts, exclusive bindings and grants that were present before."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import BindingKey, Grant, IAMCondition
from cloudrun_identity.iam.principals import email
from cloudrun_identity.ledger.limits import MAX_BYTES
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import to_object
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.exclusive import is_protected
from cloudrun_identity.policy.merge import Removal
from cloudrun_identity.policy.planning import PolicyPlan, plan_policy
from cloudrun_identity.policy.review import SyncFacts
from cloudrun_identity.policy.settlement import settle
from tests.unit.policy.strategies import TARGET

from .pure_sync import entry

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


def removable(plan: PolicyPlan) -> tuple[Grant, ...]:
    return tuple(step.grant for step in plan.removals)


def planned(ledger: Ledger, *declared: DesiredGrants, present: set[Grant], **facts: Any) -> PolicyPlan:
    return plan_policy(
        ledger, declared, present, SyncFacts(may_release=True, protected=is_protected, **facts)
    )


def test_grant_of_an_account_with_another_id_is_made_again() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, present={ACCOUNT})

    assert found.replaced == (Removal(ACCOUNT, ("1",)),)
    assert found.desired_grants == (DesiredGrant(ACCOUNT, "2", former_unique_ids=("1",)),)
    assert found.ledger.entries[ACCOUNT].unique_ids == ("1", "2"), "either may be present after a crash"
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
def test_retained_grant_ends_with_its_account_unless_undeletable(
    present: set[Grant], declared: DesiredGrants, settings: dict[str, Any], released: bool
) -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})

    found = plan_policy(
        ledger,
        [declared],
        present,
        SyncFacts(**{"may_release": True, "may_return": lambda *_: False} | settings),
    )

    assert [removal.forms for removal in found.released] == ([{TOMBSTONE}] if released else [])
    assert found.ledger.entries.keys() == {ACCOUNT}, "until a read shows that it is absent"


def test_tombstone_is_replaced_in_one_write() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")}))

    found = planned(ledger, wanted, present=set())

    assert found.replaced == ()
    assert found.desired_grants[0].former_unique_ids == ("1",)


def test_exclusive_binding_keeps_only_protected_members() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)

    found = planned(Ledger.of(TARGET), wanted, present={ANN, EVE, AGENT})

    assert found.unmanaged == removable(found) == (EVE,)


def test_binding_with_another_condition_is_not_exclusive() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    elsewhere = replace(EVE, condition=IAMCondition("nights", "", "true"))

    assert planned(Ledger.of(TARGET), wanted, present={ANN, elsewhere}).unmanaged == ()


def test_observed_object_reports_unmanaged_members_and_keeps_them() -> None:
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE, writable=False)

    found = planned(Ledger.of(TARGET), wanted, present={ANN, EVE})

    assert (found.unmanaged, removable(found)) == ((EVE,), ())


def test_no_member_is_removed_until_all_objects_have_declared() -> None:
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    found = plan_policy(
        Ledger.of(TARGET), [alone], {EVE}, SyncFacts(may_release=False, protected=is_protected)
    )
    assert (found.unmanaged, removable(found)) == ((EVE,), ())


def test_grant_of_another_object_is_a_conflict_and_stays() -> None:
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)
    other = DesiredGrants(TWO, frozenset({DesiredGrant(ACCOUNT)}))

    found = planned(Ledger.of(TARGET), alone, other, present={ANN, EVE, ACCOUNT})

    assert found.conflicting == {ONE.owner_key: ACCOUNT}
    assert removable(found) == ()


def test_grant_of_a_missing_object_is_a_conflict() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, TWO)})
    alone = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}), exclusive=ALONE)

    assert planned(ledger, alone, present={ANN, ACCOUNT}).conflicting == {ONE.owner_key: ACCOUNT}


def test_grant_present_before_is_left_on_deletion() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE, present_before=True)})

    found = planned(ledger, DesiredGrants(ONE), present={ANN})

    assert found.released == ()
    assert found.ledger.is_empty


def test_grant_present_before_is_removed_if_the_owner_claims_it() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE, present_before=True)})

    found = planned(ledger, DesiredGrants(ONE, claims=frozenset({ANN})), present={ANN})

    assert [release.grant for release in found.released] == [ANN]


def test_last_owner_decides_about_a_grant_present_before() -> None:
    shared = entry(ANN, ONE, TWO, present_before=True)
    owning = DesiredGrants(ONE, claims=frozenset({ANN}))
    keeping = DesiredGrants(TWO, frozenset({DesiredGrant(ANN)}))

    after_one = planned(Ledger.of(TARGET, {ANN: shared}), owning, keeping, present={ANN})
    after_both = planned(after_one.ledger, owning, DesiredGrants(TWO), present={ANN})

    assert after_one.released == after_both.released == ()
    assert after_both.ledger.is_empty


def test_repeatedly_removed_grant_is_pending_and_lost_once() -> None:
    ledger = Ledger.of(TARGET, {ANN: entry(ANN, ONE)})
    wanted = DesiredGrants(ONE, frozenset({DesiredGrant(ANN)}))

    found = planned(ledger, wanted, present=set())
    settled = settle(found, set(), added=(), refused=(), written_at=None)

    assert found.drifted == {ANN}
    assert settled.entries[ANN].state is GrantState.PENDING
    assert planned(settled, wanted, present=set()).drifted == frozenset()


TOMB = replace(ACCOUNT, member=f"deleted:{ACCOUNT.member}?uid=1")


@pytest.mark.parametrize("recorded", [True, False])
def test_deleted_account_is_granted_nothing(recorded: bool) -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")} if recorded else {})
    found = planned(
        ledger, DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="1")})), present={TOMB}
    )
    assert found.desired_grants == (), "its e-mail may be another account's now"
    assert found.drifted == ({ACCOUNT} if recorded else set())
    assert set(found.ledger.entries) == ({ACCOUNT} if recorded else set())


def test_grant_of_an_account_whose_identity_is_deleted_is_no_drift() -> None:
    """The operator deletes the account of an identity. A binding may name it by its e-mail."""
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    undeclared = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT)}))

    assert planned(ledger, undeclared, present={TOMB}).drifted == frozenset()
    assert planned(ledger, undeclared, present=set()).drifted == {ACCOUNT}


def test_grant_is_no_drift_before_its_object_sees_the_deleted_identity() -> None:
    """The object declares the grant as before: its reconcile may wait for this sync."""
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    as_before = DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="1")}))
    deleted = {"is_declared": lambda *account: account != (email(ACCOUNT.member), "1")}

    assert planned(ledger, as_before, present={TOMB}, **deleted).drifted == frozenset()
    assert planned(ledger, as_before, present=set(), **deleted).drifted == {ACCOUNT}
    assert planned(ledger, as_before, present={TOMB}).drifted == {ACCOUNT}


def test_recreated_account_is_granted_its_desired_grants() -> None:
    ledger = Ledger.of(TARGET, {ACCOUNT: entry(ACCOUNT, ONE, unique_id="1")})
    found = planned(
        ledger, DesiredGrants(ONE, frozenset({DesiredGrant(ACCOUNT, unique_id="2")})), present={TOMB}
    )
    assert [desired.grant for desired in found.desired_grants] == [ACCOUNT]
    assert found.desired_grants == (DesiredGrant(ACCOUNT, "2", former_unique_ids=("1",)),)


def test_many_owners_of_few_grants_leave_room_for_other_grants() -> None:
    members = [Grant(TARGET, ROLE, f"user:u{number}@example.com") for number in range(250)]
    many = [
        DesiredGrants(
            Owner("IAMBinding", "shop", f"many-{number}", UID), frozenset(map(DesiredGrant, members))
        )
        for number in range(80)
    ]
    first = planned(Ledger.of(TARGET), *many, present=set())
    assert set(first.ledger.entries) == set(members)
    assert len(json.dumps(to_object(first.ledger, {}))) < MAX_BYTES

    there = {ANN: entry(ANN, TWO)}
    late = planned(
        Ledger.of(TARGET, there),
        *many,
        DesiredGrants(TWO, frozenset({DesiredGrant(ANN)})),
        present={ANN},
    )
    assert late.ledger.entries[ANN].owners == (str(TWO),), "recorded owners stay"


def test_owner_without_room_is_recorded_once_others_leave() -> None:
    many = [
        DesiredGrants(Owner("IAMBinding", "shop", f"{number:04}", UID), frozenset({DesiredGrant(ANN)}))
        for number in range(1501)
    ]
    full = planned(Ledger.of(TARGET), *many, present=set()).ledger
    assert len(full.entries[ANN].owners) == 1500

    deleted = [replace(each, desired_grants=frozenset()) for each in many[:-1]]
    left = planned(full, *deleted, many[-1], present={ANN})
    assert left.released == ()
    assert left.ledger.entries[ANN].owners == (str(many[-1].owner),)
