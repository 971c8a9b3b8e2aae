"""History of objects: what happened to them and when, from their status and their Events."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    Drift,
    IdentityAttachment,
    IdentityKey,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
)
from cloudrun_identity.api.identity_key import KeyState
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.kube.resources import Object

NEGATIVE = frozenset(
    {ConditionType.STALLED, ConditionType.DEGRADED, ConditionType.RECONCILING, ConditionType.EXPIRING}
)
"""Conditions of which True is the state that needs attention."""

DRIFT_EVENTS = frozenset({"DriftDetected", "DriftRepaired"})
"""Reasons of Events about drift."""

GOOD_EVENTS = frozenset({"DriftRepaired", ConditionType.READY.value})
"""Reasons of Events that something works, or works again."""

EVENT_DELAY = timedelta(seconds=5)
"""Maximum time between a status and the Event about the same thing."""


class Tone(StrEnum):
    """Meaning of an entry for a person."""

    GOOD = "Good"
    """Something works, or works again."""
    NEUTRAL = "Neutral"
    """Something happened as declared."""
    WARNING = "Warning"
    """Something differs from what is declared, or will end."""
    BAD = "Bad"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, or will happen."""

    time: datetime
    """Time at which it happened, or will happen."""
    subject: str
    """The object, as `KIND NAME`."""
    title: str
    """Event in a few words."""
    text: str = ""
    """Details."""
    tone: Tone = Tone.NEUTRAL
    """Meaning of the entry."""
    changes: tuple[str, ...] = ()
    """The differences, of an entry about drift."""
    causes: tuple[Cause, ...] = ()
    """The calls that caused the differences, as far as the change feed reported them."""


def history_of(objects: Iterable[ReconciledResource], events: Iterable[Object]) -> tuple[Entry, ...]:
    """Return the history of objects, the newest entry first.

    The API server keeps Events for an hour. A status has the last drift, and the last change of each
    condition.
    """
    known = list(objects)
    by_uid = {obj.metadata.uid: obj for obj in known}
    entries = [entry for obj in known for entry in _entries(obj)]
    for event in events:
        obj = by_uid.get((event.get("involvedObject") or {}).get("uid", ""))
        if obj and (entry := _event(obj, event)) and not _is_known(entry, obj):
            entries.append(entry)
    return newest_first(entries)


def drift_of(obj: ReconciledResource) -> Iterator[Entry]:
    """Yield the last detection and the last repair of drift of an object."""
    drift = obj.status.drift
    if not drift or not drift.last_detected_time:
        return
    times = "time" if drift.count == 1 else "times"
    count = f"{drift.count} {times} since the object was created"
    yield Entry(
        time=drift.last_detected_time,
        subject=_subject(obj),
        title="Drift detected",
        text=count,
        tone=Tone.WARNING,
        changes=drift.changes,
        causes=causes_of(drift),
    )
    if drift.last_repaired_time:
        yield Entry(drift.last_repaired_time, _subject(obj), "Drift repaired", "", Tone.GOOD)


def causes_of(drift: Drift) -> tuple[Cause, ...]:
    """Return the calls that caused drift, the first call first."""
    causes = (
        Cause(each.method, each.time, each.principal or "", each.user_agent or "") for each in drift.causes
    )
    return tuple(sorted(causes, key=lambda cause: cause.time))


def newest_first(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries in the order of a page."""
    return tuple(sorted(entries, key=lambda each: (each.time, each.subject, each.title), reverse=True))


def _entries(obj: ReconciledResource) -> Iterator[Entry]:
    subject = _subject(obj)
    if obj.metadata.creation_timestamp:
        yield Entry(obj.metadata.creation_timestamp, subject, "Created in Kubernetes")
    if obj.metadata.deletion_timestamp:
        yield Entry(obj.metadata.deletion_timestamp, subject, "Deletion requested", "", Tone.WARNING)
    for condition in obj.status.conditions:
        tone = _tone(condition.type, condition.status)
        if tone is Tone.GOOD and condition.type != ConditionType.READY:
            continue  # Ready includes it
        title = f"{condition.type} is {condition.status}: {condition.reason}"
        title = condition.type if condition.reason == Reason.UP_TO_DATE else title
        yield Entry(condition.last_transition_time, subject, title, condition.message, tone)
    yield from drift_of(obj)
    if isinstance(obj, ProjectScopedResource):
        yield from _grants(obj)
    if isinstance(obj, IdentityKey):
        yield from _keys(obj)
    if isinstance(obj, IdentityAttachment) and (last := obj.status.last_reassignment):
        title = "Workload reassigned" if not last.error else "Rollout failed"
        tone = Tone.BAD if last.error else Tone.NEUTRAL
        yield Entry(last.time, subject, title, last.error or f"It runs as {last.service_account}", tone)


def _grants(obj: ProjectScopedResource) -> Iterator[Entry]:
    status = obj.status
    if status.last_granted_time:
        count = status.grant_counts.granted if status.grant_counts else len(status.grants)
        yield Entry(status.last_granted_time, _subject(obj), "Grants made", f"{count} granted in all")
    if status.next_expiry_time:
        yield Entry(status.next_expiry_time, _subject(obj), "Temporary grant ends", "", Tone.WARNING)


def _keys(obj: IdentityKey) -> Iterator[Entry]:
    subject = _subject(obj)
    for key in obj.status.keys:
        short = key.id[:8]
        yield Entry(key.created_time, subject, f"Key {short} created", f"Its state is {key.state}")
        if key.disable_after and key.state is not KeyState.DISABLED:
            yield Entry(key.disable_after, subject, f"Key {short} is disabled", "", Tone.WARNING)
        if key.delete_after:
            yield Entry(key.delete_after, subject, f"Key {short} is deleted")
    if obj.status.next_rotation_time:
        yield Entry(obj.status.next_rotation_time, subject, "Next rotation of the key")


def _event(obj: ReconciledResource, event: Object) -> Entry | None:
    stamp = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    if not stamp:
        return None
    count = event.get("count") or 1
    return Entry(
        datetime.fromisoformat(stamp).astimezone(UTC),
        _subject(obj),
        str(event.get("reason", "Event")),
        f"{event.get('message', '')}{f' ({count} times)' if count > 1 else ''}",
        _event_tone(event),
    )


def _is_known(entry: Entry, obj: ReconciledResource) -> bool:
    """Return whether an Event is about the drift, or about the condition, that the status reports."""
    drift = obj.status.drift
    times = [each.last_transition_time for each in obj.status.conditions if each.message == entry.text]
    if drift and entry.title in DRIFT_EVENTS:
        times += [each for each in (drift.last_detected_time, drift.last_repaired_time) if each]
    return any(abs(each - entry.time) <= EVENT_DELAY for each in times)


def _event_tone(event: Object) -> Tone:
    if event.get("type") == "Warning":
        return Tone.WARNING
    return Tone.GOOD if event.get("reason") in GOOD_EVENTS else Tone.NEUTRAL


def _tone(condition: str, status: ConditionStatus) -> Tone:
    is_negative = condition in NEGATIVE
    match status:
        case ConditionStatus.TRUE:
            return Tone.WARNING if is_negative else Tone.GOOD
        case ConditionStatus.FALSE:
            return Tone.GOOD if is_negative else Tone.BAD
        case _:
            return Tone.NEUTRAL


def _subject(obj: ReconciledResource) -> str:
    return f"{obj.kind} {obj.metadata.name}"
