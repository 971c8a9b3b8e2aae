"""Causes that arrive after the repair of drift, which a resync or a reconcile found before its entry arrived.

The entry then adds the cause to the status of the object, in a reconcile that accepts earlier reads of Google
Cloud, as in a resync.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .attribution import Attribution, CauseLookup, Causes
from .cluster_state import ObjectKey

MAX_DELAY: Final = timedelta(minutes=10)
"""Time for which the entry of repaired drift is awaited. Google publishes no delay of log sinks."""

KEPT: Final = 1024
"""Objects whose drift is kept; the oldest is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnexplainedDrift:
    """Drift of one object in its status, whose cause is not known yet."""

    project_id: str
    """Project of the object."""
    key: ObjectKey
    """Object with the drift."""
    detected: datetime
    """Time at which the operator found the drift. A later call is no cause of it."""
    repaired_before: datetime | None
    """Time of the last repair before. An earlier call is no cause of this drift."""
    drift: tuple[str, ...]
    """Differences, as `drift.drift_of` returns them."""
    lookup: CauseLookup
    """Looks their causes up."""
    used: frozenset[tuple[str, datetime]] = frozenset()
    """Differences with the times of causes that have explained them before."""

    def attributions(self, causes: Causes) -> Mapping[str, Attribution]:
        """Return the causes that are known by now."""
        return {
            each: found
            for each, found in self.lookup.attributions(causes).items()
            if self._may_explain(each, found.cause.time)
        }

    def _may_explain(self, difference: str, at: datetime) -> bool:
        is_after_repair = self.repaired_before is None or at > self.repaired_before
        return is_after_repair and at <= self.detected and (difference, at) not in self.used


class LateCauses:
    """The drift of the last minutes without a known cause, by object. It is empty after a restart."""

    def __init__(self) -> None:
        self._awaited: dict[ObjectKey, tuple[UnexplainedDrift, int]] = {}

    def add(self, drift: UnexplainedDrift, causes: Causes) -> None:
        """Wait for the causes of the last drift of an object. `causes` has those that are known by now."""
        self.drop(drift.key)
        self._drop_old(drift.detected)
        self._awaited[drift.key] = drift, len(drift.attributions(causes))
        if len(self._awaited) > KEPT:
            del self._awaited[next(iter(self._awaited))]

    def drop(self, key: ObjectKey) -> None:
        """Wait no longer for the causes of an object's drift."""
        self._awaited.pop(key, None)

    def explained(self, key: ObjectKey, causes: Causes) -> UnexplainedDrift | None:
        """Return the last drift of an object, if more of its causes are known than when it was found."""
        drift, known = self._awaited.get(key, (None, 0))
        return drift if drift and len(drift.attributions(causes)) > known else None

    def all_explained(self, causes: Causes, now: datetime) -> tuple[ObjectKey, ...]:
        """Return the objects with drift that is explained by now, until it is dropped."""
        self._drop_old(now)
        return tuple(key for key in self._awaited if self.explained(key, causes))

    def _drop_old(self, now: datetime) -> None:
        """Drop the drift whose entry is not awaited any more. The oldest is the first."""
        while self._awaited:
            key, (oldest, _) = next(iter(self._awaited.items()))
            if now - oldest.detected <= MAX_DELAY:
                return
            del self._awaited[key]
