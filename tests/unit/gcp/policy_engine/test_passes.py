"""What a pass writes, in which order, and what it does about other writers, drift and absent targets."""

import asyncio
from dataclasses import replace

import pytest

from cloudrun_identity.api import AccountLoss, GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.gcp.policy_engine.policy_writer import LOOKS
from cloudrun_identity.gcp.policy_engine.ports import LaneSettings
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.ledger import AccountRecord
from tests.unit.gcp.fakes import NOON, Crash, Scene, fault

from .one_lane import ANN, BOB, EVE, OPS, TARGET, WEB, claiming, converged, now, state_of

pytestmark = pytest.mark.looptime(start=1000)


async def test_the_ledger_is_written_before_the_policy_and_settled_after_it(
    scene: Scene, lanes: Lanes
) -> None:
    (convergence,) = await converged(lanes, claiming(WEB, ANN))
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert state_of(convergence, ANN) is GrantState.GRANTED
    ledger = scene.ledgers.ledger(TARGET)
    assert ledger.holdings[ANN].state is GrantState.GRANTED
    assert ledger.last_write_time == NOON


async def test_a_pass_that_finds_nothing_to_do_writes_nothing(scene: Scene, lanes: Lanes) -> None:
    await converged(lanes, claiming(WEB, ANN))
    await lanes.converge(WEB)
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert (scene.policies.reads, scene.policies.sets) == (2, 1)
    assert scene.passes.outcomes == ["written", "unchanged"]


async def test_a_release_takes_the_grant_away_and_empties_the_ledger(scene: Scene, lanes: Lanes) -> None:
    await converged(lanes, claiming(WEB, ANN))
    (convergence,) = await converged(lanes, claiming(WEB))
    assert ANN not in scene.policies.standing(TARGET)
    assert scene.ledgers.ledger(TARGET).is_empty
    assert convergence.releasing == ()


async def test_adding_and_releasing_are_one_write(scene: Scene, lanes: Lanes) -> None:
    await converged(lanes, claiming(WEB, ANN))
    await converged(lanes, claiming(WEB, BOB))
    assert scene.policies.standing(TARGET) == {BOB}
    assert scene.policies.sets == 2


async def test_a_ledger_that_cannot_be_written_keeps_the_policy_unwritten(scene: Scene, lanes: Lanes) -> None:
    scene.ledgers.failing = RuntimeError("the API server is down")
    lanes.declare(claiming(WEB, ANN))
    with pytest.raises(RuntimeError, match="the API server is down"):
        await lanes.converge(WEB)
    assert scene.policies.sets == 0

    scene.ledgers.failing = None
    await lanes.converge(WEB)
    assert scene.policies.standing(TARGET) == {ANN}


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_a_crash_before_any_step_is_made_good_by_the_next_process(scene: Scene, step: int) -> None:
    scene.policies.grant(EVE)
    scene.hold(BOB, WEB)
    scene.policies.grant(BOB)
    scene.journal.crash_before = step
    with pytest.raises(Crash):
        await converged(Lanes(scene.ports), claiming(WEB, ANN))

    await converged(Lanes(scene.ports), claiming(WEB, ANN))

    assert scene.policies.standing(TARGET) == {ANN, EVE}
    holdings = scene.ledgers.ledger(TARGET).holdings
    assert holdings.keys() == {ANN}
    assert holdings[ANN].state is GrantState.GRANTED
    assert not holdings[ANN].foreign_before


async def test_nothing_is_released_until_everybody_has_declared(scene: Scene, lanes: Lanes) -> None:
    scene.hold(ANN, WEB)
    scene.policies.grant(ANN)
    lanes.expect([OPS])
    (convergence,) = await converged(lanes, claiming(WEB))
    assert ANN in scene.policies.standing(TARGET)
    assert convergence.releasing == (ANN,)

    await converged(lanes, claiming(OPS, ANN))
    assert ANN in scene.policies.standing(TARGET)
    assert scene.ledgers.ledger(TARGET).holdings[ANN].claimants == {str(OPS)}


async def test_what_is_abandoned_waits_for_who_has_yet_to_declare_and_becomes_theirs(
    scene: Scene, lanes: Lanes
) -> None:
    scene.hold(ANN, WEB)
    scene.policies.grant(ANN)
    lanes.expect([OPS])
    (convergence,) = await converged(lanes, claiming(WEB, abandon=True))
    assert convergence.releasing == (ANN,)

    await converged(lanes, claiming(OPS, ANN))
    assert not scene.ledgers.ledger(TARGET).holdings[ANN].foreign_before
    await converged(lanes, claiming(OPS))
    assert ANN not in scene.policies.standing(TARGET)


async def test_what_is_abandoned_is_let_go_without_a_look_at_the_policy(scene: Scene, lanes: Lanes) -> None:
    scene.hold(ANN, WEB, OPS)
    scene.hold(BOB, WEB)
    lanes.declare(claiming(OPS, ANN))
    scene.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (convergence,) = await converged(lanes, claiming(WEB, abandon=True))
    assert convergence.releasing == ()
    held = scene.ledgers.ledger(TARGET).holdings
    assert {grant: each.claimants for grant, each in held.items()} == {ANN: {str(OPS)}}


