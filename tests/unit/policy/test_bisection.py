"""Bisection of refused grants: the number of writes, and the policy at the end."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.bisection import REFUSALS, PolicyUnwritable, write_with_bisection
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Removal
from tests.unit.policy.fake_policies import fault

TARGET = Target(TargetKind.PROJECT, "acme")


def desired(number: int) -> DesiredGrant:
    return DesiredGrant(Grant(TARGET, "roles/run.invoker", f"user:u{number:04}@example.com"))


UNCHANGED = None
"""An attempt to write the policy without a change."""


class Policy:
    """A policy that accepts a batch as a whole or refuses it, and may name the first invalid member.

    `attempts` has the size of each batch.
    """

    def __init__(self, bad: set[DesiredGrant], *, names: bool = False, wrongly: str = "") -> None:
        self.bad = bad
        self.names = names
        self.wrongly = wrongly
        self.written: set[DesiredGrant] = set()
        self.present: set[Grant] = set()
        self.attempts: list[int | None] = []
        self.unwritable = False
        self.unremoved: set[Removal] = set()
        self.irremovable: set[Removal] = set()

    @property
    def writes(self) -> int:
        """The attempted writes, including those without a change."""
        return len(self.attempts)

    async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
        self.attempts.append(len(desired_grants))
        if self.unwritable and not self.unremoved & set(removals):
            raise fault(Fault.INVALID_ARGUMENT, "user:deleted@example.com does not exist.")
        if self.irremovable & set(removals):
            raise fault(Fault.FAILED_PRECONDITION, "a project needs an owner")
        bad = [each for each in desired_grants if each in self.bad]
        if bad:
            named = self.wrongly or (bad[0].grant.member.upper() if self.names else "a member")
            raise fault(Fault.INVALID_ARGUMENT, f"{named.removeprefix('USER:')} does not exist.")
        self.written.update(desired_grants)
        self.unremoved -= set(removals)
        self.unwritable = False

    def contains_any(self, removals: Sequence[Removal]) -> bool:
        return bool(self.unremoved & set(removals))

    async def is_writable(self) -> bool:
        self.attempts.append(UNCHANGED)
        return not self.unwritable


@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=5), st.booleans())
async def test_all_grants_but_the_refused_are_written(size: int, bad: set[int], names: bool) -> None:
    desired_grants = [desired(number) for number in range(size)]
    refusable = {desired_grants[number] for number in bad if number < size}
    policy = Policy(refusable, names=names)

    refused = await write_with_bisection(policy, desired_grants, ())

    assert policy.written == set(desired_grants) - refusable
    assert refused.keys() == {each.grant for each in refusable}


@given(st.integers(1, 1500), st.sets(st.integers(0, 1499), max_size=8))
async def test_finding_k_refused_of_n_takes_k_log_n_writes(size: int, bad: set[int]) -> None:
    desired_grants = [desired(number) for number in range(size)]
    refusable = {desired_grants[number] for number in bad if number < size}
    policy = Policy(refusable)

    await write_with_bisection(policy, desired_grants, ())

    # A refused batch gives two. So each refused grant costs at most two writes on each level of bisection. If
    # no grant is accepted, the unchanged policy is tested as well.
    levels = math.ceil(math.log2(size)) if size > 1 else 0
    assert policy.writes <= 2 + 2 * len(refusable) * levels


async def test_named_member_costs_two_more_writes() -> None:
    desired_grants = [desired(number) for number in range(1000)]
    policy = Policy({desired_grants[500]}, names=True)

    await write_with_bisection(policy, desired_grants, ())

    assert policy.writes == 3


THREE_OF_500 = {desired(number) for number in (7, 250, 499)}


async def test_three_named_members_of_500_cost_seven_writes() -> None:
    policy = Policy(THREE_OF_500, names=True)
    refused = await write_with_bisection(policy, [desired(number) for number in range(500)], ())
    assert refused.keys() == {each.grant for each in THREE_OF_500}
    assert len(policy.written) == 497
    assert policy.attempts == [500, 499, 498, 497, 1, 1, 1]


async def test_three_unnamed_members_of_500_cost_two_writes_per_level() -> None:
    policy = Policy(THREE_OF_500)
    refused = await write_with_bisection(policy, [desired(number) for number in range(500)], ())
    assert refused.keys() == {each.grant for each in THREE_OF_500}
    assert len(policy.written) == 497
    assert policy.writes <= 2 + 2 * 3 * math.ceil(math.log2(500))


async def test_unchanged_policy_is_tested_once_before_an_unguided_split() -> None:
    policy = Policy({desired(5), desired(6)})
    await write_with_bisection(policy, [desired(number) for number in range(8)], ())
    assert policy.attempts[:3] == [8, UNCHANGED, 4]
    assert policy.attempts.count(UNCHANGED) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_unchanged_policy_is_not_tested_for_named_members_or_retries(
    again: bool,
) -> None:
    policy = Policy({desired(5)}, names=not again)
    await write_with_bisection(policy, [desired(number) for number in range(8)], (), retry=again)
    assert UNCHANGED not in policy.attempts


async def test_batch_is_not_split_if_the_unchanged_policy_is_refused() -> None:
    policy = Policy(set())
    policy.unwritable = True
    with pytest.raises(PolicyUnwritable):
        await write_with_bisection(policy, [desired(number) for number in range(500)], ())
    assert policy.attempts == [500, UNCHANGED]


async def test_message_with_an_accepted_member_refuses_no_grant() -> None:
    desired_grants = [desired(number) for number in range(8)]
    policy = Policy({desired_grants[6]}, wrongly="USER:U0001@EXAMPLE.COM")

    refused = await write_with_bisection(policy, desired_grants, ())

    assert list(refused) == [desired_grants[6].grant]
    assert policy.written == set(desired_grants) - {desired_grants[6]}


async def test_member_is_refused_for_one_role_and_granted_another() -> None:
    good = desired(1)
    bad = DesiredGrant(Grant(TARGET, "roles/viewer", good.grant.member))
    policy = Policy({bad}, names=True)

    assert list(await write_with_bisection(policy, [good, bad], ())) == [bad.grant]
    assert policy.written == {good}


async def test_empty_batch_is_written_once() -> None:
    policy = Policy(set())
    assert await write_with_bisection(policy, [], ()) == {}
    assert policy.writes == 1


@pytest.mark.parametrize("kind", sorted(set(Fault) - REFUSALS))
async def test_fault_that_is_no_refusal_is_raised(kind: Fault) -> None:
    class Faulty(Policy):
        async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
            raise fault(kind)

    with pytest.raises(GoogleError) as caught:
        await write_with_bisection(Faulty(set()), [desired(1), desired(2)], ())
    assert caught.value.fault is kind


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_refused_unchanged_policy_refuses_no_desired_grant(size: int) -> None:
    policy = Policy(set())
    policy.unwritable = True
    policy.present = {Grant(TARGET, "roles/viewer", "user:deleted@example.com")}
    with pytest.raises(PolicyUnwritable, match=r"user:deleted@example\.com") as caught:
        await write_with_bisection(policy, [desired(number) for number in range(size)], ())
    assert "\n" not in str(caught.value)


async def test_removals_are_written_with_the_batch() -> None:
    class Recording(Policy):
        async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
            writes_with_removals.append(list(removals))

    writes_with_removals: list[list[Removal]] = []
    release = Removal(desired(9).grant)
    await write_with_bisection(Recording(set()), [desired(1)], [release])
    assert writes_with_removals == [[release]]


async def test_removals_are_written_beside_a_refused_grant() -> None:
    policy = Policy({desired(1)})
    policy.unremoved = {Removal(desired(9).grant)}
    refused = await write_with_bisection(policy, [desired(1), desired(2)], [Removal(desired(9).grant)])
    assert (policy.unremoved, policy.written, list(refused)) == (
        set(),
        {desired(2)},
        [desired(1).grant],
    )


async def test_refused_removals_do_not_block_the_batch() -> None:
    policy = Policy({desired(1)})
    policy.unremoved = {Removal(desired(9).grant)}
    policy.unwritable = True
    refused = await write_with_bisection(policy, [desired(1), desired(2)], [Removal(desired(9).grant)])
    assert (policy.unremoved, policy.written, list(refused)) == (
        set(),
        {desired(2)},
        [desired(1).grant],
    )


async def test_refused_removal_refuses_no_desired_grant() -> None:
    policy = Policy(set())
    policy.unremoved = policy.irremovable = {Removal(desired(9).grant)}
    refused = await write_with_bisection(policy, [desired(1), desired(2)], [Removal(desired(9).grant)])
    assert (policy.written, refused) == ({desired(1), desired(2)}, {})
    assert policy.unremoved == {Removal(desired(9).grant)}


class LimitedPolicy(Policy):
    """A policy that accepts a number of grants, and says by how much a batch exceeds it."""

    def __init__(self, limit: int) -> None:
        super().__init__(set())
        self.limit = limit

    async def write(self, desired_grants: Sequence[DesiredGrant], removals: Sequence[Removal]) -> None:
        total = len(self.present | {each.grant for each in desired_grants})
        if total > self.limit:
            self.attempts.append(len(desired_grants))
            raise fault(
                Fault.INVALID_ARGUMENT,
                f"The number of members in the policy ({total:,}) is larger than the maximum allowed size "
                f"{self.limit:,}.",
            )
        await super().write(desired_grants, removals)
        self.present |= {each.grant for each in desired_grants}


@pytest.mark.parametrize(("limit", "grants"), [(1000, 1003), (1000, 1001), (2, 40), (0, 3)])
async def test_grants_beyond_a_stated_limit_cost_one_refused_write(limit: int, grants: int) -> None:
    policy = LimitedPolicy(limit)
    wanted = [desired(number) for number in range(grants)]
    refused = await write_with_bisection(policy, wanted, ())
    assert list(refused) == [each.grant for each in wanted[limit:]]
    assert policy.attempts == ([grants, limit] if limit else [grants])


async def test_present_grants_are_not_refused_for_a_stated_limit() -> None:
    policy = LimitedPolicy(2)
    wanted = [desired(number) for number in range(3)]
    await policy.write(wanted[1:], ())
    assert set(await write_with_bisection(policy, wanted, ())) == {wanted[0].grant}
