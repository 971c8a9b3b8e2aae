import asyncio

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason
from cloudrun_identity.reconcile.finish import PERMISSION_DEADLINE
from cloudrun_identity.reconcile.outcomes import Failing, InSync
from cloudrun_identity.reconcile.requeue import RequeueAfter

from .stage import ANN, DRIFT, KEY, NOON, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_object_edited_during_the_reconcile_is_requeued_without_event(stage: Stage) -> None:
    stage.api_server.edited_under_us = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "insync")
    assert stage.told.events == []


async def test_permission_missing_past_its_deadline_stalls_the_object(stage: Stage) -> None:
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


async def test_drift_counts_each_missing_grant(stage: Stage) -> None:
    await stage.passes()
    stage.scene.policies.revoke(ANN)
    stage.script.changes = [DRIFT]
    await stage.passes()
    assert stage.api_server.status.drift.count == 2
    assert stage.api_server.status.drift.last_repaired_time == NOON
    assert stage.told.events == ["Ready", "DriftDetected", "DriftRepaired"]


async def test_drift_of_an_observed_object_is_reported_once_and_kept(stage: Stage) -> None:
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


async def test_drift_missing_from_a_lost_status_is_in_the_next_status(stage: Stage) -> None:
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
