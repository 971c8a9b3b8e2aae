"""Merges of desired grants and removals into a policy."""

from random import Random

from google.iam.v1.policy_pb2 import Binding, Policy
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import normalise
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Merged, Removal, grants_in, merge
from tests.unit.policy import strategies
from tests.unit.policy.strategies import (
    ACCOUNT,
    CONDITIONS,
    OFFICE_HOURS,
    ROLES,
    TARGET,
    desired_with_history,
    policies,
)

desired_grants = st.lists(desired_with_history, max_size=5)
removals = st.lists(strategies.removals, max_size=4)

INVOKER = ROLES[0]
TOMBSTONE = f"deleted:{ACCOUNT}?uid=111"


def policy(*bindings: tuple[str, list[str]]) -> Policy:
    return Policy(etag=b"etag", bindings=[Binding(role=role, members=members) for role, members in bindings])


def as_lists(policy: Policy) -> list[tuple[str, list[str]]]:
    return [(binding.role, list(binding.members)) for binding in policy.bindings]


def invoker(member: str) -> Grant:
    return Grant(TARGET, INVOKER, member)


def entries(policy: Policy) -> list[tuple[str, bytes, str]]:
    """Return every member verbatim and in order, with its role and condition."""
    return [
        (binding.role, binding.condition.SerializeToString(), member)
        for binding in policy.bindings
        for member in binding.members
    ]


def removable_members(
    desired_grants: list[DesiredGrant], removals: list[Removal]
) -> set[tuple[str, bytes, str]]:
    """Return what a merge may remove: the removals, and tombstones of former accounts."""
    wanted = {each.grant for each in desired_grants}
    forms = [
        (removal.grant, [removal.grant.member, *tombstones(removal.grant, removal.unique_ids)])
        for removal in removals
        if removal.grant not in wanted
    ]
    forms += [
        (desired.grant, tombstones(desired.grant, desired.former_unique_ids)) for desired in desired_grants
    ]
    return {
        (grant.role, condition_bytes(grant), normalise(member))
        for grant, members in forms
        for member in members
    }


def tombstones(grant: Grant, unique_ids: tuple[str, ...]) -> list[str]:
    return [f"deleted:{grant.member}?uid={unique_id}" for unique_id in unique_ids]


def condition_bytes(grant: Grant) -> bytes:
    binding = merge(Policy(), [DesiredGrant(grant)]).policy.bindings[0]
    return bytes(binding.condition.SerializeToString())


def unmanaged(
    policy: Policy, removable: set[tuple[str, bytes, str]], added: frozenset[Grant]
) -> list[tuple[str, bytes, str]]:
    managed = removable | {(grant.role, condition_bytes(grant), grant.member) for grant in added}
    return [
        (role, condition, member)
        for role, condition, member in entries(policy)
        if (role, condition, normalise(member)) not in managed
    ]


# Laws.


@given(policies, desired_grants, removals)
def test_merge_is_idempotent(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    once = merge(policy, desired_grants, removals).policy
    assert merge(once, desired_grants, removals) == Merged(once, frozenset(), frozenset())
    assert merge(once, desired_grants, removals).policy is once


@given(policies, desired_grants, removals, st.randoms())
def test_order_of_desired_grants_and_removals_does_not_matter(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal], random: Random
) -> None:
    shuffled_desired, shuffled_removals = list(desired_grants), list(removals)
    random.shuffle(shuffled_desired)
    random.shuffle(shuffled_removals)
    one = merge(policy, desired_grants, removals)
    other = merge(policy, shuffled_desired, shuffled_removals)
    assert sorted(entries(one.policy)) == sorted(entries(other.policy))
    assert (one.added, one.removed) == (other.added, other.removed)


