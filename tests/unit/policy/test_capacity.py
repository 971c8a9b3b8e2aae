"""The capacity of policies and ledgers, and the grants that exceed it."""

from dataclasses import replace

from google.iam.v1.policy_pb2 import AuditConfig, AuditLogConfig, Binding, Policy

from cloudrun_identity.iam.grants import Grant, IAMCondition
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.policy.capacity import MAX_OWNERS, LedgerCapacity, over_capacity
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.usage import PolicyUsage, usage_of
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


def members(*members: str, exempted: int = 0) -> PolicyUsage:
    """Return the usage of a policy with these members and this number of exempted principals."""
    log = AuditLogConfig(exempted_members=[f"user:e{number}@example.com" for number in range(exempted)])
    return usage_of(
        Policy(
            bindings=[Binding(role="roles/viewer", members=members)],
            audit_configs=[AuditConfig(service="allServices", audit_log_configs=[log])],
        )
    )


def users(number: int) -> list[str]:
    return [f"user:there{each}@example.com" for each in range(number)]


def groups(number: int) -> list[str]:
    return [f"group:there{each}@example.com" for each in range(number)]


def to(*members: str) -> list[DesiredGrant]:
    return [DesiredGrant(Grant(TARGET, ROLES[0], member)) for member in members]


def test_usage_counts_each_binding_of_a_member_and_each_group_once() -> None:
    policy = Policy(
        bindings=[
            Binding(role="roles/a", members=["user:a@x.example", "group:G@x.example", "domain:x.example"]),
            Binding(role="roles/b", members=["user:a@x.example", "group:g@x.example", "domain:x.example"]),
            Binding(role="roles/c", members=["deleted:group:h@x.example?uid=1"]),
        ]
    )
    usage = usage_of(policy)
    assert (usage.principals, usage.groups_and_domains) == (7, 3)


def test_newest_grants_beyond_the_capacity_of_a_policy_are_refused() -> None:
    desired = [DesiredGrant(grant(number)) for number in range(6)]
    present = {desired[0].grant, desired[1].grant}
    newest = {desired[2].grant, desired[3].grant}
    refused = over_capacity(desired, present, newest, members(*users(1498)))
    assert refused.keys() == newest
    assert "1498 of at most 1500 principals" in refused[desired[2].grant].message


def test_exempted_principals_use_capacity_and_are_named() -> None:
    (refused,) = over_capacity(to("user:new@x.example"), (), (), members(*users(900), exempted=600)).values()
    assert "1500 of at most 1500 principals" in refused.message
    assert "600 of them are exempted from audit logging" in refused.message


def test_groups_and_domains_beyond_their_limit_are_refused_alone() -> None:
    wanted = to("group:a@x.example", "group:there0@example.com", "domain:x.example", "user:new@x.example")
    refused = over_capacity(wanted, (), (), members(*groups(249)))
    assert [each.member for each in refused] == ["domain:x.example"]
    assert "249 of at most 250 groups and domains" in refused[wanted[2].grant].message
    assert "make one group a member of another group" in refused[wanted[2].grant].message


def test_group_with_two_new_roles_counts_once() -> None:
    wanted = [DesiredGrant(Grant(TARGET, role, "group:a@x.example")) for role in ROLES]
    assert over_capacity(wanted, (), (), members(*groups(249))) == {}


def test_grant_that_replaces_a_tombstone_needs_no_free_place() -> None:
    recreated = DesiredGrant(grant(1), former_unique_ids=("41", "42"))
    present = {replace(recreated.grant, member="deleted:user:u1@example.com?uid=41")}
    assert over_capacity([recreated], present, {recreated.grant}, members(*users(1500))) == {}


def test_grants_within_the_capacity_of_a_policy_are_not_refused() -> None:
    desired = [DesiredGrant(grant(number)) for number in range(6)]
    assert over_capacity(desired, (), (), members(*users(1494))) == {}
