"""Many objects on few policies: shared syncs, and the age of reused results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.ratelimit import slot_released
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

pytestmark = pytest.mark.looptime(start=1000)

TARGET, OTHER = Target(TargetKind.PROJECT, "acme"), Target(TargetKind.SERVICE, "acme", "europe-west1", "web")


def ledger_owner(number: int, uid: str = "uid") -> Owner:
    return Owner("IAMBinding", "payments", f"b{number}", f"{uid}-{number}")


def grant(number: int, target: Target = TARGET) -> Grant:
    return Grant(target, "roles/run.invoker", f"user:u{number}@example.com")


def desiring(who: Owner, *grants: Grant, upcoming: frozenset[Target] = frozenset()) -> DesiredGrants:
    return DesiredGrants(who, frozenset(map(DesiredGrant, grants)), upcoming=upcoming)


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    env.policies.create(OTHER)
    return env


@pytest.fixture
def syncers(env: SyncerEnvironment) -> PolicySyncers:
    return PolicySyncers(env.ports)


async def test_many_objects_cost_one_read_and_one_write(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    for number in range(200):
        syncers.declare(desiring(ledger_owner(number), grant(number)))
    convergences = await asyncio.gather(*(syncers.sync(ledger_owner(number)) for number in range(200)))
    assert (env.policies.reads, env.policies.sets) == (1, 1)
    assert env.journal.steps == ["ledger", "policy", "ledger"]
    assert {each.grant_results[0].state for each in convergences} == {GrantState.GRANTED}


async def test_releases_of_many_objects_cost_one_read_and_one_write(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    for number in range(50):
        env.policies.grant(grant(number))
        env.record(grant(number), ledger_owner(number))
        syncers.declare(DesiredGrants(ledger_owner(number)))
    await asyncio.gather(*(syncers.sync(ledger_owner(number)) for number in range(50)))
    assert (env.policies.reads, env.policies.sets) == (1, 1)
    assert env.policies.present(TARGET) == set()


async def test_syncs_of_one_policy_run_one_at_a_time(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    running = most = 0
    get = env.policies.get

    async def counted(target: Target) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await get(target)
        finally:
            running -= 1

    env.policies.get = counted
    env.policies.latency = 3

    async def come_late(number: int) -> None:
        await asyncio.sleep(number / 3)
        syncers.declare(desiring(ledger_owner(number), grant(number)))
        await syncers.sync(ledger_owner(number))

    await asyncio.gather(*(come_late(number) for number in range(40)))
    assert most == 1
    assert len(env.policies.present(TARGET)) == 40


async def test_policies_are_synced_concurrently(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.latency = 10
    loop = asyncio.get_running_loop()
    began = loop.time()
    syncers.declare(desiring(ledger_owner(1), grant(1), grant(1, OTHER)))
    sync_result = await syncers.sync(ledger_owner(1))
    assert len(sync_result.grant_results) == 2
    assert loop.time() - began < 25


async def test_edit_during_a_sync_waits_for_the_next_one(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.55)
    assert env.policies.reads == 1, "the sync has begun"
    syncers.declare(desiring(ledger_owner(2), grant(2)))
    sync_result = await syncers.sync(ledger_owner(2))
    assert sync_result.grant_results[0].state is GrantState.GRANTED
    assert env.policies.reads == 2
    assert (await first).grant_results[0].state is GrantState.GRANTED


async def test_declaration_within_the_batch_window_joins_the_sync(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.4)
    syncers.declare(desiring(ledger_owner(2), grant(2)))
    await syncers.sync(ledger_owner(2))
    await first
    assert (env.policies.reads, env.policies.sets) == (1, 1)


async def test_recent_sync_after_the_declaration_is_reused(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    await asyncio.sleep(100)
    await syncers.sync(ledger_owner(1), max_age=300)
    assert env.policies.reads == 1
    await syncers.sync(ledger_owner(1), max_age=50)
    assert env.policies.reads == 2
    await syncers.sync(ledger_owner(1))
    assert env.policies.reads == 3


@pytest.mark.parametrize(("max_age", "released"), [(0.0, ["released", "taken"]), (60.0, [])])
async def test_worker_slot_is_released_only_while_a_sync_is_waited_for(
    env: SyncerEnvironment, syncers: PolicySyncers, max_age: float, released: list[str]
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    steps: list[str] = []

    @asynccontextmanager
    async def release_slot() -> AsyncIterator[None]:
        steps.append("released")
        yield
        steps.append("taken")

    slot_released.set(release_slot)
    await syncers.sync(ledger_owner(1), max_age=max_age)
    assert steps == released


async def test_changed_declaration_does_not_reuse_an_older_sync(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    syncers.declare(desiring(ledger_owner(1), grant(2)))
    sync_result = await syncers.sync(ledger_owner(1), max_age=300)
    assert [grant_result.state for grant_result in sync_result.grant_results] == [GrantState.GRANTED]
    assert env.policies.present(TARGET) == {grant(2)}


async def test_sync_waits_for_upcoming_grants(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    late = ledger_owner(2)
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    syncers.declare(desiring(late, upcoming=frozenset({TARGET})))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(1.45)
    assert env.policies.reads == 0
    syncers.declare(desiring(late, grant(2)))
    await syncers.sync(late)
    await first
    assert (env.policies.reads, env.policies.sets) == (1, 1)


async def test_wait_for_upcoming_grants_is_limited(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    syncers.declare(desiring(ledger_owner(2), upcoming=frozenset({TARGET})))
    sync_result = await asyncio.wait_for(syncers.sync(ledger_owner(1)), 3)
    assert sync_result.grant_results[0].state is GrantState.GRANTED


async def test_sync_waits_while_requests_keep_arriving(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    asking = []
    for number in range(30):
        syncers.declare(desiring(ledger_owner(number), grant(number)))
        asking.append(asyncio.create_task(syncers.sync(ledger_owner(number))))
        await asyncio.sleep(0.2)
    await asyncio.gather(*asking)
    assert (env.policies.reads, env.policies.sets) == (1, 1)


async def test_wait_for_further_requests_is_limited(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    asking = []
    for number in range(100):
        syncers.declare(desiring(ledger_owner(number), grant(number)))
        asking.append(asyncio.create_task(syncers.sync(ledger_owner(number))))
        await asyncio.sleep(0.2)
        if asking[0].done():
            break
    assert 49 < len(asking) < 55, "the first request gets its result after ten seconds, with the fiftieth"
    await asyncio.gather(*asking)
    assert (env.policies.reads, env.policies.sets) == (2, 2)


async def test_object_without_grants_and_entries_reads_no_policy(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(DesiredGrants(ledger_owner(1)))
    assert (await syncers.sync(ledger_owner(1))).grant_results == ()
    assert env.policies.reads == 0


async def test_cancelled_request_does_not_cancel_the_sync(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    for number in (1, 2):
        syncers.declare(desiring(ledger_owner(number), grant(number)))
    impatient = asyncio.create_task(syncers.sync(ledger_owner(1)))
    patient = asyncio.create_task(syncers.sync(ledger_owner(2)))
    await asyncio.sleep(0.1)
    impatient.cancel()
    assert (await patient).grant_results[0].state is GrantState.GRANTED
    assert env.policies.present(TARGET) == {grant(1), grant(2)}


async def test_fault_of_one_policy_does_not_hide_results_of_another(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.drop(OTHER)
    syncers.declare(desiring(ledger_owner(1), grant(1), grant(1, OTHER)))
    sync_result = await syncers.sync(ledger_owner(1))
    states = {grant_result.grant.target: grant_result.state for grant_result in sync_result.grant_results}
    assert states == {TARGET: GrantState.GRANTED, OTHER: GrantState.PENDING}
    assert sync_result.missing == (OTHER,)


async def test_grants_of_a_predecessor_are_released(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.record(grant(1), ledger_owner(1, "former"))
    env.policies.grant(grant(1))
    env.policies.faults = [fault(Fault.UNAVAILABLE)]
    syncers.declare(DesiredGrants(ledger_owner(1)))
    sync_result = await syncers.sync(ledger_owner(1))
    assert sync_result.releasing == (grant(1),), (
        "or the successor would lose its finalizer and leak the grant"
    )


async def test_grants_of_a_forgotten_object_are_kept(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    syncers.forget(ledger_owner(1))
    await syncers.resync("acme")
    assert env.policies.present(TARGET) == {grant(1)}
    assert env.ledgers.ledger(TARGET).entries.keys() == {grant(1)}


# Syncers that are no longer needed.


def known(syncers: PolicySyncers) -> set[Target]:
    return set(syncers._syncers)


async def test_syncer_is_dropped_once_its_policy_has_no_entry(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1), grant(1, OTHER)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET, OTHER}
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}
    syncers.declare(DesiredGrants(ledger_owner(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == set()
    assert env.policies.present(TARGET) == frozenset()


async def test_syncer_is_kept_while_an_object_mentions_its_policy(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    syncers.declare(desiring(ledger_owner(2), grant(2)))
    await asyncio.gather(syncers.sync(ledger_owner(1)), syncers.sync(ledger_owner(2)))
    syncers.declare(DesiredGrants(ledger_owner(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}


async def test_syncer_is_dropped_with_its_only_object(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.drop(TARGET)
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}
    syncers.forget(ledger_owner(1))
    assert known(syncers) == set()


async def test_running_syncer_is_not_dropped(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    at_work = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.1)
    syncers.forget(ledger_owner(1))
    assert known(syncers) == {TARGET}
    await at_work
    assert known(syncers) == set()


async def test_suspended_project_is_neither_read_nor_written(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    elsewhere = Target(TargetKind.PROJECT, "suspended")
    env.suspended.add("suspended")
    env.record(grant(1, elsewhere), ledger_owner(1))
    env.record(grant(2, elsewhere), ledger_owner(1))
    syncers.declare(desiring(ledger_owner(1), grant(1, elsewhere), grant(3)))

    sync_result = await syncers.sync(ledger_owner(1))

    assert sync_result.halted == (grant(2, elsewhere),)
    assert sync_result.releasing == ()
    assert {each.grant: each.state for each in sync_result.grant_results} == {
        grant(1, elsewhere): GrantState.GRANTED,
        grant(3): GrantState.GRANTED,
    }
    assert env.ledgers.ledger(elsewhere).entries.keys() == {grant(1, elsewhere), grant(2, elsewhere)}
    assert env.policies.reads == 1, "of the other policy"


async def test_observed_project_is_not_written_before_its_objects_are_reconciled(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    env.observed.add(TARGET.project_id)
    await syncers.sync(ledger_owner(1))
    assert env.policies.present(TARGET) == frozenset()
    assert env.policies.sets == 0


async def test_observed_project_loses_no_grant(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.observed.add(TARGET.project_id)
    env.policies.grant(grant(1))
    env.record(grant(1), ledger_owner(1))
    syncers.declare(DesiredGrants(ledger_owner(1)))
    assert (await syncers.sync(ledger_owner(1))).releasing == (grant(1),), "the entry is kept"

    syncers.declare(DesiredGrants(ledger_owner(1), ending=True))
    assert (await syncers.sync(ledger_owner(1))).releasing == ()
    assert env.policies.present(TARGET) == {grant(1)}
    assert env.policies.sets == 0


async def test_desired_grants_of_a_role_are_known_before_the_ledger(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(ledger_owner(1), grant(1)))
    syncers.declare(replace(desiring(ledger_owner(2), grant(2)), writable=False))
    role = grant(1).role

    assert list(syncers.about_to_hold(role, TARGET.project_id)) == [(grant(1), str(ledger_owner(1)))]
    assert not list(syncers.about_to_hold(role, "another-project"))
    assert not list(syncers.about_to_hold("roles/other", TARGET.project_id))


async def test_results_of_an_object_are_in_the_order_of_its_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    who = ledger_owner(1)
    grants = [grant(number, target) for target in (TARGET, OTHER) for number in range(9)]
    syncers.declare(desiring(who, *grants))
    result = await syncers.sync(who)
    assert [each.grant for each in result.grant_results] == grants
    syncers.declare(DesiredGrants(who, writable=False))
    assert list((await syncers.sync(who)).releasing) == grants


async def test_drift_of_an_object_is_in_the_order_of_its_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    who = ledger_owner(1)
    grants = [grant(number) for number in range(9)]
    syncers.declare(desiring(who, *grants))
    await syncers.sync(who)
    env.policies.create(TARGET)
    assert list((await syncers.sync(who)).drifted) == grants
