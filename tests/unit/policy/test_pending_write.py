"""Grants that another writer makes between the record of a write and the write, also around a crash."""

import asyncio

import pytest
from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.pending_write import is_alone, replaces, write_of
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import ANN, BOB, EVE, TARGET, WEB, crashed, desiring, recorded, released, resumed, synced

pytestmark = pytest.mark.looptime(start=1000)


# The evidence.


def test_write_is_recognized_by_a_new_etag_and_its_content_alone() -> None:
    write = write_of(b"1", {ANN, BOB})
    assert is_alone(write, b"2", [BOB, ANN])
    assert not is_alone(write, b"1", {ANN, BOB}), "no other client wrote the policy since"
    assert not is_alone(write, b"2", {ANN, BOB, EVE})
    assert not is_alone(write, b"2", {ANN})
    assert replaces(write, b"1")
    assert not replaces(write, b"2")


def test_write_is_recognized_after_a_deletion_or_a_restoration_of_members() -> None:
    deleted = {grant: grant.deleted_form("111") for grant in (ANN, EVE)}
    write = write_of(b"1", {ANN, BOB, EVE})
    assert is_alone(write, b"2", {deleted[ANN], BOB, deleted[EVE]})
    assert is_alone(write_of(b"1", {ANN, deleted[EVE]}), b"2", {ANN, EVE})
    assert not is_alone(write, b"2", {deleted[ANN], deleted[EVE]}), "it does not show the grant of BOB"
    recreated = write_of(b"1", {ANN, deleted[ANN]})
    assert not is_alone(recreated, b"2", {deleted[ANN]}), "it does not show the grant of the new account"


