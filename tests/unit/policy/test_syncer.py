"""Who waits for a lane, and what they are answered."""

import asyncio

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import Scene

from .one_syncer import ANN, WEB, claiming, converged, state_of

pytestmark = pytest.mark.looptime(start=1000)


async def test_a_pass_that_failed_is_never_an_answer_for_later(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.faults = [fault(Fault.UNAVAILABLE)]
    await converged(syncers, claiming(WEB, ANN))
    sync_result = await syncers.sync(WEB, max_age=300)
    assert state_of(sync_result, ANN) is GrantState.GRANTED


async def test_who_waits_for_a_lane_that_is_closed_is_cancelled(scene: Scene, syncers: PolicySyncers) -> None:
    syncers.declare(claiming(WEB, ANN))
    lingering = asyncio.create_task(syncers.sync(WEB))
    await asyncio.sleep(0.1)
    await syncers.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(lingering, 60)


async def test_who_waits_for_a_pass_under_way_is_cancelled_with_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(WEB, ANN))
    working = asyncio.create_task(syncers.sync(WEB))
    await asyncio.sleep(0.55)
    assert scene.policies.reads == 1
    await syncers.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(working, 60)
