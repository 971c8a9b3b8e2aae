"""State of all objects of a cluster, as a person on duty needs it (`ClusterStatus`)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import ValidationError

from cloudrun_identity.api import KINDS, ConditionType, Drift, ReconciledStatus, Resource
from cloudrun_identity.api.status import Condition, ConditionStatus, Reason
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.kube.resources import Object

RECENT = timedelta(hours=24)
"""Age up to which drift is shown."""


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


Parse = Callable[[Object], Resource]
"""Returns the model of an object. Raises ValidationError."""


def parsed(raw: Object) -> Resource:
    """Return the model of an object with its `kind`. Raises ValidationError."""
    return KINDS[raw["kind"]].model_validate(raw)


def status_of(objects: Iterable[Object], now: datetime, parse: Parse = parsed) -> ClusterStatus:
    """Return the state of objects, each with its `kind`."""
    order = list(State)
    found = sorted(
        (_object_status(raw, now, parse) for raw in objects),
        key=lambda each: (order.index(each.state), each.namespace, each.kind, each.name),
    )
    return ClusterStatus(tuple(found), now)


def _object_status(raw: Object, now: datetime, parse: Parse) -> ObjectStatus:
    kind, metadata = raw["kind"], raw["metadata"]
    key = kind, metadata.get("namespace", ""), metadata["name"]
    try:
        status = getattr(parse(raw), "status", None)
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


def age(elapsed: timedelta) -> str:
    """Return a duration in the largest unit that fits, as kubectl shows ages: `45s`, `12m`, `3h`, `6d`."""
    seconds = max(0, int(elapsed.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
