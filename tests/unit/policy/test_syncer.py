"""Requests to a policy syncer and their results."""

import asyncio

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import ANN, WEB, desiring, state_of, synced

pytestmark = pytest.mark.looptime(start=1000)


async def test_failed_sync_is_not_reused(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.faults = [fault(Fault.UNAVAILABLE)]
    await synced(syncers, desiring(WEB, ANN))
    sync_result = await syncers.sync(WEB, max_age=300)
    assert state_of(sync_result, ANN) is GrantState.GRANTED


async def test_request_to_a_closed_syncer_is_cancelled(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(WEB, ANN))
    lingering = asyncio.create_task(syncers.sync(WEB))
    await asyncio.sleep(0.1)
    await syncers.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(lingering, 60)


async def test_request_of_a_cancelled_sync_is_cancelled(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    syncers.declare(desiring(WEB, ANN))
    working = asyncio.create_task(syncers.sync(WEB))
    await asyncio.sleep(0.55)
    assert env.policies.reads == 1
    await syncers.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(working, 60)


async def test_hung_call_of_a_sync_ends_at_its_deadline_and_the_next_one_works(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, hanging = env.policies.get, [True]

    async def hang_once(target: Target) -> Policy:
        if hanging:
            hanging.clear()
            await asyncio.sleep(36_000)
        return await get(target)

    monkeypatch.setattr(env.policies, "get", hang_once)
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    (error,) = sync_result.faults.values()
    assert error.fault is Fault.UNAVAILABLE
    assert "did not end within 600 s" in error.message

    sync_result = await syncers.sync(WEB)
    assert state_of(sync_result, ANN) is GrantState.GRANTED


async def test_hung_ledger_write_ends_at_the_deadline_of_the_sync(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.sleep(36_000)

    monkeypatch.setattr(env.ledgers, "update", hang)
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    (error,) = sync_result.faults.values()
    assert error.fault is Fault.UNAVAILABLE
    assert env.policies.sets == 0
