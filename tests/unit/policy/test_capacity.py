"""The capacity of policies and ledgers, and the grants that exceed it."""

from dataclasses import replace

from cloudrun_identity.iam.grants import Grant, IAMCondition
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.capacity import MAX_OWNERS, LedgerCapacity, over_capacity
from cloudrun_identity.policy.desired_grants import DesiredGrant
from tests.unit.policy.strategies import ROLES, TARGET

LONG = IAMCondition("nightly", "", "x" * 2048)


def grant(number: int, condition: IAMCondition | None = None) -> Grant:
    return Grant(TARGET, ROLES[0], f"user:u{number}@example.com", condition)


def taken(capacity: LedgerCapacity, grants: list[Grant]) -> int:
    return sum(capacity.add(each, "IAMBinding/shop/web/u") for each in grants)


def test_condition_counts_once_for_all_members_of_a_binding() -> None:
    one = [grant(number, LONG) for number in range(1500)]
    many = [grant(0, IAMCondition(str(number), "", "x" * 2048)) for number in range(1500)]
    assert taken(LedgerCapacity(()), one) == 1500
    assert taken(LedgerCapacity(()), many) < 500


def test_existing_entries_use_capacity() -> None:
    recorded = [
        (grant(number), entry_of(grant(number), [f"IAMBinding/shop/{number:0360}/u"]))
        for number in range(1400)
    ]
    assert not LedgerCapacity(recorded).add(grant(-1), "IAMBinding/shop/web/u")
    assert LedgerCapacity(()).add(grant(-1), "IAMBinding/shop/web/u")


def test_further_owners_take_no_capacity_from_grants() -> None:
    crowd = {f"IAMBinding/shop/{number:0340}/u" for number in range(1200)}
    room = LedgerCapacity(())
    joined = room.add_owners({"IAMBinding/shop/web/u"}, crowd)
    assert 1 < len(joined) < len(crowd)
    assert room.add_owners({"IAMBinding/shop/api/u"}, crowd) == {"IAMBinding/shop/api/u"}
    assert taken(room, [grant(number) for number in range(1500)]) == 1500

    full = LedgerCapacity([(grant(0), entry_of(grant(0), joined)), (grant(2), entry_of(grant(2), ()))])
    assert len(full.add_owners({"IAMBinding/shop/api/u"}, crowd)) <= 2
    assert full.add(grant(1), "IAMBinding/shop/web/u")


def test_owners_of_a_grant_are_limited_and_recorded_ones_stay() -> None:
    named = {f"IAMBinding/shop/z{number}/u" for number in range(3)}
    others = {f"IAMBinding/shop/a{number}/u" for number in range(MAX_OWNERS)}
    joined = LedgerCapacity(()).add_owners(named, named | others)
    assert named < joined
    assert len(joined) == MAX_OWNERS


def test_newest_grants_beyond_the_capacity_of_a_policy_are_refused() -> None:
    desired = [DesiredGrant(grant(number)) for number in range(6)]
    present = {desired[0].grant, desired[1].grant}
    newest = {desired[2].grant, desired[3].grant}
    refused = over_capacity(desired, present, newest, free=2)
    assert refused.keys() == newest
    assert "1500" in refused[desired[2].grant].message


def test_grant_that_replaces_a_tombstone_needs_no_free_place() -> None:
    recreated = DesiredGrant(grant(1), former_unique_ids=("41", "42"))
    present = {replace(recreated.grant, member="deleted:user:u1@example.com?uid=41")}
    assert over_capacity([recreated], present, {recreated.grant}, free=0) == {}


def test_grants_within_the_capacity_of_a_policy_are_not_refused() -> None:
    assert over_capacity([DesiredGrant(grant(number)) for number in range(6)], (), (), free=6) == {}
