"""Writes of one policy against other writers and lost replies, and the grants that they added."""

import asyncio
import random
from contextlib import suppress

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.desired_grants import DesiredGrant
from cloudrun_identity.policy.merge import Removal, grants_in, merge
from cloudrun_identity.policy.writer import PolicyWriter
from tests.unit.policy.fake_policies import FakePolicies, fault, unsent

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
ATTEMPTS = 4
ANN, BOB, EVE = (
    Grant(TARGET, "roles/run.invoker", f"user:{name}@acme.example") for name in ("ann", "bob", "eve")
)


@pytest.fixture
def policies() -> FakePolicies:
    policies = FakePolicies()
    policies.create(TARGET)
    return policies


async def reading(policies: FakePolicies) -> PolicyWriter:
    writer = PolicyWriter(TARGET, policies, ATTEMPTS)
    await writer.read()
    return writer


def lost() -> None:
    raise fault(Fault.UNAVAILABLE)


async def test_present_grants_are_read_from_the_reply(policies: FakePolicies) -> None:
    policies.grant(EVE)
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN), DesiredGrant(BOB)], ())
    assert writer.present == {ANN, BOB, EVE}
    assert writer.added == {ANN, BOB}
    assert (writer.usage.principals, writer.writes, policies.reads) == (3, 1, 1)


async def test_equal_policy_is_not_written(policies: FakePolicies) -> None:
    policies.grant(ANN)
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], [Removal(BOB)])
    assert (writer.writes, writer.added, policies.sets) == (0, set(), 0)


async def test_removal_is_contained_until_it_is_written(policies: FakePolicies) -> None:
    policies.grant(ANN)
    writer = await reading(policies)
    assert writer.contains_any([Removal(ANN)])
    await writer.write((), [Removal(ANN)])
    assert not writer.contains_any([Removal(ANN)])


async def test_member_listed_twice_counts_twice(policies: FakePolicies) -> None:
    policies.grant(ANN)
    policies.grant(ANN, "user:Ann@acme.example")
    writer = await reading(policies)
    assert writer.usage.principals == 2
    assert writer.present == {ANN}


async def test_conflicting_write_is_merged_into_the_new_policy(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(EVE)]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert policies.present(TARGET) == {ANN, EVE}
    assert (writer.added, writer.writes) == ({ANN}, 1)


async def test_grant_made_by_the_other_writer_is_not_added(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(ANN)]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert writer.present == {ANN}
    assert (writer.added, writer.writes, policies.sets) == (set(), 0, 1)


async def test_attempts_against_other_writers_are_limited(policies: FakePolicies) -> None:
    policies.before_set = [lambda: policies.grant(EVE)] * 100
    writer = await reading(policies)
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is Fault.ABORTED
    assert policies.sets == ATTEMPTS
    assert ANN not in policies.present(TARGET)


async def test_write_with_a_lost_reply_is_made_once_and_counted(policies: FakePolicies) -> None:
    policies.after_set = [lost]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert (writer.added, writer.writes, policies.sets) == ({ANN}, 1, 1)
    assert writer.present == {ANN}


async def test_grant_by_another_writer_before_an_unsent_write_is_kept(
    policies: FakePolicies,
) -> None:
    def overtaken() -> None:
        policies.grant(ANN)
        raise unsent()

    policies.before_set = [overtaken]
    writer = await reading(policies)
    with pytest.raises(GoogleError):
        await writer.write([DesiredGrant(ANN)], ())
    assert (writer.added, writer.writes, policies.sets) == (set(), 0, 1)


async def test_only_provable_grants_count_as_added_after_a_lost_reply(policies: FakePolicies) -> None:
    def lost_and_undone() -> None:
        policies.revoke(BOB)
        lost()

    policies.after_set = [lost_and_undone]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN), DesiredGrant(BOB)], ())
    assert writer.present == {ANN, BOB}
    assert writer.added == {BOB}, "another writer may have made the grant that was present after the conflict"
    assert policies.sets == 2


async def test_write_that_did_not_arrive_is_retried(policies: FakePolicies) -> None:
    policies.before_set = [lost]
    writer = await reading(policies)
    await writer.write([DesiredGrant(ANN)], ())
    assert writer.present == {ANN}
    assert (writer.writes, policies.sets) == (1, 2)


