"""Order of the writes of a sync, and other writers, drift and missing targets."""

import asyncio
import gc

import pytest

from cloudrun_identity.api import AccountLoss, GrantState, LedgerAccount, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy import planning
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.policy.writer import MAX_REREADS, PolicyWriter
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import NOON, SyncerEnvironment

from .one_policy import ANN, BOB, EVE, OPS, TARGET, WEB, desiring, now, state_of, synced

pytestmark = pytest.mark.looptime(start=1000)


async def test_ledger_is_written_before_the_policy_and_settled_after_it(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    assert env.journal.steps == ["ledger", "policy", "ledger"]
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    ledger = env.ledgers.ledger(TARGET)
    assert ledger.entries[ANN].state is GrantState.GRANTED
    assert ledger.last_write_time == NOON


async def test_sync_without_a_difference_writes_nothing(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN))
    await syncers.sync(WEB)
    assert env.journal.steps == ["ledger", "policy", "ledger"]
    assert (env.policies.reads, env.policies.sets) == (2, 1)
    assert env.syncs.outcomes == ["written", "unchanged"]


async def test_release_removes_the_grant_and_empties_the_ledger(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN))
    (sync_result,) = await synced(syncers, desiring(WEB))
    assert ANN not in env.policies.present(TARGET)
    assert env.ledgers.ledger(TARGET).is_empty
    assert sync_result.releasing == ()


