"""Finding what Google refuses: how many writes it takes, and what is written at the end."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.bisection import REFUSALS, PolicyUnwritable, fit, write_isolating
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Release
from tests.unit.policy.fake_policies import fault

TARGET = Target(TargetKind.PROJECT, "acme")


def desired_grant(number: int) -> DesiredGrant:
    return DesiredGrant(Grant(TARGET, "roles/run.invoker", f"user:u{number:04}@example.com"))


AS_IT_STANDS = None
"""A try without any claims of ours."""


class Policy:
    """Takes batches, all or nothing; names the first bad member or nobody. `tries` are their sizes."""

    def __init__(self, bad: set[DesiredGrant], *, names: bool = False, wrongly: str = "") -> None:
        self.bad = bad
        self.names = names
        self.wrongly = wrongly
        self.written: set[DesiredGrant] = set()
        self.present: set[Grant] = set()
        self.tries: list[int | None] = []
        self.unwritable = False
        self.owed: set[Release] = set()
        self.irremovable: set[Release] = set()

    @property
    def writes(self) -> int:
        """How many writes were tried, with those of the policy as it stands."""
        return len(self.tries)

    async def write(self, desired_grants: Sequence[DesiredGrant], released: Sequence[Release]) -> None:
        self.tries.append(len(desired_grants))
        if self.unwritable and not self.owed & set(released):
            raise fault(Fault.INVALID_ARGUMENT, "user:gone@example.com does not exist.")
        if self.irremovable & set(released):
            raise fault(Fault.FAILED_PRECONDITION, "a project needs an owner")
        bad = [each for each in desired_grants if each in self.bad]
        if bad:
            named = self.wrongly or (bad[0].grant.member.upper() if self.names else "a member")
            raise fault(Fault.INVALID_ARGUMENT, f"{named.removeprefix('USER:')} does not exist.")
        self.written.update(desired_grants)
        self.owed -= set(released)
        self.unwritable = False

    def owes(self, released: Sequence[Release]) -> bool:
        return bool(self.owed & set(released))

    async def is_writable(self) -> bool:
        self.tries.append(AS_IT_STANDS)
        return not self.unwritable


@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=5), st.booleans())
async def test_all_but_the_refused_are_written(size: int, bad: set[int], names: bool) -> None:
    desired_grants = [desired_grant(number) for number in range(size)]
    culprits = {desired_grants[number] for number in bad if number < size}
    policy = Policy(culprits, names=names)

    refused = await write_isolating(policy, desired_grants, ())

    assert policy.written == set(desired_grants) - culprits
    assert refused.keys() == {each.grant for each in culprits}


@given(st.integers(1, 1500), st.sets(st.integers(0, 1499), max_size=8))
async def test_finding_k_of_n_takes_writes_in_the_order_of_k_log_n(size: int, bad: set[int]) -> None:
    desired_grants = [desired_grant(number) for number in range(size)]
    culprits = {desired_grants[number] for number in bad if number < size}
    policy = Policy(culprits)

    await write_isolating(policy, desired_grants, ())

    # A refused batch gives two: every culprit costs at most two writes on each level of the halving. Where
    # nothing at all is taken, the policy as it stands is tried as well.
    levels = math.ceil(math.log2(size)) if size > 1 else 0
    assert policy.writes <= 2 + 2 * len(culprits) * levels


async def test_a_member_that_the_message_names_costs_two_more_writes() -> None:
    desired_grants = [desired_grant(number) for number in range(1000)]
    policy = Policy({desired_grants[500]}, names=True)

    await write_isolating(policy, desired_grants, ())

    assert policy.writes == 3


THREE_OF_500 = {desired_grant(number) for number in (7, 250, 499)}


async def test_three_named_members_of_500_cost_two_writes_each_and_one_more() -> None:
    policy = Policy(THREE_OF_500, names=True)
    refused = await write_isolating(policy, [desired_grant(number) for number in range(500)], ())
    assert refused.keys() == {each.grant for each in THREE_OF_500}
    assert len(policy.written) == 497
    assert policy.tries == [500, 499, 498, 497, 1, 1, 1]


async def test_three_unnamed_members_of_500_cost_at_most_two_writes_on_each_level_of_halving() -> None:
    policy = Policy(THREE_OF_500)
    refused = await write_isolating(policy, [desired_grant(number) for number in range(500)], ())
    assert refused.keys() == {each.grant for each in THREE_OF_500}
    assert len(policy.written) == 497
    assert policy.writes <= 2 + 2 * 3 * math.ceil(math.log2(500))


async def test_the_policy_as_it_stands_is_tried_once_before_the_first_split_that_nothing_guides() -> None:
    policy = Policy({desired_grant(5), desired_grant(6)})
    await write_isolating(policy, [desired_grant(number) for number in range(8)], ())
    assert policy.tries[:3] == [8, AS_IT_STANDS, 4]
    assert policy.tries.count(AS_IT_STANDS) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_the_policy_as_it_stands_is_not_tried_where_a_message_guides_or_for_a_second_try(
    again: bool,
) -> None:
    policy = Policy({desired_grant(5)}, names=not again)
    await write_isolating(policy, [desired_grant(number) for number in range(8)], (), again=again)
    assert AS_IT_STANDS not in policy.tries


async def test_a_policy_that_is_refused_as_it_stands_is_not_split() -> None:
    policy = Policy(set())
    policy.unwritable = True
    with pytest.raises(PolicyUnwritable):
        await write_isolating(policy, [desired_grant(number) for number in range(500)], ())
    assert policy.tries == [500, AS_IT_STANDS]


async def test_a_message_that_names_somebody_innocent_accuses_nobody() -> None:
    desired_grants = [desired_grant(number) for number in range(8)]
    policy = Policy({desired_grants[6]}, wrongly="USER:U0001@EXAMPLE.COM")

    refused = await write_isolating(policy, desired_grants, ())

    assert list(refused) == [desired_grants[6].grant]
    assert policy.written == set(desired_grants) - {desired_grants[6]}


async def test_a_member_that_is_good_under_one_role_and_bad_under_another_loses_the_bad_one_alone() -> None:
    good = desired_grant(1)
    bad = DesiredGrant(Grant(TARGET, "roles/viewer", good.grant.member))
    policy = Policy({bad}, names=True)

    assert list(await write_isolating(policy, [good, bad], ())) == [bad.grant]
    assert policy.written == {good}


async def test_nothing_to_claim_is_still_one_write() -> None:
    policy = Policy(set())
    assert await write_isolating(policy, [], ()) == {}
    assert policy.writes == 1


@pytest.mark.parametrize("kind", sorted(set(Fault) - REFUSALS))
async def test_any_other_fault_passes_through(kind: Fault) -> None:
    class Faulty(Policy):
        async def write(self, desired_grants: Sequence[DesiredGrant], released: Sequence[Release]) -> None:
            raise fault(kind)

    with pytest.raises(GoogleError) as caught:
        await write_isolating(Faulty(set()), [desired_grant(1), desired_grant(2)], ())
    assert caught.value.fault is kind


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_a_policy_that_is_refused_as_it_stands_blames_none_of_ours(size: int) -> None:
    policy = Policy(set())
    policy.unwritable = True
    policy.present = {Grant(TARGET, "roles/viewer", "user:gone@example.com")}
    with pytest.raises(PolicyUnwritable, match=r"user:gone@example\.com") as caught:
        await write_isolating(policy, [desired_grant(number) for number in range(size)], ())
    assert "\n" not in str(caught.value)


async def test_what_is_to_go_goes_along() -> None:
    class Recording(Policy):
        async def write(self, desired_grants: Sequence[DesiredGrant], released: Sequence[Release]) -> None:
            gone.append(list(released))

    gone: list[list[Release]] = []
    release = Release(desired_grant(9).grant)
    await write_isolating(Recording(set()), [desired_grant(1)], [release])
    assert gone == [[release]]


async def test_what_is_to_go_goes_though_the_claim_beside_it_is_bad() -> None:
    policy = Policy({desired_grant(1)})
    policy.owed = {Release(desired_grant(9).grant)}
    refused = await write_isolating(
        policy, [desired_grant(1), desired_grant(2)], [Release(desired_grant(9).grant)]
    )
    assert (policy.owed, policy.written, list(refused)) == (
        set(),
        {desired_grant(2)},
        [desired_grant(1).grant],
    )


async def test_a_policy_that_google_refuses_for_what_is_to_go_is_written_without_it() -> None:
    policy = Policy({desired_grant(1)})
    policy.owed = {Release(desired_grant(9).grant)}
    policy.unwritable = True
    refused = await write_isolating(
        policy, [desired_grant(1), desired_grant(2)], [Release(desired_grant(9).grant)]
    )
    assert (policy.owed, policy.written, list(refused)) == (
        set(),
        {desired_grant(2)},
        [desired_grant(1).grant],
    )


async def test_no_claim_is_blamed_for_what_google_does_not_let_go() -> None:
    policy = Policy(set())
    policy.owed = policy.irremovable = {Release(desired_grant(9).grant)}
    refused = await write_isolating(
        policy, [desired_grant(1), desired_grant(2)], [Release(desired_grant(9).grant)]
    )
    assert (policy.written, refused) == ({desired_grant(1), desired_grant(2)}, {})
    assert policy.owed == {Release(desired_grant(9).grant)}


def test_what_does_not_fit_is_left_out_the_newest_first() -> None:
    desired_grants = [desired_grant(number) for number in range(6)]
    present = {desired_grants[0].grant, desired_grants[1].grant}
    left_out = fit(desired_grants, present, newest={desired_grants[2].grant, desired_grants[3].grant}, room=2)
    assert left_out.keys() == {desired_grants[2].grant, desired_grants[3].grant}
    assert "1500" in left_out[desired_grants[2].grant].message


def test_what_takes_the_place_of_a_tombstone_fits_though_there_is_no_room() -> None:
    recreated = replace(desired_grant(1), former_ids=("41", "42"))
    present = {replace(recreated.grant, member="deleted:user:u0001@example.com?uid=41")}
    assert fit([recreated], present, {recreated.grant}, room=0) == {}


def test_what_fits_is_left_as_it_is() -> None:
    desired_grants = [desired_grant(number) for number in range(6)]
    assert fit(desired_grants, (), (), room=6) == {}
