"""State of all objects of a cluster, as a person on duty needs it (`ClusterStatus`)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

import click
from pydantic import ValidationError

from cloudrun_identity.api import KINDS, ConditionType, Drift, ReconciledStatus
from cloudrun_identity.api.status import Condition, ConditionStatus, Reason
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.kube.resources import Object

RECENT = timedelta(hours=24)
"""Age up to which drift is shown."""

MAX_MESSAGE = 240
"""Maximum number of characters of a message in the text. The next command shows the rest."""


class State(StrEnum):
    """States of an object, the most urgent first."""

    NEEDS_ATTENTION = "NeedsAttention"
    """The operator cannot continue until a person acts."""
    OBSERVED = "Observed"
    """The operator only reports differences, as `managementPolicy: Observe` demands."""
    WAITING = "Waiting"
    """The operator continues when something else has changed."""
    SUSPENDED = "Suspended"
    """The operator does nothing, as `suspend: true` demands."""
    READY = "Ready"
    """The present spec is effective."""


HEADINGS = {
    State.NEEDS_ATTENTION: "Needs attention",
    State.OBSERVED: "Differences that are only observed",
    State.WAITING: "Waits",
    State.SUSPENDED: "Suspended",
    State.READY: "Ready",
}
_COLORS = {State.NEEDS_ATTENTION: "red", State.OBSERVED: "yellow", State.WAITING: "cyan"}


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """State of one object."""

    kind: str
    """Kind."""
    namespace: str
    """Namespace; empty for a cluster-scoped object."""
    name: str
    """Name."""
    state: State
    """State."""
    reason: str
    """Reason of the Ready condition, or of Degraded; empty before the first reconcile."""
    message: str
    """Message of this condition."""
    since: datetime | None
    """Time at which this condition last changed."""
    advice: tuple[str, ...]
    """Entries of `status.issues`."""
    drift: Drift | None
    """Drift in the last 24 hours."""

    @property
    def next_command(self) -> str:
        """The command that explains or repairs the state."""
        where = f" --namespace {self.namespace}" if self.namespace else ""
        match self.reason:
            case Reason.PERMISSION_DENIED | Reason.API_DISABLED | "MissingPermissions":
                return "cloudrun-identity check"
            case Reason.LEDGER_INVALID:
                return "cloudrun-identity recover"
            case Reason.SUSPENDED:
                patch = """--type merge --patch '{"spec": {"suspend": false}}'"""
                return f"kubectl patch {self.kind.lower()} {self.name}{where} {patch}"
            case _:
                return f"kubectl describe {self.kind.lower()} {self.name}{where}"


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """State of the objects of a cluster or of one namespace."""

    objects: tuple[ObjectStatus, ...]
    """All objects, by state, namespace, kind and name."""
    now: datetime
    """Time of the read."""

    @property
    def needs_attention(self) -> bool:
        """True if the operator cannot continue with an object until a person acts."""
        return any(each.state is State.NEEDS_ATTENTION for each in self.objects)

    def in_state(self, state: State) -> list[ObjectStatus]:
        """Return the objects in a state."""
        return [each for each in self.objects if each.state is state]


def status_of(objects: Iterable[Object], now: datetime) -> ClusterStatus:
    """Return the state of objects, each with its `kind`."""
    order = list(State)
    found = sorted(
        (_object_status(raw, now) for raw in objects),
        key=lambda each: (order.index(each.state), each.namespace, each.kind, each.name),
    )
    return ClusterStatus(tuple(found), now)


def _object_status(raw: Object, now: datetime) -> ObjectStatus:
    kind, metadata = raw["kind"], raw["metadata"]
    key = kind, metadata.get("namespace", ""), metadata["name"]
    try:
        status = getattr(KINDS[kind].model_validate(raw), "status", None)
    except ValidationError as error:
        message = f"The object is invalid: {misfits(error)[0]}"
        return ObjectStatus(*key, State.NEEDS_ATTENTION, Reason.INVALID_SPEC, message, None, (), None)
    if not isinstance(status, ReconciledStatus):
        status = ReconciledStatus()
    ready = _degraded(status) or status.condition(ConditionType.READY)
    drift = status.drift
    is_recent = drift and drift.last_detected_time and now - drift.last_detected_time < RECENT
    return ObjectStatus(
        *key,
        _state(status, metadata.get("generation", 0), is_deleted="deletionTimestamp" in metadata),
        ready.reason if ready else "",
        ready.message if ready else "The operator has not reconciled the object yet",
        ready.last_transition_time if ready else None,
        status.issues,
        drift if is_recent else None,
    )


def _degraded(status: ReconciledStatus) -> Condition | None:
    """Return the condition that the operator lacks something in a project that is Ready."""
    ready, degraded = status.condition(ConditionType.READY), status.condition(ConditionType.DEGRADED)
    is_ready = ready is not None and ready.status is ConditionStatus.TRUE
    return degraded if is_ready and degraded and degraded.status is ConditionStatus.TRUE else None


def _state(status: ReconciledStatus, generation: int, *, is_deleted: bool) -> State:
    ready, stalled = status.condition(ConditionType.READY), status.condition(ConditionType.STALLED)
    if stalled and stalled.status is ConditionStatus.TRUE:
        return State.NEEDS_ATTENTION
    if ready is None or is_deleted or status.observed_generation != generation:
        return State.WAITING
    match ready.status, ready.reason:
        case ConditionStatus.TRUE, _:
            return State.NEEDS_ATTENTION if _degraded(status) else State.READY
        case _, Reason.SUSPENDED:
            return State.SUSPENDED
        case _, Reason.DRIFT_DETECTED:
            return State.OBSERVED
        case _:
            return State.WAITING


def as_text(status: ClusterStatus, *, colors: bool) -> Iterator[str]:
    """Yield the objects that are not Ready with their next commands, drift, advice, and the counts."""

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if colors else text

    for state in State:
        found = status.in_state(state)
        if not found or state is State.READY:
            continue
        yield styled(f"{HEADINGS[state]}: {len(found)}", bold=True, fg=_COLORS.get(state))
        for namespace, listed in groupby(found, key=lambda each: each.namespace):
            yield f"  {_namespace(namespace)}"
            for each in listed:
                since = f" for {age(status.now - each.since)}" if each.since else ""
                reason = f"{each.reason}{since}: " if each.reason else ""
                yield f"    {each.kind} {each.name}: {reason}{_shortened(each.message)}"
                yield styled(f"      {each.next_command}", dim=True)
    yield from _drift(status)
    yield from _advice(status)
    ready = status.in_state(State.READY)
    if ready:
        by_namespace = Counter(each.namespace for each in ready)
        counts = ", ".join(f"{_namespace(each)} {count}" for each, count in sorted(by_namespace.items()))
        yield styled(f"{HEADINGS[State.READY]}: {len(ready)}", bold=True, fg="green") + f" ({counts})"
    if not status.objects:
        yield "There are no objects."


def _drift(status: ClusterStatus) -> Iterator[str]:
    drifted = [(each, each.drift) for each in status.objects if each.drift]
    if not drifted:
        return
    yield f"Drift in the last 24 hours: {len(drifted)} {_plural('object', len(drifted))}"
    for each, drift in drifted:
        times = f"{drift.count} {_plural('time', drift.count)} since its creation"
        ago = f"{age(status.now - drift.last_detected_time)} ago" if drift.last_detected_time else ""
        yield f"  {_namespace(each.namespace)} {each.kind} {each.name}: {ago}, {times}"
        yield from (f"    {change}" for change in drift.changes)


def _advice(status: ClusterStatus) -> Iterator[str]:
    advised = [each for each in status.in_state(State.READY) if each.advice]
    if not advised:
        return
    yield f"Advice on Ready objects: {len(advised)}"
    for each in advised:
        yield from (
            f"  {_namespace(each.namespace)} {each.kind} {each.name}: {_shortened(issue)}"
            for issue in each.advice
        )


def as_data(status: ClusterStatus) -> dict[str, object]:
    """Return the status for `-o json` and `-o yaml`."""
    return {
        "needsAttention": status.needs_attention,
        "counts": {state.value: len(status.in_state(state)) for state in State},
        "objects": [
            {
                "kind": each.kind,
                "namespace": each.namespace,
                "name": each.name,
                "state": each.state.value,
                "reason": each.reason,
                "message": each.message,
                "since": each.since.isoformat() if each.since else None,
                "nextCommand": None if each.state is State.READY else each.next_command,
                "issues": list(each.advice),
                "drift": each.drift.model_dump(mode="json", by_alias=True) if each.drift else None,
            }
            for each in status.objects
        ],
    }


def age(elapsed: timedelta) -> str:
    """Return a duration in the largest unit that fits, as kubectl shows ages: `45s`, `12m`, `3h`, `6d`."""
    seconds = max(0, int(elapsed.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _namespace(namespace: str) -> str:
    return namespace or "(cluster)"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
