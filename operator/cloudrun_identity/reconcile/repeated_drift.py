"""Drift that returns after each repair: another client writes what the operator manages.

Two clusters that manage one Google Cloud project revert each other's changes in this way.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from .cluster_state import ObjectKey

ROUNDS: Final = 3
"""Number of times after which the same drift counts as repeated."""

HOUR: Final = 3600.0

INTERVALS: Final = 4
"""Resync intervals in which the drift must return `ROUNDS` times; an hour at least."""

KEPT: Final = 1024
"""Differences that are kept for each project; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class RepeatedDrift:
    """A difference that returned after each repair."""

    key: ObjectKey
    """Object that declares the opposite."""
    change: str
    """Difference, as the status of the object shows it."""

    def __str__(self) -> str:
        """Return the object and the difference."""
        return f"{self.key}: {self.change}"


class DriftHistory:
    """The times of the last repairs in each project. A restart resets them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: defaultdict[str, dict[RepeatedDrift, deque[float]]] = defaultdict(dict)

    def add(self, project_id: str, key: ObjectKey, changes: Iterable[str]) -> None:
        """Note the drift that a reconcile found and repairs."""
        known = self._times[project_id]
        for change in changes:
            drift = RepeatedDrift(key, change)
            times = known.pop(drift, None) or deque(maxlen=ROUNDS)
            times.append(self._clock())
            known[drift] = times
        while len(known) > KEPT:
            del known[next(iter(known))]

    def repeated(self, project_id: str, interval: float) -> tuple[RepeatedDrift, ...]:
        """Return the drift that returned within the last `INTERVALS` resyncs, sorted by object."""
        since = self._clock() - max(HOUR, INTERVALS * interval)
        return tuple(
            sorted(
                (
                    drift
                    for drift, times in self._times.get(project_id, {}).items()
                    if len(times) == ROUNDS and times[0] >= since
                ),
                key=str,
            )
        )