@given(policies, desired_grants, removals)
def test_desired_grants_are_present_and_removals_are_absent(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    wanted = {each.grant for each in desired_grants}
    removed = {removal.grant for removal in removals}
    present = grants_in(merge(policy, desired_grants, removals).policy, TARGET)
    assert wanted <= present
    assert not present & (removed - wanted)


@given(policies, desired_grants, removals)
def test_unmanaged_members_and_conditions_are_kept_in_order(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    merged = merge(policy, desired_grants, removals)
    removable = removable_members(desired_grants, removals)
    assert unmanaged(merged.policy, removable, merged.added) == unmanaged(policy, removable, merged.added)


@given(policies, desired_grants, removals)
def test_everything_but_the_bindings_is_kept_byte_for_byte(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    untouched = policy.SerializeToString(deterministic=True)
    merged = Policy()
    merged.CopyFrom(merge(policy, desired_grants, removals).policy)
    assert policy.SerializeToString(deterministic=True) == untouched
    del merged.bindings[:]
    del policy.bindings[:]
    assert merged == policy


@given(policies, desired_grants, removals)
def test_policy_object_is_the_same_exactly_if_nothing_changes(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    merged = merge(policy, desired_grants, removals)
    changed = sorted(entries(merged.policy)) != sorted(entries(policy))
    assert (merged.policy is policy) is not changed
    if not changed:
        assert not merged.added
        assert not merged.removed


@given(policies, desired_grants, removals)
def test_reported_changes_are_the_difference_of_the_policies(
    policy: Policy, desired_grants: list[DesiredGrant], removals: list[Removal]
) -> None:
    before = grants_in(policy, TARGET)
    merged = merge(policy, desired_grants, removals)
    after = grants_in(merged.policy, TARGET)
    assert merged.added == {desired.grant for desired in desired_grants} & (after - before)
    assert merged.removed >= {removal.grant for removal in removals} & (before - after)


@given(policies, policies, desired_grants, removals, st.randoms(use_true_random=False))
def test_merge_converges_after_an_edit_by_another_writer(
    policy: Policy,
    additions: Policy,
    desired_grants: list[DesiredGrant],
    removals: list[Removal],
    random: Random,
) -> None:
    edited = Policy()
    edited.CopyFrom(merge(policy, desired_grants, removals).policy)
    for binding in edited.bindings:
        binding.members[:] = [member for member in binding.members if random.random() < 0.5]
    edited.bindings.extend(additions.bindings)
    merged = merge(edited, desired_grants, removals)
    removable = removable_members(desired_grants, removals)
    assert {desired.grant for desired in desired_grants} <= grants_in(merged.policy, TARGET)
    assert unmanaged(merged.policy, removable, merged.added) == unmanaged(edited, removable, merged.added)
    assert merge(merged.policy, desired_grants, removals).policy is merged.policy


# Cases.


def test_members_that_differ_only_in_case_are_one_member() -> None:
    before = policy((INVOKER, [ACCOUNT.replace("checkout@", "Checkout@")]))
    assert merge(before, [DesiredGrant(invoker(ACCOUNT))]).policy is before


def test_member_is_added_to_the_first_binding_of_its_role() -> None:
    before = policy((INVOKER, ["user:a@example.com"]), (INVOKER, ["user:b@example.com"]))
    after = merge(before, [DesiredGrant(invoker(ACCOUNT))]).policy
    assert as_lists(after) == [
        (INVOKER, ["user:a@example.com", ACCOUNT]),
        (INVOKER, ["user:b@example.com"]),
    ]


def test_member_is_not_added_to_a_binding_with_another_condition() -> None:
    conditional = merge(Policy(), [DesiredGrant(Grant(TARGET, INVOKER, ACCOUNT, OFFICE_HOURS))]).policy
    after = merge(conditional, [DesiredGrant(invoker("user:a@example.com"))]).policy
    assert as_lists(after) == [(INVOKER, [ACCOUNT]), (INVOKER, ["user:a@example.com"])]
    assert after.bindings[0].condition.expression == OFFICE_HOURS.expression
    assert not after.bindings[1].HasField("condition")


def test_conditions_with_different_expressions_are_different() -> None:
    one, other = (Grant(TARGET, INVOKER, ACCOUNT, condition) for condition in CONDITIONS[1:])
    policy = merge(Policy(), [DesiredGrant(one), DesiredGrant(other)]).policy
    after = merge(policy, [], [Removal(one)]).policy
    assert grants_in(after, TARGET) == {other}


def test_removal_covers_every_binding_and_drops_emptied_ones() -> None:
    before = policy((INVOKER, [ACCOUNT]), (ROLES[1], [ACCOUNT]), (INVOKER, ["user:a@example.com", ACCOUNT]))
    merged = merge(before, [], [Removal(invoker(ACCOUNT))])
    assert as_lists(merged.policy) == [(ROLES[1], [ACCOUNT]), (INVOKER, ["user:a@example.com"])]
    assert merged.removed == {invoker(ACCOUNT)}


def test_removal_includes_the_tombstone_of_the_account() -> None:
    before = policy((INVOKER, [TOMBSTONE, f"deleted:{ACCOUNT}?uid=222"]))
    after = merge(before, [], [Removal(invoker(ACCOUNT), ("111",))]).policy
    assert as_lists(after) == [(INVOKER, [f"deleted:{ACCOUNT}?uid=222"])]


def test_desired_grant_replaces_tombstones_of_former_accounts() -> None:
    before = policy((INVOKER, [TOMBSTONE, f"deleted:{ACCOUNT}?uid=999"]), (ROLES[1], [TOMBSTONE]))
    after = merge(before, [DesiredGrant(invoker(ACCOUNT), "222", ("111",))]).policy
    assert as_lists(after) == [
        (INVOKER, [f"deleted:{ACCOUNT}?uid=999", ACCOUNT]),
        (ROLES[1], [TOMBSTONE]),
    ]


def test_grants_are_distinguished_by_role_and_condition() -> None:
    present = grants_in(policy((INVOKER, ["user:A@Example.com", TOMBSTONE])), TARGET)
    assert present == {invoker("user:a@example.com"), invoker(TOMBSTONE)}
