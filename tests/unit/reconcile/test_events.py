from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from cloudrun_identity.api import IAMBindingStatus, ManagedProjectStatus, Reason, ReconciledResource
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, status_of
from tests.unit.controllers.cluster_state import identity, project

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAW = {"kind": "CloudRunIdentity", "metadata": {"name": "checkout"}}


class Recorder:
    """Records events and counts drift."""

    def __init__(self) -> None:
        self.events: list[tuple[EventType, str, str]] = []
        self.detected = self.repaired = 0

    def record(self, obj: Any, event_type: EventType, reason: str, message: str) -> None:
        self.events.append((event_type, reason, message))

    def drift_detected(self, kind: str, count: int = 1) -> None:
        assert kind == "CloudRunIdentity"
        self.detected += count

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        assert kind == "CloudRunIdentity"
        self.repaired += count

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class History:
    """Reconciles of one object, one per minute."""

    def __init__(self, recorder: Recorder, obj: ReconciledResource) -> None:
        self._event_reporter = EventReporter(recorder, recorder)
        self._obj = obj
        self._reconciles = 0

    def reconcile(self, outcome: Outcome, *drift: str) -> None:
        self._reconciles += 1
        now = NOON + timedelta(minutes=self._reconciles)
        after = status_of(self._obj, Report(outcome, drift=drift), now)
        self._event_reporter.report_changes(RAW, self._obj.status, after, drift)
        self._obj = self._obj.model_copy(update={"status": after})


def test_ready_event_is_recorded_once(recorder: Recorder) -> None:
    history = History(recorder, identity())
    history.reconcile(Waiting(Reason.PROPAGATION_PENDING, "m"))
    history.reconcile(InSync())
    history.reconcile(InSync())
    assert recorder.reasons == ["Ready"]


def test_warning_is_recorded_once_per_reason(recorder: Recorder) -> None:
    history = History(recorder, identity())
    for outcome in (
        Refused(Reason.CONFLICT, "a"),
        Refused(Reason.CONFLICT, "b"),
        Refused(Reason.REJECTED, "c"),
    ):
        history.reconcile(outcome)
    assert recorder.events == [(EventType.WARNING, "Conflict", "a"), (EventType.WARNING, "Rejected", "c")]


@pytest.mark.parametrize("reason", [Reason.DEPENDENCY_NOT_FOUND, Reason.DEPENDENCY_NOT_READY])
def test_first_wait_for_a_dependency_is_a_normal_event(recorder: Recorder, reason: Reason) -> None:
    history = History(recorder, identity())
    history.reconcile(Waiting(reason, "m"))
    history.reconcile(Waiting(reason, "other"))
    assert recorder.events == [(EventType.NORMAL, reason, "m")]


@pytest.mark.parametrize("reason", [Reason.DEPENDENCY_NOT_FOUND, Reason.DEPENDENCY_NOT_READY])
def test_dependency_that_a_ready_object_loses_is_a_warning(recorder: Recorder, reason: Reason) -> None:
    history = History(recorder, identity())
    history.reconcile(InSync())
    history.reconcile(Waiting(reason, "m"))
    assert recorder.events[1:] == [(EventType.WARNING, reason, "m")]


@pytest.mark.parametrize(
    ("outcome", "event_type"),
    [
        (Waiting(Reason.WORKLOAD_NOT_FOUND, "m"), EventType.WARNING),
        (Refused(Reason.LEDGER_INVALID, "m"), EventType.WARNING),
        (Paused(Reason.SUSPENDED, "m"), EventType.NORMAL),
        (Waiting(Reason.OLD_REVISION_SERVING, "m"), EventType.NORMAL),
    ],
)
def test_transition_is_recorded_once(recorder: Recorder, outcome: Outcome, event_type: EventType) -> None:
    history = History(recorder, identity())
    history.reconcile(outcome)
    history.reconcile(outcome)
    assert [each[0] for each in recorder.events] == [event_type]