async def test_nothing_is_let_go_unseen_while_others_have_yet_to_declare(scene: Scene, lanes: Lanes) -> None:
    scene.hold(ANN, WEB)
    lanes.expect([OPS])
    scene.policies.faults = [fault(Fault.PERMISSION_DENIED)]
    (convergence,) = await converged(lanes, claiming(WEB, abandon=True))
    assert convergence.releasing == (ANN,)


async def test_what_the_last_one_abandoned_is_foreign_to_whoever_claims_it_later(
    scene: Scene, lanes: Lanes
) -> None:
    scene.hold(ANN, WEB)
    scene.policies.grant(ANN)
    await converged(lanes, claiming(WEB, abandon=True))

    await converged(lanes, claiming(OPS, ANN))
    assert scene.ledgers.ledger(TARGET).holdings[ANN].foreign_before


async def test_a_claim_that_comes_while_the_last_one_is_being_released_is_ours(
    scene: Scene, lanes: Lanes
) -> None:
    scene.hold(ANN, WEB)
    scene.policies.grant(ANN)
    scene.policies.after_set = [lambda: lanes.declare(claiming(OPS, ANN))]
    await converged(lanes, claiming(WEB))

    await lanes.converge(OPS)
    assert ANN in scene.policies.standing(TARGET)
    assert not scene.ledgers.ledger(TARGET).holdings[ANN].foreign_before


# Other writers.


async def test_a_stale_etag_is_read_and_merged_again(scene: Scene, lanes: Lanes) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    await converged(lanes, claiming(WEB, ANN))
    assert scene.policies.standing(TARGET) == {ANN, EVE}
    assert scene.policies.sets == 2


async def test_after_a_loss_a_write_follows_somebody_elses_at_once(scene: Scene, lanes: Lanes) -> None:
    scene.policies.latency = 0.1
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    began = now()
    asyncio.get_running_loop().call_at(began + 1.2, scene.policies.grant, BOB)
    await converged(lanes, claiming(WEB, ANN))
    assert scene.policies.standing(TARGET) == {ANN, BOB, EVE}
    assert scene.policies.sets == 2
    assert began + 1.2 < now() < began + 1.5


async def test_a_policy_that_has_come_to_rest_is_not_watched_for_ever(scene: Scene, lanes: Lanes) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)]
    await converged(lanes, claiming(WEB, ANN))
    assert (scene.policies.reads, scene.policies.sets) == (2 + LOOKS, 2)


async def test_writes_that_always_lose_come_to_an_end(scene: Scene) -> None:
    scene.settings = LaneSettings(attempts=4)
    lanes = Lanes(scene.ports)
    scene.policies.before_set = [lambda: scene.policies.grant(EVE)] * 100
    (convergence,) = await converged(lanes, claiming(WEB, ANN))
    assert scene.policies.sets == 4
    assert convergence.faults[TARGET].fault is Fault.ABORTED
    assert state_of(convergence, ANN) is GrantState.PENDING


async def test_a_grant_that_somebody_else_makes_while_we_write_stays_theirs(
    scene: Scene, lanes: Lanes
) -> None:
    scene.policies.before_set = [lambda: scene.policies.grant(ANN)]
    await converged(lanes, claiming(WEB, ANN))
    assert scene.ledgers.ledger(TARGET).holdings[ANN].foreign_before

    await converged(lanes, claiming(WEB))
    assert scene.policies.standing(TARGET) == {ANN}


async def test_a_write_whose_reply_is_lost_is_ours(scene: Scene, lanes: Lanes) -> None:
    scene.policies.after_set = [lose_the_reply]
    (convergence,) = await converged(lanes, claiming(WEB, ANN))
    assert state_of(convergence, ANN) is GrantState.GRANTED
    assert scene.policies.sets == 1
    assert scene.passes.outcomes == ["written"]

    await converged(lanes, claiming(WEB))
    assert scene.policies.standing(TARGET) == set()


async def test_a_write_that_was_lost_on_its_way_is_made_again(scene: Scene, lanes: Lanes) -> None:
    scene.policies.before_set = [lose_the_reply]
    (convergence,) = await converged(lanes, claiming(WEB, ANN))
    assert state_of(convergence, ANN) is GrantState.GRANTED
    assert scene.policies.sets == 2


def lose_the_reply() -> None:
    raise fault(Fault.UNAVAILABLE)


# Drift.


async def test_a_grant_that_somebody_took_away_comes_back_and_is_told_of_once(
    scene: Scene, lanes: Lanes
) -> None:
    await converged(lanes, claiming(WEB, ANN, BOB), claiming(OPS, ANN))
    scene.policies.revoke(ANN)
    assert await lanes.sweep("acme") == {WEB, OPS}
    assert scene.policies.standing(TARGET) == {ANN, BOB}
    assert (await lanes.converge(WEB)).drifted == (ANN,)
    assert (await lanes.converge(WEB)).drifted == ()
    assert (await lanes.converge(OPS)).drifted == (ANN,)