async def test_write_is_recorded_with_the_etag_that_it_replaces(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    etag = env.policies.etag(TARGET)
    writes = []
    env.policies.before_set = [lambda: writes.append(env.ledgers.ledger(TARGET).pending_write)]
    await synced(syncers, desiring(WEB, ANN))
    assert writes == [write_of(etag, {ANN})]
    assert env.ledgers.ledger(TARGET).pending_write is None, "the outcome is known"


async def test_removals_are_not_recorded(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    await synced(syncers, desiring(WEB, ANN))
    steps = len(env.journal.steps)
    await synced(syncers, desiring(WEB))
    assert env.journal.steps[steps:] == ["policy", "ledger"]


# Conflicts.


async def test_ledger_is_updated_before_a_conflicting_write_is_repeated(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    seen = []

    def note() -> None:
        ledger = env.ledgers.ledger(TARGET)
        seen.append((ledger.entries[ANN].present_before, ledger.pending_write))

    def overtake() -> None:
        note()
        env.policies.grant(ANN)

    first = env.policies.etag(TARGET)
    env.policies.before_set = [overtake, note]
    (result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    second = b"2"
    assert seen == [(False, write_of(first, {ANN, BOB})), (True, write_of(second, {ANN, BOB}))]
    assert result.made_by_others == (ANN,)
    assert await released(env) == {ANN}


async def test_grant_of_another_writer_survives_a_crash_after_the_conflict(env: SyncerEnvironment) -> None:
    env.policies.before_set = [lambda: env.policies.grant(ANN)]
    await crashed(env, ANN, BOB, before=3)  # ledger, (conflict), ledger, policy
    assert env.policies.present(TARGET) == {ANN, BOB}
    await resumed(env, ANN, BOB)
    assert recorded(env, ANN).present_before
    assert not recorded(env, BOB).present_before
    assert await released(env) == {ANN}


async def test_grant_remade_after_another_writer_removed_it_is_managed(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.grant(ANN)
    env.policies.before_set = [lambda: env.policies.revoke(ANN)]
    await synced(syncers, desiring(WEB, ANN, BOB))
    assert not recorded(env, ANN).present_before, "the operator made the grant that is present"
    assert await released(env) == set()


# Crashes.


async def test_written_grant_is_managed_after_a_crash(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    await crashed(env, ANN, BOB, before=2)
    assert (await resumed(env, ANN, BOB)).made_by_others == ()
    assert env.policies.sets == 1
    assert await released(env) == {EVE}


async def test_written_grant_is_managed_if_members_are_deleted_after_a_crash(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    await crashed(env, ANN, BOB, before=2)
    env.policies.delete(TARGET, ANN.member, "111")
    env.policies.delete(TARGET, EVE.member, "333")
    assert (await resumed(env, ANN, BOB)).made_by_others == ()
    env.policies.restore(TARGET, ANN.member, "111")
    assert (await resumed(env, ANN, BOB)).made_by_others == ()
    assert await released(env) == {EVE.deleted_form("333")}


async def test_tombstone_of_a_grant_that_another_writer_made_around_a_crash_stays(
    env: SyncerEnvironment,
) -> None:
    await crashed(env, ANN, BOB, before=1)
    env.policies.grant(ANN)
    env.policies.delete(TARGET, ANN.member, "111")
    await resumed(env, ANN, BOB)
    assert await released(env) == {ANN.deleted_form("111")}


async def test_unwritten_grant_is_written_after_a_crash(env: SyncerEnvironment) -> None:
    await crashed(env, ANN, before=1)
    await resumed(env, ANN)
    assert await released(env) == set()


async def test_grant_made_by_another_writer_around_a_crash_is_kept(env: SyncerEnvironment) -> None:
    await crashed(env, ANN, BOB, before=1)
    env.policies.grant(ANN)
    result = await resumed(env, ANN, BOB)
    assert result.made_by_others == (ANN,)
    assert await released(env) == {ANN}


async def test_grant_is_kept_if_another_writer_changed_the_policy_around_a_crash(
    env: SyncerEnvironment,
) -> None:
    await crashed(env, ANN, before=2)
    env.policies.grant(EVE)
    assert (await resumed(env, ANN)).made_by_others == (ANN,)
    assert recorded(env, ANN).state is GrantState.GRANTED
    assert await released(env) == {ANN, EVE}


async def test_owner_that_claims_existing_grants_releases_them_after_a_crash(env: SyncerEnvironment) -> None:
    await crashed(env, ANN, before=2)
    env.policies.grant(EVE)
    await resumed(env, ANN)
    await synced(PolicySyncers(env.ports), DesiredGrants(WEB, ending=True, claims=frozenset({ANN})))
    assert env.policies.present(TARGET) == {EVE}


async def test_crash_before_the_first_sync_of_a_later_process_changes_nothing(
    env: SyncerEnvironment,
) -> None:
    await crashed(env, ANN, before=2)
    await crashed(env, ANN, before=0)
    await resumed(env, ANN)
    assert await released(env) == set()


async def test_pending_grant_without_a_recorded_write_is_of_another_writer(env: SyncerEnvironment) -> None:
    env.record(ANN, WEB, state=GrantState.PENDING)
    env.policies.grant(ANN)
    await resumed(env, ANN)
    assert await released(env) == {ANN}


async def test_object_deleted_after_a_crash_leaves_the_grant_of_another_writer(
    env: SyncerEnvironment,
) -> None:
    await crashed(env, ANN, BOB, before=1)
    env.policies.grant(ANN)
    assert await released(env) == {ANN}
    assert env.ledgers.ledger(TARGET).is_empty


async def test_object_deleted_after_a_crash_leaves_nothing(env: SyncerEnvironment) -> None:
    await crashed(env, ANN, BOB, before=2)
    assert await released(env) == set()
    assert env.ledgers.ledger(TARGET).is_empty


async def test_grant_made_while_an_absent_one_is_released_is_kept(env: SyncerEnvironment) -> None:
    env.record(ANN, WEB)
    env.record(BOB, WEB)
    env.policies.grant(BOB)
    env.policies.before_set = [lambda: env.policies.grant(ANN)]
    assert await released(env) == {ANN}
    assert env.ledgers.ledger(TARGET).is_empty


# Lost replies.


async def test_lost_reply_with_another_change_makes_no_grant_managed(env: SyncerEnvironment) -> None:
    def lost_among_others() -> None:
        env.policies.grant(EVE)
        raise fault(Fault.UNAVAILABLE)

    env.policies.after_set = [lost_among_others]
    assert (await resumed(env, ANN)).made_by_others == (ANN,)
    assert await released(env) == {ANN, EVE}


@pytest.mark.parametrize(
    "code",
    [Fault.UNAVAILABLE, Fault.QUOTA_EXCEEDED],
    ids=["found by the next read", "found by the next sync"],
)
async def test_lost_write_that_a_later_read_does_not_show_is_managed(
    env: SyncerEnvironment, syncers: PolicySyncers, code: Fault
) -> None:
    def lose() -> None:
        error = fault(code)
        error.in_doubt = True
        raise error

    env.policies.grant(EVE)
    before = env.policies.copy(TARGET)
    env.policies.after_set = [lose]
    await synced(syncers, desiring(WEB, ANN))
    await synced(syncers, desiring(WEB, ANN))
    env.policies.shows = [before]
    (result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    assert result.made_by_others == ()
    assert env.policies.sets == 2
    assert await released(env) == {EVE}


async def test_hung_write_that_a_later_read_does_not_show_is_managed(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.policies.grant(EVE)
    before, write = env.policies.copy(TARGET), env.policies.set

    async def hang(target: Target, policy: Policy) -> Policy:
        await write(target, policy)
        await asyncio.sleep(3600)
        raise AssertionError("the sync has a deadline")

    monkeypatch.setattr(env.policies, "set", hang)
    await synced(syncers, desiring(WEB, ANN))
    monkeypatch.undo()
    await synced(syncers, desiring(WEB, ANN))
    env.policies.shows = [before]
    (result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    assert result.made_by_others == ()
    assert await released(env) == {EVE}


async def test_read_of_an_older_policy_shows_no_lost_write(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    def lose() -> None:
        raise fault(Fault.UNAVAILABLE)

    env.policies.grant(EVE)
    await synced(syncers, desiring(WEB, ANN))
    older = env.policies.copy(TARGET)
    env.policies.revoke(ANN)
    env.policies.before_set = [lose]
    env.policies.shows = [None, older]
    (result,) = await synced(syncers, desiring(WEB, ANN))
    assert env.policies.present(TARGET) == {ANN, EVE}
    (result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    assert result.made_by_others == ()
    assert env.policies.present(TARGET) == {ANN, BOB, EVE}


async def test_late_arrival_of_a_lost_write_is_managed(env: SyncerEnvironment) -> None:
    """Test that a write without a reply is recognized when it arrives before its repetition."""

    def lose() -> None:
        raise fault(Fault.UNAVAILABLE)

    def arrive() -> None:
        env.policies.edit(TARGET, (ANN.role, [ANN.member]))

    env.policies.before_set = [lose, arrive]
    await resumed(env, ANN)
    assert await released(env) == set()


# Targets that are deleted and restored.


async def test_grant_of_a_restored_target_is_managed(env: SyncerEnvironment) -> None:
    await resumed(env, ANN)
    env.policies.drop(TARGET)
    await resumed(env, ANN)
    assert env.ledgers.ledger(TARGET).target_absent
    assert recorded(env, ANN).state is GrantState.PENDING

    env.policies.create(TARGET, (ANN.role, [ANN.member]))
    await resumed(env, ANN)

    assert not env.ledgers.ledger(TARGET).target_absent
    assert await released(env) == set()
