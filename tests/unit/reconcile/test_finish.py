import asyncio

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason
from cloudrun_identity.reconcile.finish import PERMISSION_DEADLINE
from cloudrun_identity.reconcile.outcomes import Failing, InSync
from cloudrun_identity.reconcile.requeue import RequeueAfter

from .stage import ANN, DRIFT, KEY, NOON, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_an_object_that_moved_on_gets_another_pass_and_no_event(stage: Stage) -> None:
    stage.api_server.edited_under_us = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "insync")
    assert stage.told.events == []


async def test_a_permission_that_stays_missing_needs_a_person(stage: Stage) -> None:
    stage.script.applied = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.passes()
    assert stage.api_server.status.condition(ConditionType.STALLED) is None
    await asyncio.sleep(PERMISSION_DEADLINE)
    await stage.passes()
    assert stage.api_server.status.condition(ConditionType.STALLED).reason == "PermissionDenied"
    stage.script.applied = InSync()
    await stage.passes()
    stage.script.applied = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.passes()
    assert stage.api_server.status.condition(ConditionType.STALLED) is None


async def test_drift_is_counted_with_every_grant_that_was_missing(stage: Stage) -> None:
    await stage.passes()
    stage.scene.policies.revoke(ANN)
    stage.script.changes = [DRIFT]
    await stage.passes()
    assert stage.api_server.status.drift.count == 2
    assert stage.api_server.status.drift.last_repaired_time == NOON
    assert stage.told.events == ["Ready", "DriftDetected", "DriftRepaired"]


async def test_what_an_observed_object_has_lost_is_told_once_and_left(stage: Stage) -> None:
    await stage.passes()
    stage.api_server.lend(managementPolicy="Observe")
    stage.scene.policies.revoke(ANN)
    for _ in range(2):
        await stage.passes()
    assert stage.present == set()
    assert stage.ready == (ConditionStatus.FALSE, "DriftDetected")
    assert stage.api_server.status.drift.count == 1
    assert stage.api_server.status.drift.changes == (f"{ANN} was missing",)
    assert stage.told.events == ["Ready", "DriftDetected"]


async def test_drift_that_no_status_could_tell_is_told_by_the_next_one(stage: Stage) -> None:
    await stage.passes()
    stage.scene.policies.revoke(ANN)
    stage.script.changes = [DRIFT]
    stage.api_server.edited_under_us = True
    assert await stage.passes() == RequeueAfter()
    assert stage.present == {ANN}
    assert stage.api_server.status.drift is None

    stage.api_server.edited_under_us = False
    stage.script.changes = []
    await stage.passes()
    assert stage.api_server.status.drift.count == 2
    assert stage.told.events == ["Ready", "DriftDetected", "DriftRepaired"]
    await stage.passes()
    assert stage.api_server.status.drift.count == 2, "it is told once"
