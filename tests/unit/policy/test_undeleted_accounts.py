"""Grants of accounts that are deleted and undeleted: the policy shows them again after the undeletion.

Source: https://cloud.google.com/iam/docs/service-accounts-delete-undelete.
"""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.results import GrantSyncResult
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash
from tests.unit.policy.fakes import SyncerEnvironment
from tests.unit.policy.one_policy import ANN, BOB, TARGET, WEB, recorded, released

pytestmark = pytest.mark.looptime(start=1000)

UNIQUE_ID = "1001"
TOMBSTONE = ANN.deleted_form(UNIQUE_ID)


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    env.policies.unique_ids |= {ANN.member: UNIQUE_ID, BOB.member: "2002"}
    return env


async def sync(env: SyncerEnvironment, *others: DesiredGrant, unique_id: str = UNIQUE_ID) -> GrantSyncResult:
    """Declare the grant of the account, and others, in a new process."""
    syncers = PolicySyncers(env.ports)
    syncers.declare(DesiredGrants(WEB, frozenset({DesiredGrant(ANN, unique_id), *others})))
    try:
        return await syncers.sync(WEB)
    finally:
        await syncers.close()


def delete(env: SyncerEnvironment) -> None:
    env.policies.delete(TARGET, ANN.member, UNIQUE_ID)


def undelete(env: SyncerEnvironment) -> None:
    env.policies.restore(TARGET, ANN.member, UNIQUE_ID)


async def check_that_the_grant_is_managed(env: SyncerEnvironment) -> None:
    result = await sync(env)
    assert result.made_by_others == ()
    entry = recorded(env, ANN)
    assert (entry.state, entry.present_before, entry.tombstones) == (GrantState.GRANTED, False, ())
    assert await released(env) == frozenset()


@pytest.mark.parametrize("looks", [0, 1, 2])
async def test_grant_of_an_undeleted_account_is_still_managed(env: SyncerEnvironment, looks: int) -> None:
    await sync(env)
    delete(env)
    for _ in range(looks):
        await sync(env)
    undelete(env)
    await check_that_the_grant_is_managed(env)


async def test_grant_of_an_account_deleted_after_a_crash_is_still_managed(env: SyncerEnvironment) -> None:
    env.journal.crash_before = len(env.journal.steps) + 2  # after the write, before its record
    with pytest.raises(Crash):
        await sync(env)
    delete(env)
    assert (await sync(env)).made_by_others == ()
    undelete(env)
    await check_that_the_grant_is_managed(env)


async def test_grant_of_another_writer_is_kept_if_a_later_write_is_found(env: SyncerEnvironment) -> None:
    bob = DesiredGrant(BOB, "2002")
    env.journal.crash_before = len(env.journal.steps) + 1  # after the record, before the write
    with pytest.raises(Crash):
        await sync(env, bob)
    env.policies.grant(ANN)
    delete(env)
    env.journal.crash_before = len(env.journal.steps) + 2  # after the write of the other grant
    with pytest.raises(Crash):
        await sync(env, bob)
    await sync(env, bob)
    undelete(env)

    await sync(env, bob)

    assert await released(env) == {ANN}


async def test_grant_is_managed_if_a_sync_waits_while_its_account_returns(env: SyncerEnvironment) -> None:
    await sync(env)
    delete(env)
    await sync(env)

    def return_meanwhile() -> None:
        undelete(env)
        env.policies.grant(
            replace(ANN, role="roles/viewer")
        )  # the write conflicts, and reads the policy again

    env.policies.before_set = [return_meanwhile]
    result = await sync(env, DesiredGrant(BOB, "2002"))

    assert result.made_by_others == ()
    assert (await sync(env)).made_by_others == ()
    assert ANN not in await released(env)


async def test_grant_is_managed_if_its_account_returns_without_an_identity(env: SyncerEnvironment) -> None:
    await sync(env)
    delete(env)
    await sync(env, unique_id="")
    undelete(env)

    result = await sync(env, unique_id="")

    assert result.made_by_others == ()
    assert await released(env) == frozenset()


async def test_state_of_a_deleted_accounts_grant_is_pending(env: SyncerEnvironment) -> None:
    await sync(env)
    delete(env)

    assert (await sync(env)).drifted == (ANN,)
    assert (await sync(env)).drifted == (), "a loss is reported once"

    assert recorded(env, ANN).state is GrantState.PENDING
    assert env.policies.present(TARGET) == {TOMBSTONE}
    assert await released(env) == frozenset(), "an undeletion must not bring a released grant back"


async def test_grant_by_others_after_the_removal_of_a_tombstone_stays(env: SyncerEnvironment) -> None:
    await sync(env)
    delete(env)
    await sync(env)
    env.policies.revoke(TOMBSTONE)
    await sync(env)
    undelete(env)
    env.policies.grant(ANN)

    await sync(env)

    assert recorded(env, ANN).present_before
    assert await released(env) == {ANN}


@pytest.mark.parametrize("unique_id", ["3003", ""], ids=["another account", "unknown account"])
async def test_grant_in_place_of_a_removed_tombstone_stays(env: SyncerEnvironment, unique_id: str) -> None:
    await sync(env)
    delete(env)
    await sync(env)
    env.policies.revoke(TOMBSTONE)
    env.policies.refused.discard(ANN.member)
    env.policies.unique_ids[ANN.member] = unique_id
    env.policies.grant(ANN)

    result = await sync(env)

    assert result.made_by_others == (ANN,)
    assert recorded(env, ANN).present_before
    assert await released(env) == {ANN}


@pytest.mark.parametrize("returns", [True, False])
async def test_grant_that_was_present_before_stays_with_its_account(
    env: SyncerEnvironment, returns: bool
) -> None:
    env.policies.grant(ANN)
    await sync(env)
    delete(env)
    await sync(env)
    if returns:
        undelete(env)

    result = await sync(env)

    assert result.made_by_others == (), "the object found it when it first declared it"
    assert recorded(env, ANN).present_before
    assert await released(env) == {ANN if returns else TOMBSTONE}


async def test_grant_by_others_for_another_account_stays(env: SyncerEnvironment) -> None:
    await sync(env)
    delete(env)
    await sync(env)
    env.policies.revoke(TOMBSTONE)
    env.policies.refused.discard(ANN.member)
    env.policies.unique_ids[ANN.member] = "3003"
    env.policies.grant(ANN)

    assert await released(env) == {ANN}
