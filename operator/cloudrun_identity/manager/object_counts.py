"""Counts of the cached objects for the metrics, from the number of objects in each state."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    IdentityKey,
    ManagedProject,
    Reason,
    ReconciledResource,
)


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """The state of all objects at one time, without their names."""

    ready: Mapping[tuple[str, str], int]
    """Number of objects by kind and status of Ready."""
    not_ready: Mapping[tuple[str, str], int]
    """Number of objects that are not Ready, by kind and reason."""
    stalled: Mapping[str, int]
    """Number of stalled objects by kind, also if it is 0."""
    overdue: float
    """Seconds since the oldest rotation of a key was due that has not taken place; 0 if none is due."""
    feeds_not_ready: Mapping[str, int]
    """Number of ManagedProjects whose change feed is not ready, by reason."""


class ObjectState(NamedTuple):
    """The state of one object, as far as the metrics show it. Many objects have the same."""

    kind: str
    ready: ConditionStatus
    reason: str
    """Reason why the object is not Ready; empty if it is, or has no condition yet."""
    is_stalled: bool


def state_of(obj: ReconciledResource) -> ObjectState:
    """Return the state of a valid object."""
    ready, stalled = obj.status.condition(ConditionType.READY), obj.status.condition(ConditionType.STALLED)
    status = ready.status if ready else ConditionStatus.UNKNOWN
    return ObjectState(
        type(obj).__name__,
        status,
        ready.reason if ready and status is not ConditionStatus.TRUE else "",
        stalled is not None and stalled.status is ConditionStatus.TRUE,
    )


def invalid_state(kind: str) -> ObjectState:
    """Return the state of an invalid object: it is not Ready and stalled."""
    return ObjectState(kind, ConditionStatus.FALSE, Reason.INVALID_SPEC, is_stalled=True)


def counts_of(
    states: Mapping[ObjectState, int],
    keys: Iterable[IdentityKey],
    projects: Iterable[ManagedProject],
    kinds: Iterable[str],
    now: datetime,
) -> ObjectCounts:
    """Return the counts of objects from the number of objects in each state.

    `keys` and `projects` are the valid objects of these kinds.
    """
    ready: Counter[tuple[str, str]] = Counter()
    not_ready: Counter[tuple[str, str]] = Counter()
    stalled: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    for state, count in states.items():
        ready[state.kind, state.ready] += count
        if state.reason:
            not_ready[state.kind, state.reason] += count
        if state.is_stalled:
            stalled[state.kind] += count
    due = [key.status.next_rotation_time for key in keys if key.status.next_rotation_time]
    feeds = [
        project.status.condition(ConditionType.CHANGE_FEED_READY)
        for project in projects
        if not project.spec.suspend
    ]
    return ObjectCounts(
        ready,
        not_ready,
        stalled,
        overdue=max(0.0, (now - min(due)).total_seconds()) if due else 0.0,
        feeds_not_ready=Counter(
            feed.reason for feed in feeds if feed and feed.status is ConditionStatus.FALSE
        ),
    )
