"""Finding what Google refuses: how many writes it takes, and what is written at the end."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.isolation import write_isolating
from cloudrun_identity.iam.claims import Claim
from cloudrun_identity.iam.grants import Grant, Target

from .fakes import fault

TARGET = Target(TargetKind.PROJECT, "acme")


def claim(number: int) -> Claim:
    return Claim(Grant(TARGET, "roles/run.invoker", f"user:u{number:04}@example.com"))


class Policy:
    """Takes batches, all or nothing; names the first bad member or nobody."""

    def __init__(self, bad: set[Claim], *, names: bool = False, wrongly: str = "") -> None:
        self.bad = bad
        self.names = names
        self.wrongly = wrongly
        self.written: set[Claim] = set()
        self.writes = 0

    async def write(self, batch: Sequence[Claim]) -> None:
        self.writes += 1
        bad = [each for each in batch if each in self.bad]
        if bad:
            named = self.wrongly or (bad[0].grant.member.upper() if self.names else "a member")
            raise fault(Fault.INVALID_ARGUMENT, f"{named.removeprefix('USER:')} does not exist.")
        self.written.update(batch)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.sets(st.integers(0, 199), max_size=5), st.booleans())
async def test_all_but_the_refused_are_written(size: int, bad: set[int], names: bool) -> None:
    claims = [claim(number) for number in range(size)]
    culprits = {claims[number] for number in bad if number < size}
    policy = Policy(culprits, names=names)

    refused = await write_isolating(policy.write, claims)

    assert policy.written == set(claims) - culprits
    assert refused.keys() == {each.grant for each in culprits}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1500), st.sets(st.integers(0, 1499), max_size=8))
async def test_finding_k_of_n_takes_writes_in_the_order_of_k_log_n(size: int, bad: set[int]) -> None:
    claims = [claim(number) for number in range(size)]
    culprits = {claims[number] for number in bad if number < size}
    policy = Policy(culprits)

    await write_isolating(policy.write, claims)

    # A refused batch gives two: every culprit costs at most two writes on each level of the halving.
    levels = math.ceil(math.log2(size)) if size > 1 else 0
    assert policy.writes <= 1 + 2 * len(culprits) * levels


async def test_a_member_that_the_message_names_costs_two_more_writes() -> None:
    claims = [claim(number) for number in range(1000)]
    policy = Policy({claims[500]}, names=True)

    await write_isolating(policy.write, claims)

    assert policy.writes == 3


async def test_a_message_that_names_somebody_innocent_accuses_nobody() -> None:
    claims = [claim(number) for number in range(8)]
    policy = Policy({claims[6]}, wrongly="USER:U0001@EXAMPLE.COM")

    refused = await write_isolating(policy.write, claims)

    assert list(refused) == [claims[6].grant]
    assert policy.written == set(claims) - {claims[6]}


async def test_a_member_that_is_good_under_one_role_and_bad_under_another_loses_the_bad_one_alone() -> None:
    good = claim(1)
    bad = Claim(Grant(TARGET, "roles/viewer", good.grant.member))
    policy = Policy({bad}, names=True)

    assert list(await write_isolating(policy.write, [good, bad])) == [bad.grant]
    assert policy.written == {good}


async def test_nothing_to_claim_is_still_one_write() -> None:
    policy = Policy(set())
    assert await write_isolating(policy.write, []) == {}
    assert policy.writes == 1


@pytest.mark.parametrize("kind", set(Fault) - {Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION})
async def test_any_other_fault_passes_through(kind: Fault) -> None:
    async def write(batch: Sequence[Claim]) -> None:
        raise fault(kind)

    with pytest.raises(GoogleError) as caught:
        await write_isolating(write, [claim(1), claim(2)])
    assert caught.value.fault is kind


async def test_a_policy_that_is_refused_without_any_claim_blames_nobody() -> None:
    async def write(batch: Sequence[Claim]) -> None:
        raise fault(Fault.INVALID_ARGUMENT)

    with pytest.raises(GoogleError):
        await write_isolating(write, [])
