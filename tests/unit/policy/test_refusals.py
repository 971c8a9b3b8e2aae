"""What Google refuses is left out alone, said, and tried again on its own backoff."""

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy import sync as passes
from cloudrun_identity.policy.bisection import PolicyUnwritable
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import Scene

from .one_syncer import (
    ANN,
    BOB,
    EVE,
    OPS,
    ROLE,
    TARGET,
    WEB,
    claiming,
    converged,
    retried,
    setback_of,
    state_of,
)

pytestmark = pytest.mark.looptime(start=1000)


async def test_a_refused_grant_does_not_hold_up_the_others(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.refused = {BOB.member}
    one, other = await converged(syncers, claiming(WEB, ANN, BOB), claiming(OPS, EVE))
    assert scene.policies.present(TARGET) == {ANN, EVE}
    assert state_of(one, ANN) is GrantState.GRANTED
    assert state_of(one, BOB) is GrantState.REJECTED
    assert state_of(other, EVE) is GrantState.GRANTED
    assert scene.ledgers.ledger(TARGET).entries[BOB].state is GrantState.REJECTED
    assert scene.syncs.outcomes == ["written"]


async def test_a_verdict_carries_googles_refusal(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.refused = {BOB.member}
    scene.policies.names_culprit = True
    (sync_result,) = await converged(syncers, claiming(WEB, ANN, BOB))
    backoff = setback_of(sync_result, BOB)
    assert backoff.error
    assert BOB.member in backoff.error.message
    assert not backoff.propagating
    assert backoff.wait == pytest.approx(15, abs=1)


async def test_a_refused_grant_is_tried_again_on_its_own_backoff(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.refused = {BOB.member}
    scene.policies.names_culprit = True
    await converged(syncers, claiming(WEB, ANN, BOB))
    sets = scene.policies.sets

    await retried(syncers, WEB, after=5)
    assert scene.policies.sets == sets
    await retried(syncers, WEB, after=10)
    assert scene.policies.sets == sets + 1
    await retried(syncers, WEB, after=16)
    assert scene.policies.sets == sets + 1, "the second refusal waits twice as long"
    await retried(syncers, WEB, after=15)
    assert scene.policies.sets == sets + 2


async def test_a_grant_that_waits_for_its_retry_does_not_ride_with_others(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.refused = {BOB.member}
    await converged(syncers, claiming(WEB, BOB))
    sets = scene.policies.sets
    await converged(syncers, claiming(OPS, ANN))
    assert scene.policies.sets == sets + 1
    assert ANN in scene.policies.present(TARGET)


async def test_a_grant_that_was_refused_is_granted_once_google_takes_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.refused = {BOB.member}
    await converged(syncers, claiming(WEB, ANN, BOB))
    scene.policies.refused.clear()
    sync_result = await retried(syncers, WEB, after=16)
    assert state_of(sync_result, BOB) is GrantState.GRANTED
    assert scene.ledgers.ledger(TARGET).entries[BOB].state is GrantState.GRANTED


async def test_a_grant_to_a_fresh_account_is_propagating_and_tried_soon(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.refused = {BOB.member}
    scene.fresh.add("bob@acme.iam.gserviceaccount.com")
    (sync_result,) = await converged(syncers, claiming(WEB, ANN, BOB))
    assert state_of(sync_result, BOB) is GrantState.PENDING
    assert setback_of(sync_result, BOB).propagating
    assert setback_of(sync_result, BOB).wait == pytest.approx(3, abs=0.5)
    assert scene.ledgers.ledger(TARGET).entries[BOB].state is GrantState.PENDING

    scene.policies.refused.clear()
    assert state_of(await retried(syncers, WEB, after=3.5), BOB) is GrantState.GRANTED


async def test_what_finds_no_room_is_not_even_tried_and_comes_in_when_there_is(
    scene: Scene, syncers: PolicySyncers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "MAX_PRINCIPALS", 2)
    scene.policies.most_members = 2
    many = [Grant(TARGET, ROLE, f"user:u{number:02}@acme.example") for number in range(20)]
    scene.policies.grant(EVE)
    await converged(syncers, claiming(WEB, *many))
    assert scene.policies.sets == 1

    await retried(syncers, WEB, after=16)
    assert scene.policies.sets == 1

    scene.policies.revoke(EVE)
    await retried(syncers, WEB, after=60)
    assert len(scene.policies.present(TARGET) & set(many)) == 2


async def test_a_refused_grant_that_nobody_wants_any_more_is_forgotten(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.refused = {BOB.member}
    await converged(syncers, claiming(WEB, ANN, BOB))
    await converged(syncers, claiming(WEB, ANN))
    assert scene.ledgers.ledger(TARGET).entries.keys() == {ANN}


async def test_a_release_that_google_refuses_holds_up_nothing_else(
    scene: Scene, syncers: PolicySyncers
) -> None:
    def refuse_releases() -> None:
        if ANN not in scene.policies.offered:
            raise fault(Fault.FAILED_PRECONDITION, "a project needs an owner")

    await converged(syncers, claiming(WEB, ANN))
    scene.policies.before_set = [refuse_releases] * 10
    (sync_result, _) = await converged(syncers, claiming(WEB), claiming(OPS, BOB))
    assert scene.policies.present(TARGET) == {ANN, BOB}
    assert sync_result.releasing == (ANN,)
    assert sync_result.faults[TARGET].fault is Fault.FAILED_PRECONDITION


async def test_a_release_is_done_though_all_that_is_new_is_refused(
    scene: Scene, syncers: PolicySyncers
) -> None:
    await converged(syncers, claiming(WEB, ANN))
    scene.policies.refused = {BOB.member}
    await converged(syncers, claiming(WEB, BOB))
    assert scene.policies.present(TARGET) == set()
    assert scene.ledgers.ledger(TARGET).entries.keys() == {BOB}


async def test_somebody_elses_bad_entry_is_named_and_none_of_ours_is_blamed(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.grant(EVE)
    scene.policies.refused = {EVE.member}
    scene.policies.names_culprit = True
    (sync_result,) = await converged(syncers, claiming(WEB, ANN, BOB))
    fault = sync_result.faults[TARGET]
    assert isinstance(fault, PolicyUnwritable)
    assert EVE.member in fault.message
    assert {grant_result.state for grant_result in sync_result.grant_results} == {GrantState.PENDING}
    assert scene.policies.present(TARGET) == {EVE}
