"""What fits into a ledger, and what is left out of it."""

from cloudrun_identity.iam.grants import Grant, IAMCondition
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.capacity import MAX_CLAIMANTS, Capacity
from tests.unit.iam.strategies import ROLES, TARGET

LONG = IAMCondition("nightly", "", "x" * 2048)


def grant(number: int, condition: IAMCondition | None = None) -> Grant:
    return Grant(TARGET, ROLES[0], f"user:u{number}@example.com", condition)


def taken(room: Capacity, grants: list[Grant]) -> int:
    return sum(room.takes(each, "IAMBinding/shop/web/u") for each in grants)


def test_a_condition_counts_once_for_all_who_hold_a_role_under_it() -> None:
    one = [grant(number, LONG) for number in range(1500)]
    many = [grant(0, IAMCondition(str(number), "", "x" * 2048)) for number in range(1500)]
    assert taken(Capacity(()), one) == 1500
    assert taken(Capacity(()), many) < 500


def test_what_is_held_counts_before_anything_else() -> None:
    held = [
        (grant(number), entry_of(grant(number), [f"IAMBinding/shop/{number:0360}/u"]))
        for number in range(1400)
    ]
    assert not Capacity(held).takes(grant(-1), "IAMBinding/shop/web/u")
    assert Capacity(()).takes(grant(-1), "IAMBinding/shop/web/u")


def test_company_takes_no_room_from_further_grants() -> None:
    crowd = {f"IAMBinding/shop/{number:0340}/u" for number in range(1200)}
    room = Capacity(())
    joined = room.joining({"IAMBinding/shop/web/u"}, crowd)
    assert 1 < len(joined) < len(crowd)
    assert room.joining({"IAMBinding/shop/api/u"}, crowd) == {"IAMBinding/shop/api/u"}
    assert taken(room, [grant(number) for number in range(1500)]) == 1500

    full = Capacity([(grant(0), entry_of(grant(0), joined)), (grant(2), entry_of(grant(2), ()))])
    assert len(full.joining({"IAMBinding/shop/api/u"}, crowd)) <= 2
    assert full.takes(grant(1), "IAMBinding/shop/web/u")


def test_so_many_objects_share_a_grant_and_those_that_were_there_stay() -> None:
    named = {f"IAMBinding/shop/z{number}/u" for number in range(3)}
    others = {f"IAMBinding/shop/a{number}/u" for number in range(MAX_CLAIMANTS)}
    joined = Capacity(()).joining(named, named | others)
    assert named < joined
    assert len(joined) == MAX_CLAIMANTS
