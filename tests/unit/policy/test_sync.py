"""What a pass writes, in which order, and what it does about other writers, drift and absent targets."""

import asyncio

import pytest

from cloudrun_identity.api import AccountLoss, GrantState, LedgerAccount, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.policy.writer import LOOKS
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import NOON, Scene

from .one_syncer import ANN, BOB, EVE, OPS, TARGET, WEB, claiming, converged, now, state_of

pytestmark = pytest.mark.looptime(start=1000)


async def test_the_ledger_is_written_before_the_policy_and_settled_after_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    (sync_result,) = await converged(syncers, claiming(WEB, ANN))
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    ledger = scene.ledgers.ledger(TARGET)
    assert ledger.entries[ANN].state is GrantState.GRANTED
    assert ledger.last_write_time == NOON


async def test_a_pass_that_finds_nothing_to_do_writes_nothing(scene: Scene, syncers: PolicySyncers) -> None:
    await converged(syncers, claiming(WEB, ANN))
    await syncers.sync(WEB)
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert (scene.policies.reads, scene.policies.sets) == (2, 1)
    assert scene.syncs.outcomes == ["written", "unchanged"]


async def test_a_release_takes_the_grant_away_and_empties_the_ledger(
    scene: Scene, syncers: PolicySyncers
) -> None:
    await converged(syncers, claiming(WEB, ANN))
    (sync_result,) = await converged(syncers, claiming(WEB))
    assert ANN not in scene.policies.present(TARGET)
    assert scene.ledgers.ledger(TARGET).is_empty
    assert sync_result.releasing == ()


async def test_adding_and_releasing_are_one_write(scene: Scene, syncers: PolicySyncers) -> None:
    await converged(syncers, claiming(WEB, ANN))
    await converged(syncers, claiming(WEB, BOB))
    assert scene.policies.present(TARGET) == {BOB}
    assert scene.policies.sets == 2


