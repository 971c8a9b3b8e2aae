"""Eventual consistency of fresh service accounts, as a switch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .switches import FlappingReads, Switches


class Lag:
    """What is not known everywhere yet, for as long after an event on an account as the switch `lag` says.

    Reads of the account flap, and policies do not know it. The recordings show reads right after a create
    answering 200, 404, 200, 404 over seconds, and a policy write that names the account refused with 400
    even after a good read.
    """

    def __init__(self, clock: Callable[[], float], switches: Switches) -> None:
        self._switches = switches
        self._clock = clock
        self._events: dict[str, float] = {}
        self._reads: Counter[str] = Counter()

    def begin(self, key: str) -> None:
        """Something happened to `key` just now."""
        if self._switches.lag:
            self._events[key] = self._clock()
            self._reads[key] = 0

    def lasts(self, key: str) -> bool:
        """Whether the event on `key` may still be unknown to parts of the cloud."""
        happened = self._events.get(key)
        return happened is not None and self._clock() < happened + self._switches.lag.total_seconds()

    def hides_from_read(self, key: str, *, first: bool = False) -> bool:
        """Whether this read of `key` misses the event: every other one does while the lag lasts.

        `first`: the first read misses it already (a disabled account still looks enabled),
        otherwise the second one is the first to (a created account).
        """
        if not self.lasts(key) or self._switches.flapping_reads is FlappingReads.NONE:
            return False
        read = self._reads[key]
        self._reads[key] += 1
        return read % 2 == (0 if first else 1)

    @property
    def forbids(self) -> bool:
        """Whether a read that misses an account answers 403, which users report, instead of 404."""
        return self._switches.flapping_reads is FlappingReads.FORBIDDEN
