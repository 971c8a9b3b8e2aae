"""Removals of unmanaged members count against the hourly limit if they happened."""

import asyncio

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import ANN, BOB, EVE, TARGET, WEB, desiring, synced

pytestmark = pytest.mark.looptime(start=1000)

ALONE = desiring(WEB, ANN, exclusive=frozenset({ANN.binding_key}))


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment(settings=SyncerSettings(attempts=2), removals_an_hour=1)
    env.policies.create(TARGET)
    env.policies.grant(EVE)
    return env


def fail(kind: Fault) -> None:
    raise fault(kind)


@pytest.mark.parametrize("kind", [Fault.PERMISSION_DENIED, Fault.ABORTED, Fault.QUOTA_EXCEEDED])
async def test_failed_removal_does_not_use_up_the_limit(
    env: SyncerEnvironment, syncers: PolicySyncers, kind: Fault
) -> None:
    env.policies.before_set = [lambda: fail(kind)] * 20
    for _ in range(10):
        (result,) = await synced(syncers, ALONE)
        assert result.removed_unmanaged == ()
    env.policies.before_set = []
    (result,) = await synced(syncers, ALONE)
    assert result.removed_unmanaged == (EVE,)
    assert env.policies.present(TARGET) == {ANN}


async def test_removal_counts_once(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    await synced(syncers, ALONE)
    env.policies.grant(BOB)
    (result,) = await synced(syncers, ALONE)
    assert result.unmanaged == (BOB,)
    assert env.policies.present(TARGET) == {ANN, BOB}


@pytest.mark.parametrize("took_effect", [True, False])
async def test_removal_with_an_unknown_outcome_counts_if_it_happened(
    env: SyncerEnvironment, syncers: PolicySyncers, took_effect: bool
) -> None:
    def lose_the_reply_and_the_next_read() -> None:
        env.policies.faults = [fault(Fault.PERMISSION_DENIED)]
        raise fault(Fault.UNAVAILABLE)

    hooks = env.policies.after_set if took_effect else env.policies.before_set
    hooks.append(lose_the_reply_and_the_next_read)
    (result,) = await synced(syncers, ALONE)
    assert result.removed_unmanaged == ()
    env.policies.grant(BOB)
    (result,) = await synced(syncers, ALONE)
    assert len(env.policies.present(TARGET) & {BOB, EVE}) == 1, "one removal is allowed"
    assert len(result.removed_unmanaged) == 1


async def test_removal_of_a_sync_beyond_its_deadline_counts_if_it_happened(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = env.policies.set

    async def hang_after_the_write(target: Target, policy: Policy) -> Policy:
        await write(target, policy)
        await asyncio.sleep(36_000)
        raise AssertionError("the sync is canceled before")

    monkeypatch.setattr(env.policies, "set", hang_after_the_write)
    await synced(syncers, ALONE)
    monkeypatch.setattr(env.policies, "set", write)
    env.policies.grant(BOB)
    (result,) = await synced(syncers, ALONE)
    assert result.removed_unmanaged == (EVE,)
    assert env.policies.present(TARGET) == {ANN, BOB}, "one removal is allowed"


async def test_removal_counts_for_all_policies_of_the_project(env: SyncerEnvironment) -> None:
    ports = env.ports
    for _ in range(2):
        syncers = PolicySyncers(ports)
        await synced(syncers, DesiredGrants(WEB, ALONE.desired_grants, exclusive=ALONE.exclusive))
        env.policies.grant(BOB)
    assert BOB in env.policies.present(TARGET)
