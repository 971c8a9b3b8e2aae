"""Eventual consistency of new service accounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .switches import FlappingReads, Switches


class Lag:
    """Accounts that are not visible everywhere yet. The switch `lag` sets how long that takes.

    Reads of the account alternate between found and not found, and policies refuse it. In recordings, reads
    right after a create answer 200, 404, 200, 404 for seconds, and a policy write that names the account is
    refused with 400 even after a read found it.
    """

    def __init__(self, clock: Callable[[], float], switches: Switches) -> None:
        self._switches = switches
        self._clock = clock
        self._events: dict[str, float] = {}
        self._reads: Counter[str] = Counter()

    def begin(self, key: str) -> None:
        """Start the lag of `key`."""
        if self._switches.lag:
            self._events[key] = self._clock()
            self._reads[key] = 0

    def lasts(self, key: str) -> bool:
        """Return whether the lag of `key` lasts."""
        happened = self._events.get(key)
        return happened is not None and self._clock() < happened + self._switches.lag.total_seconds()

    def hides_from_read(self, key: str, *, first: bool = False) -> bool:
        """Return whether this read of `key` misses the event. During the lag, every second read does.

        With `first`, the first read misses it (a disabled account still looks enabled). Otherwise the second
        one is the first to miss it (a created account).
        """
        if not self.lasts(key) or self._switches.flapping_reads is FlappingReads.NONE:
            return False
        read = self._reads[key]
        self._reads[key] += 1
        return read % 2 == (0 if first else 1)

    @property
    def forbids(self) -> bool:
        """Return whether a read that misses an account answers 403 instead of 404. Users report both."""
        return self._switches.flapping_reads is FlappingReads.FORBIDDEN
