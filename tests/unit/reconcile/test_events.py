from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import IAMBindingStatus, ManagedProjectStatus, Reason, ReconciledResource
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, status_of
from tests.unit.controllers.cluster_state import identity, project

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAW = {"kind": "CloudRunIdentity", "metadata": {"name": "checkout"}}


class Told:
    """Takes both events and counts."""

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
def told() -> Told:
    return Told()


class Life:
    """An object through its passes, one a minute."""

    def __init__(self, told: Told, obj: ReconciledResource) -> None:
        self._event_reporter = EventReporter(told, told)
        self._obj = obj
        self._sync = 0

    def passes(self, outcome: Outcome, *drift: str) -> None:
        self._sync += 1
        now = NOON + timedelta(minutes=self._sync)
        after = status_of(self._obj, Report(outcome, drift=drift), now)
        self._event_reporter.report_changes(RAW, self._obj.status, after, drift)
        self._obj = self._obj.model_copy(update={"status": after})


def test_ready_event_is_recorded_once(told: Told) -> None:
    life = Life(told, identity())
    life.passes(Waiting(Reason.PROPAGATION_PENDING, "m"))
    life.passes(InSync())
    life.passes(InSync())
    assert told.reasons == ["Ready"]


def test_warning_is_recorded_once_per_reason(told: Told) -> None:
    life = Life(told, identity())
    for outcome in (
        Refused(Reason.CONFLICT, "a"),
        Refused(Reason.CONFLICT, "b"),
        Refused(Reason.REJECTED, "c"),
    ):
        life.passes(outcome)
    assert told.events == [(EventType.WARNING, "Conflict", "a"), (EventType.WARNING, "Rejected", "c")]


def test_waiting_records_no_event(told: Told) -> None:
    Life(told, identity()).passes(Waiting(Reason.DEPENDENCY_NOT_READY, "m"))
    assert told.events == []


def test_drift_and_its_repair_are_reported_and_counted_once(told: Told) -> None:
    life = Life(told, identity())
    life.passes(InSync())
    life.passes(InSync(), "a", "b")
    life.passes(InSync())
    assert told.reasons == ["Ready", "DriftDetected", "DriftRepaired"]
    assert (told.detected, told.repaired) == (2, 2)
    assert told.events[1][2] == "a; b"


def test_repair_over_two_reconciles_is_reported_at_its_end(told: Told) -> None:
    life = Life(told, identity())
    life.passes(InSync())
    life.passes(Waiting(Reason.UPDATING, "m"), "a")
    assert (told.detected, told.repaired) == (1, 0)
    life.passes(InSync())
    assert (told.detected, told.repaired) == (1, 1)
    assert told.reasons == ["Ready", "DriftDetected", "DriftRepaired", "Ready"]


def test_drift_of_a_project_is_reported_on_detection_and_on_repair(told: Told) -> None:
    life = Life(told, project())
    life.passes(InSync())
    life.passes(Waiting(Reason.UPDATING, "m"), "crossProjectUsage: Denied → Allowed")
    assert (told.detected, told.repaired) == (1, 0)
    life.passes(InSync())
    assert (told.detected, told.repaired) == (1, 1)
    assert told.reasons == ["Ready", "DriftDetected", "DriftRepaired", "Ready"]


def test_no_repair_is_reported_without_drift(told: Told) -> None:
    EventReporter(told, told).report_changes(RAW, ManagedProjectStatus(), ManagedProjectStatus(), ())
    EventReporter(told, told).report_changes(RAW, IAMBindingStatus(), IAMBindingStatus(), ())
    assert told.events == []


def test_note_records_a_normal_event(told: Told) -> None:
    EventReporter(told, told).note(identity(), "KeyPublished", "the Secret has it")
    assert told.events == [(EventType.NORMAL, "KeyPublished", "the Secret has it")]


def test_warn_records_a_warning(told: Told) -> None:
    EventReporter(told, told).warn(identity(), "Abandoned", "the account is left")
    assert told.events == [(EventType.WARNING, "Abandoned", "the account is left")]
