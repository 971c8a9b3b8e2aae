"""Refused grants are left out alone, reported, and retried after their own backoff."""

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy import capacity
from cloudrun_identity.policy.bisection import PolicyUnwritable
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import (
    ANN,
    BOB,
    EVE,
    OPS,
    ROLE,
    TARGET,
    WEB,
    backoff_of,
    desiring,
    state_of,
    synced,
    synced_after,
)

pytestmark = pytest.mark.looptime(start=1000)


async def test_refused_grant_does_not_delay_the_others(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    one, other = await synced(syncers, desiring(WEB, ANN, BOB), desiring(OPS, EVE))
    assert env.policies.present(TARGET) == {ANN, EVE}
    assert state_of(one, ANN) is GrantState.GRANTED
    assert state_of(one, BOB) is GrantState.REJECTED
    assert state_of(other, EVE) is GrantState.GRANTED
    assert env.ledgers.ledger(TARGET).entries[BOB].state is GrantState.REJECTED
    assert env.syncs.outcomes == ["written"]


async def test_grant_result_has_the_refusal(env: SyncerEnvironment, syncers: PolicySyncers) -> None:
    env.policies.refused = {BOB.member}
    env.policies.names_culprit = True
    (sync_result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    backoff = backoff_of(sync_result, BOB)
    assert backoff.error
    assert BOB.member in backoff.error.message
    assert not backoff.propagating
    assert backoff.wait == pytest.approx(15, abs=1)


async def test_refused_grant_is_retried_after_its_own_backoff(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    env.policies.names_culprit = True
    await synced(syncers, desiring(WEB, ANN, BOB))
    sets = env.policies.sets

    await synced_after(syncers, WEB, after=5)
    assert env.policies.sets == sets
    await synced_after(syncers, WEB, after=10)
    assert env.policies.sets == sets + 1
    await synced_after(syncers, WEB, after=16)
    assert env.policies.sets == sets + 1, "the second refusal doubles the delay"
    await synced_after(syncers, WEB, after=15)
    assert env.policies.sets == sets + 2


async def test_grant_in_backoff_is_not_written_with_others(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    await synced(syncers, desiring(WEB, BOB))
    sets = env.policies.sets
    await synced(syncers, desiring(OPS, ANN))
    assert env.policies.sets == sets + 1
    assert ANN in env.policies.present(TARGET)


async def test_refused_grant_is_granted_once_google_accepts_it(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    await synced(syncers, desiring(WEB, ANN, BOB))
    env.policies.refused.clear()
    sync_result = await synced_after(syncers, WEB, after=16)
    assert state_of(sync_result, BOB) is GrantState.GRANTED
    assert env.ledgers.ledger(TARGET).entries[BOB].state is GrantState.GRANTED


async def test_grant_of_a_fresh_account_is_propagating_and_retried_soon(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    env.fresh.add("bob@acme.iam.gserviceaccount.com")
    (sync_result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    assert state_of(sync_result, BOB) is GrantState.PENDING
    assert backoff_of(sync_result, BOB).propagating
    assert backoff_of(sync_result, BOB).wait == pytest.approx(3, abs=0.5)
    assert env.ledgers.ledger(TARGET).entries[BOB].state is GrantState.PENDING

    env.policies.refused.clear()
    assert state_of(await synced_after(syncers, WEB, after=3.5), BOB) is GrantState.GRANTED


async def test_grant_without_room_is_written_once_there_is_room(
    env: SyncerEnvironment, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "MAX_PRINCIPALS", 2)
    env.policies.most_members = 2
    many = [Grant(TARGET, ROLE, f"user:u{number:02}@acme.example") for number in range(20)]
    env.policies.grant(EVE)
    await synced(syncers, desiring(WEB, *many))
    assert env.policies.sets == 1

    await synced_after(syncers, WEB, after=16)
    assert env.policies.sets == 1

    env.policies.revoke(EVE)
    await synced_after(syncers, WEB, after=60)
    assert len(env.policies.present(TARGET) & set(many)) == 2


async def test_backoff_of_an_undesired_grant_is_dropped(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.refused = {BOB.member}
    await synced(syncers, desiring(WEB, ANN, BOB))
    await synced(syncers, desiring(WEB, ANN))
    assert env.ledgers.ledger(TARGET).entries.keys() == {ANN}


async def test_refused_release_does_not_delay_other_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    def refuse_releases() -> None:
        if ANN not in env.policies.offered:
            raise fault(Fault.FAILED_PRECONDITION, "a project needs an owner")

    await synced(syncers, desiring(WEB, ANN))
    env.policies.before_set = [refuse_releases] * 10
    (sync_result, _) = await synced(syncers, desiring(WEB), desiring(OPS, BOB))
    assert env.policies.present(TARGET) == {ANN, BOB}
    assert sync_result.releasing == (ANN,)
    assert sync_result.faults[TARGET].fault is Fault.FAILED_PRECONDITION


async def test_release_is_written_beside_refused_grants(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    await synced(syncers, desiring(WEB, ANN))
    env.policies.refused = {BOB.member}
    await synced(syncers, desiring(WEB, BOB))
    assert env.policies.present(TARGET) == set()
    assert env.ledgers.ledger(TARGET).entries.keys() == {BOB}


async def test_invalid_unmanaged_member_is_named_and_no_grant_is_refused(
    env: SyncerEnvironment, syncers: PolicySyncers
) -> None:
    env.policies.grant(EVE)
    env.policies.refused = {EVE.member}
    env.policies.names_culprit = True
    (sync_result,) = await synced(syncers, desiring(WEB, ANN, BOB))
    fault = sync_result.faults[TARGET]
    assert isinstance(fault, PolicyUnwritable)
    assert EVE.member in fault.message
    assert {grant_result.state for grant_result in sync_result.grant_results} == {GrantState.PENDING}
    assert env.policies.present(TARGET) == {EVE}