async def test_writes_with_lost_replies_are_limited(policies: FakePolicies) -> None:
    policies.before_set = [lost] * 100
    writer = await reading(policies)
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is Fault.UNAVAILABLE
    assert policies.sets == ATTEMPTS


@pytest.mark.parametrize("kind", sorted(set(Fault) - {Fault.ABORTED, Fault.UNAVAILABLE}))
async def test_other_fault_is_not_retried(policies: FakePolicies, kind: Fault) -> None:
    writer = await reading(policies)
    policies.faults = [fault(kind)]
    with pytest.raises(GoogleError) as caught:
        await writer.write([DesiredGrant(ANN)], ())
    assert caught.value.fault is kind
    assert policies.sets == 1


async def test_policy_accepted_without_a_change_is_writable(policies: FakePolicies) -> None:
    policies.grant(EVE)
    writer = await reading(policies)
    assert await writer.is_writable()
    assert policies.present(TARGET) == {EVE}
    assert (writer.writes, writer.added) == (1, set())
    await writer.write([DesiredGrant(ANN)], ())
    assert policies.sets == 2, "the next write uses the etag of the reply"


@pytest.mark.parametrize("kind", [Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION])
async def test_policy_refused_without_a_change_is_not_writable(policies: FakePolicies, kind: Fault) -> None:
    policies.grant(EVE)
    policies.refused, policies.refusal = {EVE.member}, kind
    writer = await reading(policies)
    assert not await writer.is_writable()
    assert writer.writes == 0


async def test_policy_is_writable_after_a_conflict(policies: FakePolicies) -> None:
    writer = await reading(policies)
    policies.grant(EVE)
    assert await writer.is_writable()
    assert writer.writes == 0


async def test_other_fault_of_the_writability_test_is_raised(policies: FakePolicies) -> None:
    writer = await reading(policies)
    policies.faults = [fault(Fault.PERMISSION_DENIED)]
    with pytest.raises(GoogleError):
        await writer.is_writable()


# Other writers that never stop.


class SlowPolicies(FakePolicies):
    """Policies as slow as recorded ones, which check the etag at the end of a call. Counts conflicts."""

    def __init__(self) -> None:
        super().__init__(latency=0.176)
        self.create(TARGET)
        self.conflicts = 0

    async def set(self, target: Target, policy: Policy) -> Policy:
        try:
            await asyncio.sleep(0.786 - self.latency)
            return await super().set(target, policy)
        except GoogleError:
            self.conflicts += 1
            raise


async def write_about_once_a_second(policies: SlowPolicies, number: int) -> None:
    """Write about once a second, without a retry after a conflict."""
    grant = Grant(TARGET, "roles/viewer", f"user:other-{number}@acme.example")
    await asyncio.sleep(number / 10)
    while True:
        policy = await policies.get(TARGET)
        is_present = grant in grants_in(policy, TARGET)
        merged = merge(
            policy, () if is_present else [DesiredGrant(grant)], [Removal(grant)] if is_present else ()
        )
        await asyncio.sleep(0.786 - policies.latency)
        with suppress(GoogleError):
            await FakePolicies.set(policies, TARGET, merged.policy)
        await asyncio.sleep(random.uniform(0, 0.1))


@pytest.mark.parametrize(("others", "most_conflicts"), [(0, 0.0), (1, 1.5), (10, 3.0)])
async def test_busy_policy_costs_few_conflicting_writes(others: int, most_conflicts: float) -> None:
    random.seed(4)
    policies = SlowPolicies()
    writing = [asyncio.create_task(write_about_once_a_second(policies, number)) for number in range(others)]
    await asyncio.sleep(3)
    syncs = 12
    for number in range(syncs):
        writer = PolicyWriter(TARGET, policies, attempts=8)
        await writer.read()
        await writer.write(
            [DesiredGrant(Grant(TARGET, "roles/run.invoker", f"user:{number}@acme.example"))], ()
        )
    for task in writing:
        task.cancel()
    assert policies.conflicts / syncs <= most_conflicts