async def test_additions_and_releases_are_one_write(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    await synced(syncers, desiring(WEB, ANN))
    await synced(syncers, desiring(WEB, BOB))
    assert env.policies.present(TARGET) == {BOB}
    assert env.policies.sets == 2


async def test_policy_is_not_written_if_the_ledger_is_not(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.ledgers.failing = RuntimeError("the API server is down")
    syncers.declare(desiring(WEB, ANN))
    with pytest.raises(RuntimeError, match="the API server is down"):
        await syncers.sync(WEB)
    assert env.policies.sets == 0

    env.ledgers.failing = None
    await syncers.sync(WEB)
    assert env.policies.present(TARGET) == {ANN}


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_next_process_repairs_a_crash_before_any_step(env: SyncerEnvironment, step: int) -> None:
    env.policies.grant(EVE)
    env.record(BOB, WEB)
    env.policies.grant(BOB)
    env.journal.crash_before = step
    with pytest.raises(Crash):
        await synced(PolicySyncers(env.ports), desiring(WEB, ANN))

    await synced(PolicySyncers(env.ports), desiring(WEB, ANN))

    assert env.policies.present(TARGET) == {ANN, EVE}
    entries = env.ledgers.ledger(TARGET).entries
    assert entries.keys() == {ANN}
    assert entries[ANN].state is GrantState.GRANTED
    assert not entries[ANN].present_before


async def test_nothing_is_released_until_all_objects_have_declared(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    syncers.expect([OPS])
    (sync_result,) = await synced(syncers, desiring(WEB))
    assert ANN in env.policies.present(TARGET)
    assert sync_result.releasing == (ANN,)

    await synced(syncers, desiring(OPS, ANN))
    assert ANN in env.policies.present(TARGET)
    assert env.ledgers.ledger(TARGET).entries[ANN].owners == (str(OPS),)


async def test_abandoned_grant_waits_for_declarations_and_changes_owner(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    syncers.expect([OPS])
    (sync_result,) = await synced(syncers, desiring(WEB, abandon=True))
    assert sync_result.releasing == (ANN,)

    await synced(syncers, desiring(OPS, ANN))
    assert not env.ledgers.ledger(TARGET).entries[ANN].present_before
    await synced(syncers, desiring(OPS))
    assert ANN not in env.policies.present(TARGET)


async def test_abandoned_grant_is_dropped_without_a_read_of_the_policy(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB, OPS)
    env.record(BOB, WEB)
    syncers.declare(desiring(OPS, ANN))
    env.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (sync_result,) = await synced(syncers, desiring(WEB, abandon=True))
    assert sync_result.releasing == ()
    recorded = env.ledgers.ledger(TARGET).entries
    assert {grant: each.owners for grant, each in recorded.items()} == {ANN: (str(OPS),)}


async def test_nothing_is_abandoned_until_all_objects_have_declared(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    syncers.expect([OPS])
    env.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (sync_result,) = await synced(syncers, desiring(WEB, abandon=True))
    assert sync_result.releasing == (ANN,)


async def test_abandoned_grant_was_present_before_for_a_later_owner(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    await synced(syncers, desiring(WEB, abandon=True))

    await synced(syncers, desiring(OPS, ANN))
    assert env.ledgers.ledger(TARGET).entries[ANN].present_before


async def test_grant_desired_again_during_its_release_is_managed(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    env.policies.after_set = [lambda: syncers.declare(desiring(OPS, ANN))]
    await synced(syncers, desiring(WEB))

    await syncers.sync(OPS)
    assert ANN in env.policies.present(TARGET)
    assert not env.ledgers.ledger(TARGET).entries[ANN].present_before


# Other writers.


async def test_conflicting_write_is_retried_with_fresh_etag(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.before_set = [lambda: env.policies.grant(EVE)]
    await synced(syncers, desiring(WEB, ANN))
    assert env.policies.present(TARGET) == {ANN, EVE}
    assert env.policies.sets == 2


async def test_write_after_a_conflict_follows_another_write_at_once(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.latency = 0.1
    env.policies.before_set = [lambda: env.policies.grant(EVE)]
    began = now()
    asyncio.get_running_loop().call_at(began + 1.2, env.policies.grant, BOB)
    await synced(syncers, desiring(WEB, ANN))
    assert env.policies.present(TARGET) == {ANN, BOB, EVE}
    assert env.policies.sets == 2
    assert began + 1.2 < now() < began + 1.5


async def test_reads_after_a_conflict_are_limited(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.before_set = [lambda: env.policies.grant(EVE)]
    await synced(syncers, desiring(WEB, ANN))
    assert (env.policies.reads, env.policies.sets) == (2 + MAX_REREADS, 2)


async def test_conflicting_writes_are_limited(env: SyncerEnvironment) -> None:
    env.settings = SyncerSettings(attempts=4)
    syncers = PolicySyncers(env.ports)
    env.policies.before_set = [lambda: env.policies.grant(EVE)] * 100
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    assert env.policies.sets == 4
    assert sync_result.faults[TARGET].fault is Fault.ABORTED
    assert state_of(sync_result, ANN) is GrantState.PENDING


async def test_grant_made_by_another_writer_during_the_write_is_kept(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.before_set = [lambda: env.policies.grant(ANN)]
    await synced(syncers, desiring(WEB, ANN))
    assert env.ledgers.ledger(TARGET).entries[ANN].present_before

    await synced(syncers, desiring(WEB))
    assert env.policies.present(TARGET) == {ANN}


async def test_grant_of_a_write_with_a_lost_reply_is_managed(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.after_set = [lose_the_reply]
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    assert env.policies.sets == 1
    assert env.syncs.outcomes == ["written"]

    await synced(syncers, desiring(WEB))
    assert env.policies.present(TARGET) == set()


async def test_lost_write_is_retried(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.before_set = [lose_the_reply]
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    assert env.policies.sets == 2


def lose_the_reply() -> None:
    raise fault(Fault.UNAVAILABLE)


# Drift.


async def test_removed_grant_is_restored_and_reported_once(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN, BOB), desiring(OPS, ANN))
    env.policies.revoke(ANN)
    assert (await syncers.resync("acme")).drifted == {WEB, OPS}
    assert env.policies.present(TARGET) == {ANN, BOB}
    assert (await syncers.sync(WEB)).drifted == (ANN,)
    assert (await syncers.sync(WEB)).drifted == ()
    assert (await syncers.sync(OPS)).drifted == (ANN,)


async def test_resync_skips_other_projects(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    await synced(syncers, desiring(WEB, ANN))
    reads = env.policies.reads
    assert (await syncers.resync("another")).drifted == frozenset()
    assert env.policies.reads == reads


async def test_resync_reads_policies_with_entries_that_no_object_desires(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    await syncers.resync("acme")
    assert env.policies.reads == 1


async def test_resync_skips_policies_with_only_retained_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN), desiring(OPS, BOB))
    syncers.retain_all(WEB)
    await syncers.resync("acme")
    with_ops = env.policies.reads

    syncers.retain_all(OPS)
    assert (await syncers.resync("acme")).drifted == frozenset()
    assert env.policies.reads == with_ops

    syncers.declare(desiring(OPS))
    await syncers.resync("acme")
    assert env.policies.present(TARGET) == {ANN}, "a released grant is removed beside a suspended object"


async def test_fault_is_reported_only_by_the_resync_that_found_it(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN))
    env.policies.faults = [fault(Fault.UNAVAILABLE)]
    assert (await syncers.resync("acme")).has_failed
    syncers.retain_all(WEB)
    assert not (await syncers.resync("acme")).has_failed, "the policy is not read"


# Missing targets and faults.


async def test_missing_target_is_reported_and_gets_no_entry(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.drop(TARGET)
    (sync_result,) = await synced(syncers, desiring(WEB, ANN))
    assert sync_result.missing == (TARGET,)
    assert not sync_result.faults
    assert state_of(sync_result, ANN) is GrantState.PENDING
    assert env.ledgers.ledger(TARGET).is_empty
    assert env.syncs.outcomes == ["missing"]


async def test_policy_of_a_replaced_account_is_neither_read_nor_written(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.record(BOB, WEB)
    account = LedgerAccount(
        email="ann@acme.iam.gserviceaccount.com", owner="payments/ann", owner_uid="uid", unique_id="111"
    )
    ledger = env.ledgers.ledger(TARGET)
    env.ledgers.stored[TARGET] = ledger.with_account(account.replace(lost=AccountLoss.REPLACED))
    (sync_result,) = await synced(syncers, desiring(WEB, BOB))
    assert (env.policies.reads, env.policies.sets) == (0, 0)
    assert sync_result.releasing == ()
    assert sync_result.missing == (TARGET,)
    assert env.ledgers.ledger(TARGET).entries.keys() == {BOB}


async def test_missing_target_ends_releases_and_keeps_desired_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.record(ANN, WEB)
    env.record(BOB, WEB)
    env.policies.drop(TARGET)
    (sync_result,) = await synced(syncers, desiring(WEB, BOB))
    assert sync_result.releasing == ()
    entries = env.ledgers.ledger(TARGET).entries
    assert entries.keys() == {BOB}
    assert entries[BOB].state is GrantState.PENDING


async def test_fresh_account_that_is_not_found_keeps_its_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    account = Target(TargetKind.SERVICE_ACCOUNT, "acme", name="ann@acme.iam.gserviceaccount.com")
    grant = Grant(account, "roles/iam.serviceAccountUser", BOB.member)
    env.fresh.add(account.name)
    env.record(grant, WEB)
    (sync_result,) = await synced(syncers, desiring(WEB))
    assert sync_result.releasing == (grant,)
    assert sync_result.faults[account].fault is Fault.NOT_FOUND

    env.fresh.clear()
    assert (await syncers.sync(WEB)).releasing == ()


async def test_target_gets_its_grants_once_it_exists(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.drop(TARGET)
    await synced(syncers, desiring(WEB, ANN))
    env.policies.create(TARGET)
    assert state_of(await syncers.sync(WEB), ANN) is GrantState.GRANTED


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.PERMISSION_DENIED, Fault.QUOTA_EXCEEDED])
async def test_fault_is_reported_and_releases_nothing(
    env: SyncerEnvironment, syncers: PolicySyncers, kind: Fault
) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    env.policies.faults = [fault(kind)]
    (sync_result,) = await synced(syncers, desiring(WEB))
    assert sync_result.faults[TARGET].fault is kind
    assert sync_result.releasing == (ANN,)
    assert env.syncs.outcomes == [kind]


async def test_member_is_replaced_in_a_full_ledger(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removed member makes room for the added one."""
    monkeypatch.setattr(planning, "MAX_MEMBERS", 2)
    await synced(syncers, desiring(WEB, ANN, BOB))

    (result,) = await synced(syncers, desiring(WEB, ANN, EVE))

    assert state_of(result, EVE) is GrantState.GRANTED
    assert env.policies.present(TARGET) == {ANN, EVE}
    assert env.ledgers.ledger(TARGET).entries.keys() == {ANN, EVE}


async def test_grants_beyond_a_full_ledger_are_rejected(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_MEMBERS", 1)

    (result,) = await synced(syncers, desiring(WEB, ANN, EVE))

    assert sorted(state_of(result, grant) for grant in (ANN, EVE)) == ["Granted", "Rejected"]
    assert len(env.policies.present(TARGET)) == 1


async def test_sync_leaves_nothing_to_the_garbage_collector(syncers: PolicySyncers) -> None:
    gc.collect()
    gc.disable()
    try:
        await synced(syncers, desiring(WEB, ANN))
        assert not [each for each in gc.get_objects() if isinstance(each, PolicyWriter)]
    finally:
        gc.enable()
