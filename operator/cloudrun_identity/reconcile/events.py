"""Report Events and count drift, on transitions only.

The recorder also writes each Event to the log. So the log has a line when an object starts to fail, and when
it is Ready again.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from cloudrun_identity.api import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    ReconciledStatus,
    Resource,
)
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.kube.resources import Object

from .drift import is_repaired
from .expirations import newly_ended, newly_expiring
from .steps import StepEvent


class EventPort(Protocol):
    """Recorder of Events: `kube.event_recorder.EventRecorder`."""

    def record(self, obj: Object, event_type: EventType, reason: str, message: str) -> None:
        """Record an Event about the raw object, without failing and without waiting."""
        ...


class DriftObserver(Protocol):
    """Counter of drift: `manager.metrics.Metrics`."""

    def drift_detected(self, kind: str, count: int = 1) -> None:
        """Count differences that another actor made."""
        ...

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        """Count differences that were repaired."""
        ...


class EventReporter:
    """Compare the status before and after a reconcile, and report what changed."""

    def __init__(self, events: EventPort, observer: DriftObserver) -> None:
        self._events = events
        self._observer = observer

    def report_changes(
        self, raw: Object, before: ReconciledStatus, after: ReconciledStatus, drift: tuple[str, ...]
    ) -> None:
        """Report the drift that this reconcile found, its repair, and the transitions of conditions."""
        if not drift and before == after:  # most reconciles
            return
        if drift:
            self._observer.drift_detected(raw["kind"], len(drift))
            self._events.record(raw, EventType.WARNING, "DriftDetected", "; ".join(drift))
        self._report_repair(raw, before, after, found=bool(drift))
        self._report_ends(raw, before, after)
        if not self._report_deadline(raw, before, after):
            self._report_readiness(
                raw, before.condition(ConditionType.READY), after.condition(ConditionType.READY)
            )
        self._report_degradation(
            raw, before.condition(ConditionType.DEGRADED), after.condition(ConditionType.DEGRADED)
        )

    def report_notices(self, raw: Object, before: ReconciledStatus, notices: Mapping[str, str]) -> None:
        """Record a Warning for each notice, given by its reason, that the status did not list as an issue."""
        for reason, message in notices.items():
            if not any(issue[:_COMPARED] == message[:_COMPARED] for issue in before.issues):
                self._events.record(raw, EventType.WARNING, reason, message)

    def warn(self, obj: Resource, reason: str, message: str) -> None:
        """Record a Warning about something that no condition keeps."""
        self.warn_about(obj.to_dict(), reason, message)

    def note(self, obj: Resource, reason: str, message: str) -> None:
        """Record a Normal Event."""
        self._events.record(obj.to_dict(), EventType.NORMAL, reason, message)

    def warn_about(self, raw: Object, reason: str, message: str) -> None:
        """Record a Warning about an object that may not fit its kind."""
        self._events.record(raw, EventType.WARNING, reason, message)

    def record(self, obj: Resource, event: StepEvent) -> None:
        """Record the Event of a step that was executed."""
        self._events.record(obj.to_dict(), event.type, event.reason, event.message)

    def _report_repair(
        self, raw: Object, before: ReconciledStatus, after: ReconciledStatus, *, found: bool
    ) -> None:
        if after.drift and is_repaired(after.drift) and (found or not is_repaired(before.drift)):
            self._observer.drift_repaired(raw["kind"], len(after.drift.changes))
            self._events.record(raw, EventType.NORMAL, "DriftRepaired", "; ".join(after.drift.changes))

    def _report_ends(self, raw: Object, before: ReconciledStatus, after: ReconciledStatus) -> None:
        """Report the temporary grants that end within the hour, and those that ended, once each."""
        if soon := newly_expiring(before, after):
            self._events.record(raw, EventType.WARNING, ConditionType.EXPIRING, soon)
        if ended := newly_ended(before, after):
            self._events.record(raw, EventType.NORMAL, Reason.EXPIRED, ended)

    def _report_deadline(self, raw: Object, before: ReconciledStatus, after: ReconciledStatus) -> bool:
        """Report that an object exceeded its progress deadline. Return whether it did in this reconcile."""
        stalled = after.condition(ConditionType.STALLED)
        if stalled is None or after.waiting_since is None or before.condition(ConditionType.STALLED):
            return False
        self._events.record(raw, EventType.WARNING, stalled.reason, stalled.message)
        return True

    def _report_readiness(self, raw: Object, before: Condition | None, after: Condition | None) -> None:
        if after is None or (before and (before.status, before.reason) == (after.status, after.reason)):
            return
        if after.status is ConditionStatus.TRUE:
            self._events.record(raw, EventType.NORMAL, READY, after.message)
        elif after.reason in _WAITS and not (before and before.status is ConditionStatus.TRUE):
            self._events.record(raw, EventType.NORMAL, after.reason, after.message)
        elif after.reason not in _TRANSIENT:
            self._events.record(raw, _TYPES.get(after.reason, EventType.WARNING), after.reason, after.message)

    def _report_degradation(self, raw: Object, before: Condition | None, after: Condition | None) -> None:
        """Report that the operator lacks something in a project, and the end of that."""
        if after is None or (before and (before.status, before.reason) == (after.status, after.reason)):
            return
        if after.status is ConditionStatus.TRUE:
            self._events.record(raw, EventType.WARNING, after.reason, after.message)
        elif before is not None:
            self._events.record(raw, EventType.NORMAL, "Recovered", after.message)


READY: Final = "Ready"
"""Reason of the Event of an object that has become Ready."""

_COMPARED: Final = 200  # characters of an issue; a status cuts longer texts

_TRANSIENT: Final[frozenset[str]] = frozenset(
    {Reason.UPDATING, Reason.DELETING, Reason.PROPAGATION_PENDING, Reason.DRIFT_DETECTED}
)
"""Reasons without an Event: the state ends soon, or `DriftDetected` has an Event with the differences."""

_WAITS: Final[frozenset[str]] = frozenset({Reason.DEPENDENCY_NOT_FOUND, Reason.DEPENDENCY_NOT_READY})
"""Reasons with a Normal Event, unless the object was Ready before: objects may be applied in any order."""

LIMITED: Final[frozenset[str]] = _WAITS | {READY}
"""Reasons that thousands of objects can have together. Their status shows the same; no other Event does."""

_TYPES: Final[Mapping[str, EventType]] = {
    Reason.SUSPENDED: EventType.NORMAL,
    Reason.OLD_REVISION_SERVING: EventType.NORMAL,
}
"""Types of the Events of other reasons. The default is Warning."""