@pytest.mark.parametrize("reason", [Reason.UPDATING, Reason.DELETING, Reason.PROPAGATION_PENDING])
def test_state_that_ends_soon_records_no_event(recorder: Recorder, reason: Reason) -> None:
    History(recorder, identity()).reconcile(Waiting(reason, "m"))
    assert recorder.events == []


def test_drift_and_its_repair_are_reported_and_counted_once(recorder: Recorder) -> None:
    history = History(recorder, identity())
    history.reconcile(InSync())
    history.reconcile(InSync(), "a", "b")
    history.reconcile(InSync())
    assert recorder.reasons == ["Ready", "DriftDetected", "DriftRepaired"]
    assert (recorder.detected, recorder.repaired) == (2, 2)
    assert recorder.events[1][2] == "a; b"


def test_repair_over_two_reconciles_is_reported_at_its_end(recorder: Recorder) -> None:
    history = History(recorder, identity())
    history.reconcile(InSync())
    history.reconcile(Waiting(Reason.UPDATING, "m"), "a")
    assert (recorder.detected, recorder.repaired) == (1, 0)
    history.reconcile(InSync())
    assert (recorder.detected, recorder.repaired) == (1, 1)
    assert recorder.reasons == ["Ready", "DriftDetected", "DriftRepaired", "Ready"]


def test_drift_of_a_project_is_reported_on_detection_and_on_repair(recorder: Recorder) -> None:
    history = History(recorder, project())
    history.reconcile(InSync())
    history.reconcile(Waiting(Reason.UPDATING, "m"), "crossProjectUsage: Denied → Allowed")
    assert (recorder.detected, recorder.repaired) == (1, 0)
    history.reconcile(InSync())
    assert (recorder.detected, recorder.repaired) == (1, 1)
    assert recorder.reasons == ["Ready", "DriftDetected", "DriftRepaired", "Ready"]


def test_no_repair_is_reported_without_drift(recorder: Recorder) -> None:
    EventReporter(recorder, recorder).report_changes(RAW, ManagedProjectStatus(), ManagedProjectStatus(), ())
    EventReporter(recorder, recorder).report_changes(RAW, IAMBindingStatus(), IAMBindingStatus(), ())
    assert recorder.events == []


def test_note_records_a_normal_event(recorder: Recorder) -> None:
    EventReporter(recorder, recorder).note(identity(), "KeyPublished", "the Secret has it")
    assert recorder.events == [(EventType.NORMAL, "KeyPublished", "the Secret has it")]


def test_warn_records_a_warning(recorder: Recorder) -> None:
    EventReporter(recorder, recorder).warn(identity(), "Abandoned", "the account is left")
    assert recorder.events == [(EventType.WARNING, "Abandoned", "the account is left")]


def test_notice_is_reported_once_for_as_long_as_it_is_an_issue(recorder: Recorder) -> None:
    reporter = EventReporter(recorder, recorder)
    notices = {"GuardrailsAmbiguous": "x" * 300}
    reporter.report_notices(RAW, ManagedProjectStatus(), notices)
    known = ManagedProjectStatus.model_validate({"issues": ["x" * 300]})
    reporter.report_notices(RAW, known, notices)
    assert recorder.reasons == ["GuardrailsAmbiguous"]


def degraded(status: str, reason: str, message: str = "m") -> ManagedProjectStatus:
    condition = {
        "type": "Degraded",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": NOON,
    }
    return ManagedProjectStatus.model_validate({"conditions": [condition]})


def test_degradation_and_its_end_are_recorded_once(recorder: Recorder) -> None:
    reporter = EventReporter(recorder, recorder)
    states = [
        ManagedProjectStatus(),
        degraded("False", "AsExpected"),
        degraded("True", "MissingPermissions"),
        degraded("True", "MissingPermissions", "another message"),
        degraded("False", "AsExpected"),
    ]
    for before, after in pairwise(states):
        reporter.report_changes(RAW, before, after, ())
    assert recorder.events == [
        (EventType.WARNING, "MissingPermissions", "m"),
        (EventType.NORMAL, "Recovered", "m"),
    ]
