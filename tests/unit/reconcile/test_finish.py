from datetime import timedelta

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason
from cloudrun_identity.iam.audited_changes import (
    AuditedChange,
    BindingDelta,
    Cause,
    DeltaAction,
    PolicyChange,
)
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Waiting
from cloudrun_identity.reconcile.requeue import NoRequeue, RequeueAfter

from .fake_api_server import KEY
from .scripted_kind import ANN
from .stage import DRIFT, NOON, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_object_edited_during_the_reconcile_is_requeued_without_event(stage: Stage) -> None:
    stage.api_server.edited_meanwhile = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "insync")
    assert stage.recorder.reasons == []


async def test_object_without_progress_stalls_at_its_deadline(stage: Stage) -> None:
    stage.kind.ending = Failing(Reason.PERMISSION_DENIED, "m")
    assert await stage.reconcile() == RequeueAfter(at_most=600.0)
    assert stage.api_server.status.condition(ConditionType.STALLED) is None
    assert stage.recorder.reasons == ["PermissionDenied"]

    stage.now += timedelta(seconds=600)
    assert await stage.reconcile() == NoRequeue(), "the resync retries it"
    assert stage.api_server.status.condition(ConditionType.STALLED).reason == "PermissionDenied"
    assert stage.recorder.reasons == ["PermissionDenied"] * 2

    stage.now += timedelta(seconds=600)
    writes = list(stage.api_server.writes)
    assert await stage.reconcile() == NoRequeue()
    assert stage.api_server.writes == writes
    assert stage.recorder.reasons == ["PermissionDenied"] * 2


async def test_progress_deadline_survives_a_restart_of_the_operator(stage: Stage) -> None:
    stage.api_server.apply(progressDeadline="1h")
    stage.kind.ending = Waiting(Reason.WORKLOAD_NOT_FOUND, "m")
    assert await stage.reconcile() == RequeueAfter(3600.0)

    stage.now += timedelta(seconds=3000)
    stage.start()
    stage.kind.ending = Waiting(Reason.WORKLOAD_NOT_FOUND, "m")
    assert await stage.reconcile() == RequeueAfter(600.0)

    stage.now += timedelta(seconds=600)
    await stage.reconcile()
    assert stage.api_server.status.condition(ConditionType.STALLED).reason == "WorkloadNotFound"


async def test_progress_ends_the_wait_of_an_object(stage: Stage) -> None:
    stage.kind.ending = Waiting(Reason.WORKLOAD_NOT_FOUND, "m")
    await stage.reconcile()
    stage.now += timedelta(seconds=600)
    stage.kind.ending = InSync()
    await stage.reconcile()
    assert "waitingSince" not in stage.api_server.status_written

    stage.kind.ending = Waiting(Reason.WORKLOAD_NOT_FOUND, "m")
    assert await stage.reconcile() == RequeueAfter(600.0)


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


async def test_entry_explains_a_difference_once_and_the_next_is_reported(stage: Stage) -> None:
    await stage.reconcile()
    removed = BindingDelta(DeltaAction.REMOVE, ANN.role, ANN.member)
    cause = Cause("SetIamPolicy", NOON, "user:dana@example.com")
    stage.change_log.note(AuditedChange(PolicyChange(ANN.target), cause, "", deltas=(removed,)))
    stage.env.policies.revoke(ANN)
    await stage.reconcile()
    assert stage.api_server.status.drift.causes[0].principal == "user:dana@example.com"
    assert stage.unexplained == []

    stage.env.policies.revoke(ANN)
    await stage.reconcile()
    assert stage.api_server.status.drift.count == 2
    assert stage.api_server.status.drift.causes == ()
    assert stage.unexplained == [ANN.target.project_id]
