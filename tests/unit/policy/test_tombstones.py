"""Tombstones of members that no CloudRunIdentity declares."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash
from tests.unit.policy.fakes import SyncerEnvironment
from tests.unit.policy.one_policy import ANN, BOB, OPS, ROLE, TARGET, WEB, desiring, state_of, synced

pytestmark = pytest.mark.looptime(start=1000)

POOL = "principal://iam.googleapis.com/locations/global/workforcePools/P/subject/S"


def grant_of(member: str) -> Grant:
    return Grant(TARGET, ROLE, member)


def tombstone(grant: Grant, unique_id: str) -> Grant:
    return grant_of(f"deleted:{grant.member}?uid={unique_id}")


async def sync(env: SyncerEnvironment, *declared: DesiredGrants) -> None:
    """Sync in a new process."""
    syncers = PolicySyncers(env.ports)
    await synced(syncers, *declared)
    await syncers.close()


def present(env: SyncerEnvironment) -> frozenset[Grant]:
    return env.policies.present(TARGET)


@pytest.mark.parametrize(
    "member", [ANN.member, "user:ann@example.com", "group:ops@example.com"], ids=["account", "user", "group"]
)
@pytest.mark.parametrize("looks", [0, 1, 2])
async def test_tombstone_is_released_with_its_grant(env: SyncerEnvironment, member: str, looks: int) -> None:
    grant = grant_of(member)
    await sync(env, desiring(WEB, grant))
    env.policies.delete(TARGET, member, "111")
    for _ in range(looks):
        await sync(env, desiring(WEB, grant))
    assert present(env) == {tombstone(grant, "111")}

    await sync(env, desiring(WEB))

    assert present(env) == frozenset()
    assert not env.ledgers.ledger(TARGET).entries
    env.policies.restore(TARGET, member, "111")
    assert present(env) == frozenset()


async def test_deleted_form_without_a_unique_id_is_released(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, grant_of(POOL)))
    env.policies.edit(TARGET, (ROLE, [f"deleted:{POOL}"]))

    await sync(env, desiring(WEB))

    assert present(env) == frozenset()


async def test_older_tombstones_stay(env: SyncerEnvironment) -> None:
    older = tombstone(ANN, "100")
    env.policies.grant(older)
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")

    await sync(env, desiring(WEB))

    assert present(env) == {older}


async def test_tombstone_of_a_grant_that_was_present_before_stays(env: SyncerEnvironment) -> None:
    env.policies.grant(ANN)
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")
    await sync(env, desiring(WEB, ANN))

    await sync(env, desiring(WEB))

    assert present(env) == {tombstone(ANN, "111")}


async def test_tombstone_of_another_binding_stays(env: SyncerEnvironment) -> None:
    elsewhere = replace(tombstone(ANN, "111"), role="roles/viewer")
    await sync(env, desiring(WEB, ANN))
    env.policies.grant(elsewhere)
    env.policies.delete(TARGET, ANN.member, "111")

    await sync(env, desiring(WEB))

    assert present(env) == {elsewhere}


async def test_each_recreation_leaves_no_tombstone(env: SyncerEnvironment) -> None:
    for number in range(3):
        await sync(env, desiring(WEB, ANN, BOB))
        assert present(env) == {ANN, BOB}
        env.policies.delete(TARGET, ANN.member, f"{number}")
        await sync(env, desiring(WEB, ANN, BOB))
        env.policies.refused.discard(ANN.member)  # another account of the same e-mail

    await sync(env, desiring(WEB, ANN, BOB))

    assert present(env) == {ANN, BOB}
    await sync(env, desiring(WEB))
    assert present(env) == frozenset()


async def test_restored_member_keeps_its_grant(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")
    await sync(env, desiring(WEB, ANN))
    env.policies.restore(TARGET, ANN.member, "111")
    syncers = PolicySyncers(env.ports)

    [result] = await synced(syncers, desiring(WEB, ANN))

    assert state_of(result, ANN) is GrantState.GRANTED
    assert env.ledgers.ledger(TARGET).entries[ANN].tombstones == ()
    await sync(env, desiring(WEB))
    assert present(env) == frozenset()


@pytest.mark.parametrize("step", range(3))
async def test_recreation_leaves_no_tombstone_after_a_crash(env: SyncerEnvironment, step: int) -> None:
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")
    await sync(env, desiring(WEB, ANN))
    env.policies.refused.discard(ANN.member)
    env.journal.crash_before = len(env.journal.steps) + step
    with pytest.raises(Crash):
        await sync(env, desiring(WEB, ANN))

    await sync(env, desiring(WEB, ANN))

    assert present(env) == {ANN}
    await sync(env, desiring(WEB))
    assert present(env) == frozenset()


async def test_grant_for_a_recreated_account_by_another_writer_stays(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")
    env.policies.refused.discard(ANN.member)
    env.policies.grant(ANN)

    await sync(env, desiring(WEB, ANN))
    assert present(env) == {ANN}
    await sync(env, desiring(WEB))

    assert present(env) == {ANN}


async def test_abandoned_tombstone_stays(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.policies.delete(TARGET, ANN.member, "111")

    await sync(env, DesiredGrants(WEB, abandon=True, ending=True))

    assert present(env) == {tombstone(ANN, "111")}


async def test_tombstone_of_a_shared_grant_stays_until_the_last_release(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN), desiring(OPS, ANN))
    env.policies.delete(TARGET, ANN.member, "111")
    await sync(env, desiring(WEB), desiring(OPS, ANN))
    assert present(env) == {tombstone(ANN, "111")}

    await sync(env, desiring(WEB), desiring(OPS))

    assert present(env) == frozenset()


async def test_tombstone_of_a_registered_form_is_released(env: SyncerEnvironment) -> None:
    alias, primary = grant_of("user:john@acme.com"), grant_of("user:john.doe@gmail.com")
    env.policies.aliases[alias.member] = primary.member
    await sync(env, desiring(WEB, alias))
    env.policies.delete(TARGET, primary.member, "111")

    await sync(env, desiring(WEB))

    assert present(env) == frozenset()
