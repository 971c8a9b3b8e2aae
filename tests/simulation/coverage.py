"""Counts of what the histories of a run reached."""

import time
from collections import Counter

from .generator import ACTIONS, CHECKPOINTS
from .result import Result

PROGRESS_INTERVAL = 30.0
"""Seconds between two lines of progress."""


class Coverage:
    """Counts of the histories since its creation."""

    def __init__(self) -> None:
        self._started = self._shown = time.perf_counter()
        self._histories = 0
        self._virtual_seconds = 0.0
        self._actions: Counter[str] = Counter()
        self._checkpoints: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()

    def add(self, result: Result) -> None:
        """Count a history."""
        self._histories += 1
        self._virtual_seconds += result.seconds
        self._actions += result.actions
        self._checkpoints += result.checkpoints
        self._pairs += result.pairs

    def progress(self, bad: int) -> str:
        """Return a line from time to time, otherwise an empty text."""
        if time.perf_counter() - self._shown > PROGRESS_INTERVAL:
            self._shown = time.perf_counter()
            return self._totals(bad)
        return ""

    def summary(self, bad: int) -> str:
        """Return all counts."""
        missing = sorted(set(CHECKPOINTS) - self._checkpoints.keys())
        possible = len(ACTIONS) * len(CHECKPOINTS)
        return "\n".join(
            (
                self._totals(bad),
                f"actions: {_listed(self._actions)}",
                f"checkpoints: {_listed(self._checkpoints)}",
                f"checkpoints not reached: {', '.join(missing) or 'none'}",
                f"pairs of action and checkpoint: {len(self._pairs)} of {possible}",
            )
        )

    def _totals(self, bad: int) -> str:
        seconds = time.perf_counter() - self._started
        rate = self._histories / seconds * 60
        hours = self._virtual_seconds / 3600
        counts = f"{self._histories} histories, {bad} with violations"
        return f"{counts}, {rate:.0f} a minute, {hours:.0f} simulated hours"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
