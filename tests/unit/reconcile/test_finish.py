import asyncio

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason
from cloudrun_identity.reconcile.finish import PERMISSION_DEADLINE
from cloudrun_identity.reconcile.outcomes import Failing, InSync
from cloudrun_identity.reconcile.requeue import RequeueAfter

from .fake_api_server import KEY
from .scripted_kind import ANN
from .stage import DRIFT, NOON, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_object_edited_during_the_reconcile_is_requeued_without_event(stage: Stage) -> None:
    stage.api_server.edited_meanwhile = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "insync")
    assert stage.recorder.reasons == []


async def test_permission_missing_past_its_deadline_stalls_the_object(stage: Stage) -> None:
    stage.kind.ending = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.reconcile()
    assert stage.api_server.status.condition(ConditionType.STALLED) is None
    await asyncio.sleep(PERMISSION_DEADLINE)
    await stage.reconcile()
    assert stage.api_server.status.condition(ConditionType.STALLED).reason == "PermissionDenied"
    stage.kind.ending = InSync()
    await stage.reconcile()
    stage.kind.ending = Failing(Reason.PERMISSION_DENIED, "m")
    await stage.reconcile()
    assert stage.api_server.status.condition(ConditionType.STALLED) is None


async def test_drift_counts_each_missing_grant(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.policies.revoke(ANN)
    stage.kind.changes = [DRIFT]
    await stage.reconcile()
    assert stage.api_server.status.drift.count == 2
    assert stage.api_server.status.drift.last_repaired_time == NOON
    assert stage.recorder.reasons == ["Ready", "DriftDetected", "DriftRepaired"]


async def test_drift_of_an_observed_object_is_reported_once_and_kept(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.delegate(managementPolicy="Observe")
    stage.env.policies.revoke(ANN)
    for _ in range(2):
        await stage.reconcile()
    assert stage.present == set()
    assert stage.ready == (ConditionStatus.FALSE, "DriftDetected")
    assert stage.api_server.status.drift.count == 1
    assert stage.api_server.status.drift.changes == (f"{ANN} was missing",)
    assert stage.recorder.reasons == ["Ready", "DriftDetected"]


async def test_drift_missing_from_a_lost_status_is_in_the_next_status(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.policies.revoke(ANN)
    stage.kind.changes = [DRIFT]
    stage.api_server.edited_meanwhile = True
    assert await stage.reconcile() == RequeueAfter()
    assert stage.present == {ANN}
    assert stage.api_server.status.drift is None

    stage.api_server.edited_meanwhile = False
    stage.kind.changes = []
    await stage.reconcile()
    assert stage.api_server.status.drift.count == 2
    assert stage.recorder.reasons == ["Ready", "DriftDetected", "DriftRepaired"]
    await stage.reconcile()
    assert stage.api_server.status.drift.count == 2, "it is reported once"
