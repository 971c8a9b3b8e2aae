"""Counts of the cached objects for the metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

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


def counts_of(
    valid: Iterable[ReconciledResource], invalid: Iterable[str], kinds: Iterable[str], now: datetime
) -> ObjectCounts:
    """Return the counts of the valid objects and of invalid ones, which are given as their kinds.

    An invalid object is not Ready and stalled.
    """
    ready: Counter[tuple[str, str]] = Counter()
    not_ready: Counter[tuple[str, str]] = Counter()
    stalled: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    feeds_not_ready: Counter[str] = Counter()
    overdue = 0.0
    for kind in invalid:
        ready[kind, ConditionStatus.FALSE] += 1
        not_ready[kind, Reason.INVALID_SPEC] += 1
        stalled[kind] += 1
    for obj in valid:
        kind = type(obj).__name__
        condition = obj.status.condition(ConditionType.READY)
        status = condition.status if condition else ConditionStatus.UNKNOWN
        ready[kind, status] += 1
        if condition and status is not ConditionStatus.TRUE:
            not_ready[kind, condition.reason] += 1
        if (found := obj.status.condition(ConditionType.STALLED)) and found.status is ConditionStatus.TRUE:
            stalled[kind] += 1
        if isinstance(obj, IdentityKey) and obj.status.next_rotation_time:
            overdue = max(overdue, (now - obj.status.next_rotation_time).total_seconds())
        if isinstance(obj, ManagedProject) and not obj.spec.suspend:
            feed = obj.status.condition(ConditionType.CHANGE_FEED_READY)
            if feed and feed.status is ConditionStatus.FALSE:
                feeds_not_ready[feed.reason] += 1
    return ObjectCounts(ready, not_ready, stalled, overdue, feeds_not_ready)
