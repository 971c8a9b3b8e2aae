"""Reads and writes of policies while many objects arrive, return after a restart, or are deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.ratelimit import (
    Api,
    BucketKey,
    CallKind,
    Priority,
    Rate,
    RateLimiter,
    Reservation,
    call_priority,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fakes import SyncerEnvironment

pytestmark = pytest.mark.looptime(start=1000)

POLICIES = 25
RATE = Rate(per_minute=30, burst=15)
"""A quarter of the rate of production, for a quarter of the policies."""
TARGETS = [Target(TargetKind.PROJECT, f"acme-{number:03}") for number in range(POLICIES)]
WRITES = BucketKey(Api.RESOURCE_MANAGER, CallKind.WRITE)


class Budget:
    """A rate limit for writes of project policies."""

    def __init__(self, env: SyncerEnvironment) -> None:
        self._limiter = RateLimiter({(WRITES.api, WRITES.kind): RATE})
        self._set = env.policies.set
        env.policies.set = self._limited_set

    async def _limited_set(self, target: Target, policy: Policy) -> Policy:
        await self._limiter.acquire(WRITES, call_priority.get())
        return await self._set(target, policy)

    @asynccontextmanager
    async def reserve(self, target: Target) -> AsyncIterator[Reservation]:
        async with self._limiter.reserved(WRITES, call_priority.get(), target) as reservation:
            yield reservation

    def spacing(self, target: Target) -> tuple[float, bool]:
        return self._limiter.spacing(WRITES), self._limiter.is_low(WRITES)


def owner(number: int) -> Owner:
    return Owner("IAMBinding", "payments", f"b{number}", f"uid-{number}")


def grant(number: int) -> Grant:
    return Grant(TARGETS[number % POLICIES], "roles/viewer", f"user:u{number}@example.com")


def desired(number: int) -> DesiredGrants:
    return DesiredGrants(owner(number), frozenset({DesiredGrant(grant(number))}))


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    for target in TARGETS:
        env.policies.create(target)
    return env


@pytest.fixture
def syncers(env: SyncerEnvironment) -> PolicySyncers:
    env.policies.latency = 0.5
    return PolicySyncers(replace(env.ports, write_budget=Budget(env)))


async def apply(syncers: PolicySyncers, number: int, *, after: float = 0.0, max_age: float = 0.0) -> float:
    """Declare an object after some seconds, and return the seconds until its grant is present."""
    await asyncio.sleep(after)
    began = asyncio.get_running_loop().time()
    syncers.declare(desired(number))
    result = await syncers.sync(owner(number), max_age=max_age)
    assert [each.state for each in result.grant_results] == [GrantState.GRANTED]
    return asyncio.get_running_loop().time() - began


async def test_bulk_arrival_shares_writes_and_leaves_room_for_single_edits(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    count, edited = 20 * POLICIES, POLICIES - 1
    bulk = [
        asyncio.create_task(apply(syncers, number, after=120 * number / count))
        for number in range(count)
        if number % POLICIES != edited
    ]
    assert await apply(syncers, edited, after=100) < 3, "a single edit of another policy"
    waits = await asyncio.gather(*bulk)
    assert env.policies.sets <= 3 * POLICIES
    assert env.policies.reads <= 3 * POLICIES
    assert max(waits) < 90


async def test_sparse_requests_leave_room_for_single_edits(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    count, edited = 9 * POLICIES, POLICIES - 1  # more requests than the rate admits, far apart on each policy
    bulk = [
        asyncio.create_task(apply(syncers, number, after=180 * number / count))
        for number in range(count)
        if number % POLICIES != edited
    ]
    assert await apply(syncers, edited, after=150) < 5
    assert max(await asyncio.gather(*bulk)) < 90


async def test_edit_raises_the_priority_of_a_sync_that_waits_for_a_write(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    async def resync(number: int) -> None:
        call_priority.set(Priority.RESYNC)
        await apply(syncers, number, after=number / 100)  # one after the other

    await asyncio.gather(*(apply(syncers, number) for number in range(RATE.burst)))
    resyncs = [asyncio.create_task(resync(number)) for number in range(RATE.burst, POLICIES)]
    await asyncio.sleep(3)
    assert await apply(syncers, POLICIES - 1 + POLICIES) < 6, "the policy is the last one that waits"
    await asyncio.gather(*resyncs)
    assert env.policies.sets == POLICIES, "requests for one policy share a write"


async def test_single_edits_of_a_policy_are_not_paced(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    for number in range(5):
        assert await apply(syncers, number * POLICIES) < 3
    assert env.policies.sets == 5


async def test_restart_in_sync_reads_each_policy_once(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    policies, each = 10, 8
    numbers = [policy + POLICIES * number for number in range(each) for policy in range(policies)]
    for number in numbers:
        env.policies.grant(grant(number))
        env.record(grant(number), owner(number))
    syncers.expect(map(owner, numbers))
    await asyncio.gather(
        *(apply(syncers, number, after=0.5 * at, max_age=300) for at, number in enumerate(numbers))
    )
    assert (env.policies.reads, env.policies.sets) == (policies, 0)
    assert env.journal.steps == []


async def test_restart_repairs_a_grant_that_was_lost_meanwhile(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.grant(grant(0))
    for number in (0, POLICIES):  # both on one policy
        env.record(grant(number), owner(number))
    syncers.expect([owner(0), owner(POLICIES)])
    await asyncio.gather(apply(syncers, 0, max_age=300), apply(syncers, POLICIES, after=10, max_age=300))
    assert env.policies.present(TARGETS[0]) == {grant(0), grant(POLICIES)}


async def test_restart_releases_what_an_edit_no_longer_declares(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    for number in (0, POLICIES):
        env.policies.grant(grant(number))
        env.record(grant(number), owner(0))
    syncers.expect([owner(0)])
    await apply(syncers, 0, max_age=300)
    assert env.policies.present(TARGETS[0]) == {grant(0)}


async def test_deletions_that_are_handled_slowly_share_one_write(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    owners = [owner(number * POLICIES) for number in range(20)]  # all on one policy
    for number, each in enumerate(owners):
        env.policies.grant(grant(number * POLICIES))
        env.record(grant(number * POLICIES), each)
        syncers.declare(desired(number * POLICIES))
    for each in owners:
        syncers.expect_release(each)

    async def delete(each: Owner, after: float) -> None:
        await asyncio.sleep(after)
        syncers.declare(DesiredGrants(each, ending=True))
        await syncers.sync(each)

    await asyncio.gather(*(delete(each, 0.4 * number) for number, each in enumerate(owners)))
    assert (env.policies.reads, env.policies.sets) == (1, 1)
    assert env.policies.present(TARGETS[0]) == set()


async def test_sync_waits_no_longer_for_a_release_that_cannot_begin(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desired(0))
    syncers.expect_release(owner(0))
    syncers.end_upcoming_release(owner(0))
    assert await apply(syncers, POLICIES) < 2


async def test_sync_waits_for_no_release_on_another_policy(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desired(1))
    syncers.expect_release(owner(1))
    assert await apply(syncers, 0) < 2
    assert await apply(syncers, POLICIES) < 2


async def test_sync_waits_for_an_upcoming_release_for_a_limited_time(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desired(0))
    syncers.expect_release(owner(0))
    assert await apply(syncers, POLICIES) < SyncerSettings().max_wait + 2