async def test_a_ledger_that_cannot_be_written_keeps_the_policy_unwritten(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.ledgers.failing = RuntimeError("the API server is down")
    syncers.declare(claiming(WEB, ANN))
    with pytest.raises(RuntimeError, match="the API server is down"):
        await syncers.sync(WEB)
    assert scene.policies.sets == 0

    scene.ledgers.failing = None
    await syncers.sync(WEB)
    assert scene.policies.present(TARGET) == {ANN}


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_a_crash_before_any_step_is_made_good_by_the_next_process(scene: Scene, step: int) -> None:
    scene.policies.grant(EVE)
    scene.retain(BOB, WEB)
    scene.policies.grant(BOB)
    scene.journal.crash_before = step
    with pytest.raises(Crash):
        await converged(PolicySyncers(scene.ports), claiming(WEB, ANN))

    await converged(PolicySyncers(scene.ports), claiming(WEB, ANN))

    assert scene.policies.present(TARGET) == {ANN, EVE}
    entries = scene.ledgers.ledger(TARGET).entries
    assert entries.keys() == {ANN}
    assert entries[ANN].state is GrantState.GRANTED
    assert not entries[ANN].present_before


async def test_nothing_is_released_until_everybody_has_declared(scene: Scene, syncers: PolicySyncers) -> None:
    scene.retain(ANN, WEB)
    scene.policies.grant(ANN)
    syncers.expect([OPS])
    (sync_result,) = await converged(syncers, claiming(WEB))
    assert ANN in scene.policies.present(TARGET)
    assert sync_result.releasing == (ANN,)

    await converged(syncers, claiming(OPS, ANN))
    assert ANN in scene.policies.present(TARGET)
    assert scene.ledgers.ledger(TARGET).entries[ANN].owners == (str(OPS),)


async def test_what_is_abandoned_waits_for_who_has_yet_to_declare_and_becomes_theirs(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    scene.policies.grant(ANN)
    syncers.expect([OPS])
    (sync_result,) = await converged(syncers, claiming(WEB, abandon=True))
    assert sync_result.releasing == (ANN,)

    await converged(syncers, claiming(OPS, ANN))
    assert not scene.ledgers.ledger(TARGET).entries[ANN].present_before
    await converged(syncers, claiming(OPS))
    assert ANN not in scene.policies.present(TARGET)


async def test_what_is_abandoned_is_let_go_without_a_look_at_the_policy(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB, OPS)
    scene.retain(BOB, WEB)
    syncers.declare(claiming(OPS, ANN))
    scene.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (sync_result,) = await converged(syncers, claiming(WEB, abandon=True))
    assert sync_result.releasing == ()
    held = scene.ledgers.ledger(TARGET).entries
    assert {grant: each.owners for grant, each in held.items()} == {ANN: (str(OPS),)}


async def test_nothing_is_let_go_unseen_while_others_have_yet_to_declare(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    syncers.expect([OPS])
    scene.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (sync_result,) = await converged(syncers, claiming(WEB, abandon=True))
    assert sync_result.releasing == (ANN,)


async def test_what_the_last_one_abandoned_is_foreign_to_whoever_claims_it_later(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    scene.policies.grant(ANN)
    await converged(syncers, claiming(WEB, abandon=True))

    await converged(syncers, claiming(OPS, ANN))
    assert scene.ledgers.ledger(TARGET).entries[ANN].present_before


async def test_a_claim_that_comes_while_the_last_one_is_being_released_is_ours(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    scene.policies.grant(ANN)
    scene.policies.after_set = [lambda: syncers.declare(claiming(OPS, ANN))]
    await converged(syncers, claiming(WEB))

    await syncers.sync(OPS)
    assert ANN in scene.policies.present(TARGET)
    assert not scene.ledgers.ledger(TARGET).entries[ANN].present_before


# Other writers.


async def test_a_stale_etag_is_read_and_merged_again(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    await converged(syncers, claiming(WEB, ANN))
    assert scene.policies.present(TARGET) == {ANN, EVE}
    assert scene.policies.sets == 2


async def test_after_a_loss_a_write_follows_somebody_elses_at_once(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.latency = 0.1
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    began = now()
    asyncio.get_running_loop().call_at(began + 1.2, scene.policies.grant, BOB)
    await converged(syncers, claiming(WEB, ANN))
    assert scene.policies.present(TARGET) == {ANN, BOB, EVE}
    assert scene.policies.sets == 2
    assert began + 1.2 < now() < began + 1.5


async def test_a_policy_that_has_come_to_rest_is_not_watched_for_ever(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    await converged(syncers, claiming(WEB, ANN))
    assert (scene.policies.reads, scene.policies.sets) == (2 + LOOKS, 2)


async def test_writes_that_always_lose_come_to_an_end(scene: Scene) -> None:
    scene.settings = SyncerSettings(attempts=4)
    syncers = PolicySyncers(scene.ports)
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)] * 100
    (sync_result,) = await converged(syncers, claiming(WEB, ANN))
    assert scene.policies.sets == 4
    assert sync_result.faults[TARGET].fault is Fault.ABORTED
    assert state_of(sync_result, ANN) is GrantState.PENDING


async def test_a_grant_that_somebody_else_makes_while_we_write_stays_theirs(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(ANN)]
    await converged(syncers, claiming(WEB, ANN))
    assert scene.ledgers.ledger(TARGET).entries[ANN].present_before

    await converged(syncers, claiming(WEB))
    assert scene.policies.present(TARGET) == {ANN}


async def test_a_write_whose_reply_is_lost_is_ours(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.after_set = [lose_the_reply]
    (sync_result,) = await converged(syncers, claiming(WEB, ANN))
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    assert scene.policies.sets == 1
    assert scene.syncs.outcomes == ["written"]

    await converged(syncers, claiming(WEB))
    assert scene.policies.present(TARGET) == set()


async def test_a_write_that_was_lost_on_its_way_is_made_again(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.before_set = [lose_the_reply]
    (sync_result,) = await converged(syncers, claiming(WEB, ANN))
    assert state_of(sync_result, ANN) is GrantState.GRANTED
    assert scene.policies.sets == 2


def lose_the_reply() -> None:
    raise fault(Fault.UNAVAILABLE)


# Drift.


async def test_a_grant_that_somebody_took_away_comes_back_and_is_told_of_once(
    scene: Scene, syncers: PolicySyncers
) -> None:
    await converged(syncers, claiming(WEB, ANN, BOB), claiming(OPS, ANN))
    scene.policies.revoke(ANN)
    assert await syncers.resync("acme") == {WEB, OPS}
    assert scene.policies.present(TARGET) == {ANN, BOB}
    assert (await syncers.sync(WEB)).drifted == (ANN,)
    assert (await syncers.sync(WEB)).drifted == ()
    assert (await syncers.sync(OPS)).drifted == (ANN,)


async def test_a_sweep_leaves_other_projects_alone(scene: Scene, syncers: PolicySyncers) -> None:
    await converged(syncers, claiming(WEB, ANN))
    reads = scene.policies.reads
    assert await syncers.resync("another") == frozenset()
    assert scene.policies.reads == reads


async def test_a_sweep_looks_at_what_is_held_though_nobody_declares_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    await syncers.resync("acme")
    assert scene.policies.reads == 1


async def test_a_sweep_reads_nothing_for_objects_that_are_frozen(
    scene: Scene, syncers: PolicySyncers
) -> None:
    await converged(syncers, claiming(WEB, ANN), claiming(OPS, BOB))
    syncers.retain_all(WEB)
    await syncers.resync("acme")
    with_ops = scene.policies.reads

    syncers.retain_all(OPS)
    assert await syncers.resync("acme") == frozenset()
    assert scene.policies.reads == with_ops

    syncers.declare(claiming(OPS))
    await syncers.resync("acme")
    assert scene.policies.present(TARGET) == {ANN}, "what is let go is taken away, whoever else is frozen"


# A target that is not there, and Google out of order.


async def test_a_missing_target_is_told_of_and_nothing_is_entered(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.drop(TARGET)
    (sync_result,) = await converged(syncers, claiming(WEB, ANN))
    assert sync_result.missing == (TARGET,)
    assert not sync_result.faults
    assert state_of(sync_result, ANN) is GrantState.PENDING
    assert scene.ledgers.ledger(TARGET).is_empty
    assert scene.syncs.outcomes == ["missing"]


async def test_the_policy_of_an_account_that_somebody_replaced_is_neither_read_nor_written(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    scene.retain(BOB, WEB)
    ours = LedgerAccount(
        email="ann@acme.iam.gserviceaccount.com", owner="payments/ann", owner_uid="uid", unique_id="111"
    )
    ledger = scene.ledgers.ledger(TARGET)
    scene.ledgers.stored[TARGET] = ledger.with_account(ours.replace(lost=AccountLoss.REPLACED))
    (sync_result,) = await converged(syncers, claiming(WEB, BOB))
    assert (scene.policies.reads, scene.policies.sets) == (0, 0)
    assert sync_result.releasing == ()
    assert sync_result.missing == (TARGET,)
    assert scene.ledgers.ledger(TARGET).entries.keys() == {BOB}


async def test_what_was_let_go_on_a_missing_target_is_gone_and_what_is_claimed_waits(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(ANN, WEB)
    scene.retain(BOB, WEB)
    scene.policies.drop(TARGET)
    (sync_result,) = await converged(syncers, claiming(WEB, BOB))
    assert sync_result.releasing == ()
    entries = scene.ledgers.ledger(TARGET).entries
    assert entries.keys() == {BOB}
    assert entries[BOB].state is GrantState.PENDING


async def test_a_fresh_account_that_is_not_found_may_still_have_its_grants(
    scene: Scene, syncers: PolicySyncers
) -> None:
    account = Target(TargetKind.SERVICE_ACCOUNT, "acme", name="ann@acme.iam.gserviceaccount.com")
    grant = Grant(account, "roles/iam.serviceAccountUser", BOB.member)
    scene.fresh.add(account.name)
    scene.retain(grant, WEB)
    (sync_result,) = await converged(syncers, claiming(WEB))
    assert sync_result.releasing == (grant,)
    assert sync_result.faults[account].fault is Fault.NOT_FOUND

    scene.fresh.clear()
    assert (await syncers.sync(WEB)).releasing == ()


async def test_a_target_that_appears_gets_its_grants(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.drop(TARGET)
    await converged(syncers, claiming(WEB, ANN))
    scene.policies.create(TARGET)
    assert state_of(await syncers.sync(WEB), ANN) is GrantState.GRANTED


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.PERMISSION_DENIED, Fault.QUOTA_EXCEEDED])
async def test_a_fault_is_the_answer_and_releases_nothing(
    scene: Scene, syncers: PolicySyncers, kind: Fault
) -> None:
    scene.retain(ANN, WEB)
    scene.policies.grant(ANN)
    scene.policies.faults = [fault(kind)]
    (sync_result,) = await converged(syncers, claiming(WEB))
    assert sync_result.faults[TARGET].fault is kind
    assert sync_result.releasing == (ANN,)
    assert scene.syncs.outcomes == [kind]
