from random import Random

from google.iam.v1.policy_pb2 import Binding, Policy
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import normalise
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Merged, Removal, grants_in, merge
from tests.unit.iam.strategies import (
    ACCOUNT,
    CONDITIONS,
    OFFICE_HOURS,
    ROLES,
    TARGET,
    historied_claims,
    policies,
    releases,
)

many_claims = st.lists(historied_claims, max_size=5)
many_releases = st.lists(releases, max_size=4)

INVOKER = ROLES[0]
TOMBSTONE = f"deleted:{ACCOUNT}?uid=111"


def policy(*bindings: tuple[str, list[str]]) -> Policy:
    return Policy(etag=b"etag", bindings=[Binding(role=role, members=members) for role, members in bindings])


def as_lists(policy: Policy) -> list[tuple[str, list[str]]]:
    return [(binding.role, list(binding.members)) for binding in policy.bindings]


def invoker(member: str) -> Grant:
    return Grant(TARGET, INVOKER, member)


def entries(policy: Policy) -> list[tuple[str, bytes, str]]:
    """Every member verbatim, in its order, with the role and condition it stands under."""
    return [
        (binding.role, binding.condition.SerializeToString(), member)
        for binding in policy.bindings
        for member in binding.members
    ]


def may_go(many_claims: list[DesiredGrant], many_releases: list[Removal]) -> set[tuple[str, bytes, str]]:
    """All that a merge may take away: released grants, and tombstones of accounts that were ours."""
    claimed = {desired_grant.grant for desired_grant in many_claims}
    forms = [
        (release.grant, [release.grant.member, *tombstones(release.grant, release.unique_ids)])
        for release in many_releases
        if release.grant not in claimed
    ]
    forms += [
        (desired_grant.grant, tombstones(desired_grant.grant, desired_grant.former_unique_ids))
        for desired_grant in many_claims
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


def foreign(
    policy: Policy, excepted: set[tuple[str, bytes, str]], added: frozenset[Grant]
) -> list[tuple[str, bytes, str]]:
    ours = excepted | {(grant.role, condition_bytes(grant), grant.member) for grant in added}
    return [
        (role, condition, member)
        for role, condition, member in entries(policy)
        if (role, condition, normalise(member)) not in ours
    ]


# Laws.


@given(policies, many_claims, many_releases)
def test_merging_is_idempotent_a_second_merge_finds_nothing_to_do(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    once = merge(policy, many_claims, many_releases).policy
    assert merge(once, many_claims, many_releases) == Merged(once, frozenset(), frozenset())
    assert merge(once, many_claims, many_releases).policy is once


@given(policies, many_claims, many_releases, st.randoms())
def test_claimants_commute_the_order_of_claims_and_releases_does_not_matter(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal], random: Random
) -> None:
    shuffled_claims, shuffled_releases = list(many_claims), list(many_releases)
    random.shuffle(shuffled_claims)
    random.shuffle(shuffled_releases)
    one = merge(policy, many_claims, many_releases)
    other = merge(policy, shuffled_claims, shuffled_releases)
    assert sorted(entries(one.policy)) == sorted(entries(other.policy))
    assert (one.added, one.removed) == (other.added, other.removed)


@given(policies, many_claims, many_releases)
def test_every_claim_stands_and_no_release_does_unless_it_is_claimed(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    claimed = {desired_grant.grant for desired_grant in many_claims}
    released = {release.grant for release in many_releases}
    present = grants_in(merge(policy, many_claims, many_releases).policy, TARGET)
    assert claimed <= present
    assert not present & (released - claimed)


@given(policies, many_claims, many_releases)
def test_foreign_members_and_conditions_survive_verbatim_and_in_order(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    merged = merge(policy, many_claims, many_releases)
    excepted = may_go(many_claims, many_releases)
    assert foreign(merged.policy, excepted, merged.added) == foreign(policy, excepted, merged.added)


@given(policies, many_claims, many_releases)
def test_everything_but_the_bindings_survives_byte_for_byte(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    untouched = policy.SerializeToString(deterministic=True)
    merged = Policy()
    merged.CopyFrom(merge(policy, many_claims, many_releases).policy)
    assert policy.SerializeToString(deterministic=True) == untouched
    del merged.bindings[:]
    del policy.bindings[:]
    assert merged == policy


@given(policies, many_claims, many_releases)
def test_a_merge_that_reports_no_effect_is_the_same_object_and_the_other_way_round(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    merged = merge(policy, many_claims, many_releases)
    changed = sorted(entries(merged.policy)) != sorted(entries(policy))
    assert (merged.policy is policy) is not changed
    if not changed:
        assert not merged.added
        assert not merged.removed


@given(policies, many_claims, many_releases)
def test_what_is_reported_as_added_or_removed_is_the_difference(
    policy: Policy, many_claims: list[DesiredGrant], many_releases: list[Removal]
) -> None:
    before = grants_in(policy, TARGET)
    merged = merge(policy, many_claims, many_releases)
    after = grants_in(merged.policy, TARGET)
    assert merged.added == {desired_grant.grant for desired_grant in many_claims} & (after - before)
    assert merged.removed >= {release.grant for release in many_releases} & (before - after)


@given(policies, policies, many_claims, many_releases, st.randoms(use_true_random=False))
def test_a_merge_converges_after_any_foreign_edit(
    policy: Policy,
    additions: Policy,
    many_claims: list[DesiredGrant],
    many_releases: list[Removal],
    somebody: Random,
) -> None:
    edited = Policy()
    edited.CopyFrom(merge(policy, many_claims, many_releases).policy)
    for binding in edited.bindings:
        binding.members[:] = [member for member in binding.members if somebody.random() < 0.5]
    edited.bindings.extend(additions.bindings)
    merged = merge(edited, many_claims, many_releases)
    excepted = may_go(many_claims, many_releases)
    assert {desired_grant.grant for desired_grant in many_claims} <= grants_in(merged.policy, TARGET)
    assert foreign(merged.policy, excepted, merged.added) == foreign(edited, excepted, merged.added)
    assert merge(merged.policy, many_claims, many_releases).policy is merged.policy


# Cases.


def test_a_member_that_differs_in_case_alone_is_the_same_member() -> None:
    before = policy((INVOKER, [ACCOUNT.replace("checkout@", "Checkout@")]))
    assert merge(before, [DesiredGrant(invoker(ACCOUNT))]).policy is before


def test_a_claim_joins_the_first_binding_of_its_role() -> None:
    before = policy((INVOKER, ["user:a@example.com"]), (INVOKER, ["user:b@example.com"]))
    after = merge(before, [DesiredGrant(invoker(ACCOUNT))]).policy
    assert as_lists(after) == [
        (INVOKER, ["user:a@example.com", ACCOUNT]),
        (INVOKER, ["user:b@example.com"]),
    ]


def test_a_claim_does_not_join_a_binding_with_another_condition() -> None:
    conditional = merge(Policy(), [DesiredGrant(Grant(TARGET, INVOKER, ACCOUNT, OFFICE_HOURS))]).policy
    after = merge(conditional, [DesiredGrant(invoker("user:a@example.com"))]).policy
    assert as_lists(after) == [(INVOKER, [ACCOUNT]), (INVOKER, ["user:a@example.com"])]
    assert after.bindings[0].condition.expression == OFFICE_HOURS.expression
    assert not after.bindings[1].HasField("condition")


def test_conditions_that_differ_in_their_expression_alone_are_different() -> None:
    one, other = (Grant(TARGET, INVOKER, ACCOUNT, condition) for condition in CONDITIONS[1:])
    policy = merge(Policy(), [DesiredGrant(one), DesiredGrant(other)]).policy
    after = merge(policy, [], [Removal(one)]).policy
    assert grants_in(after, TARGET) == {other}


def test_a_release_takes_the_member_out_of_every_binding_and_drops_those_it_empties() -> None:
    before = policy((INVOKER, [ACCOUNT]), (ROLES[1], [ACCOUNT]), (INVOKER, ["user:a@example.com", ACCOUNT]))
    merged = merge(before, [], [Removal(invoker(ACCOUNT))])
    assert as_lists(merged.policy) == [(ROLES[1], [ACCOUNT]), (INVOKER, ["user:a@example.com"])]
    assert merged.removed == {invoker(ACCOUNT)}


def test_a_release_takes_the_tombstone_of_the_very_account_along() -> None:
    before = policy((INVOKER, [TOMBSTONE, f"deleted:{ACCOUNT}?uid=222"]))
    after = merge(before, [], [Removal(invoker(ACCOUNT), ("111",))]).policy
    assert as_lists(after) == [(INVOKER, [f"deleted:{ACCOUNT}?uid=222"])]


def test_a_claim_replaces_the_tombstones_of_former_accounts_of_its_own() -> None:
    before = policy((INVOKER, [TOMBSTONE, f"deleted:{ACCOUNT}?uid=999"]), (ROLES[1], [TOMBSTONE]))
    after = merge(before, [DesiredGrant(invoker(ACCOUNT), "222", ("111",))]).policy
    assert as_lists(after) == [
        (INVOKER, [f"deleted:{ACCOUNT}?uid=999", ACCOUNT]),
        (ROLES[1], [TOMBSTONE]),
    ]


def test_present_tells_members_by_role_and_condition() -> None:
    present = grants_in(policy((INVOKER, ["user:A@Example.com", TOMBSTONE])), TARGET)
    assert present == {invoker("user:a@example.com"), invoker(TOMBSTONE)}