async def test_a_sweep_leaves_other_projects_alone(scene: Scene, lanes: Lanes) -> None:
    await converged(lanes, claiming(WEB, ANN))
    reads = scene.policies.reads
    assert await lanes.sweep("another") == frozenset()
    assert scene.policies.reads == reads


async def test_a_sweep_looks_at_what_is_held_though_nobody_declares_it(scene: Scene, lanes: Lanes) -> None:
    scene.hold(ANN, WEB)
    await lanes.sweep("acme")
    assert scene.policies.reads == 1


async def test_a_sweep_reads_nothing_for_objects_that_are_frozen(scene: Scene, lanes: Lanes) -> None:
    await converged(lanes, claiming(WEB, ANN), claiming(OPS, BOB))
    lanes.freeze(WEB)
    await lanes.sweep("acme")
    with_ops = scene.policies.reads

    lanes.freeze(OPS)
    assert await lanes.sweep("acme") == frozenset()
    assert scene.policies.reads == with_ops

    lanes.declare(claiming(OPS))
    await lanes.sweep("acme")
    assert scene.policies.standing(TARGET) == {ANN}, "what is let go is taken away, whoever else is frozen"


# A target that is not there, and Google out of order.


async def test_a_missing_target_is_told_of_and_nothing_is_entered(scene: Scene, lanes: Lanes) -> None:
    scene.policies.drop(TARGET)
    (convergence,) = await converged(lanes, claiming(WEB, ANN))
    assert convergence.missing == (TARGET,)
    assert not convergence.faults
    assert state_of(convergence, ANN) is GrantState.PENDING
    assert scene.ledgers.ledger(TARGET).is_empty
    assert scene.passes.outcomes == ["missing"]


async def test_the_policy_of_an_account_that_somebody_replaced_is_neither_read_nor_written(
    scene: Scene, lanes: Lanes
) -> None:
    scene.hold(ANN, WEB)
    scene.hold(BOB, WEB)
    ours = AccountRecord("ann@acme.iam.gserviceaccount.com", "payments/ann", "uid", unique_id="111")
    ledger = scene.ledgers.ledger(TARGET)
    scene.ledgers.stored[TARGET] = ledger.with_account(replace(ours, lost=AccountLoss.REPLACED))
    (convergence,) = await converged(lanes, claiming(WEB, BOB))
    assert (scene.policies.reads, scene.policies.sets) == (0, 0)
    assert convergence.releasing == ()
    assert convergence.missing == (TARGET,)
    assert scene.ledgers.ledger(TARGET).holdings.keys() == {BOB}


async def test_what_was_let_go_on_a_missing_target_is_gone_and_what_is_claimed_waits(
    scene: Scene, lanes: Lanes
) -> None:
    scene.hold(ANN, WEB)
    scene.hold(BOB, WEB)
    scene.policies.drop(TARGET)
    (convergence,) = await converged(lanes, claiming(WEB, BOB))
    assert convergence.releasing == ()
    holdings = scene.ledgers.ledger(TARGET).holdings
    assert holdings.keys() == {BOB}
    assert holdings[BOB].state is GrantState.PENDING


async def test_a_fresh_account_that_is_not_found_may_still_have_its_grants(
    scene: Scene, lanes: Lanes
) -> None:
    account = Target(TargetKind.SERVICE_ACCOUNT, "acme", name="ann@acme.iam.gserviceaccount.com")
    grant = Grant(account, "roles/iam.serviceAccountUser", BOB.member)
    scene.fresh.add(account.name)
    scene.hold(grant, WEB)
    (convergence,) = await converged(lanes, claiming(WEB))
    assert convergence.releasing == (grant,)
    assert convergence.faults[account].fault is Fault.NOT_FOUND

    scene.fresh.clear()
    assert (await lanes.converge(WEB)).releasing == ()


async def test_a_target_that_appears_gets_its_grants(scene: Scene, lanes: Lanes) -> None:
    scene.policies.drop(TARGET)
    await converged(lanes, claiming(WEB, ANN))
    scene.policies.create(TARGET)
    assert state_of(await lanes.converge(WEB), ANN) is GrantState.GRANTED


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.PERMISSION_DENIED, Fault.QUOTA_EXCEEDED])
async def test_a_fault_is_the_answer_and_releases_nothing(scene: Scene, lanes: Lanes, kind: Fault) -> None:
    scene.hold(ANN, WEB)
    scene.policies.grant(ANN)
    scene.policies.faults = [fault(kind)]
    (convergence,) = await converged(lanes, claiming(WEB))
    assert convergence.faults[TARGET].fault is kind
    assert convergence.releasing == (ANN,)
    assert scene.passes.outcomes == [kind]
