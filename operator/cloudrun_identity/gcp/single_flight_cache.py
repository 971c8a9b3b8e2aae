"""Caches whose concurrent callers share one read."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .ratelimit import start_shared_task

Clock = Callable[[], float]
"""Function that returns monotonic seconds."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reading(Generic[Value]):
    """A value, and the time at which its read started. The value shows all writes before that time."""

    value: Value
    started: float


class SingleFlightCache(Generic[Value]):
    """Cache of one value. At most one read is in flight for all callers that accept its age."""

    def __init__(self, read: Callable[[], Awaitable[Value]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._latest: Reading[Value] | None = None
        self._in_flight: tuple[float, asyncio.Task[Reading[Value]]] | None = None

    @property
    def latest(self) -> Reading[Value] | None:
        """Latest reading, of any age; None before the first."""
        return self._latest

    async def get(self, after: float) -> Reading[Value]:
        """Return the latest reading if it started after the time `after`. Otherwise read.

        The exception of a read is raised to all callers that share it, and is not cached.
        """
        if self._latest is not None and self._latest.started > after:
            return self._latest
        if self._in_flight is None or self._in_flight[0] <= after:
            self._in_flight = self._start_read()
        _, task = self._in_flight
        # Shielded: a caller that is canceled must not cancel the read of the others.
        reading = await asyncio.shield(task)
        # A read that started later may have finished earlier.
        return reading if self._latest is None else self._latest

    def _start_read(self) -> tuple[float, asyncio.Task[Reading[Value]]]:
        started = self._clock()
        task = start_shared_task(self._run_read(started), name="shared read")
        task.add_done_callback(self._on_done)
        return started, task

    async def _run_read(self, started: float) -> Reading[Value]:
        reading = Reading(await self._read(), started)
        # Not in the callback: a caller that awaits a finished task continues before its callbacks run.
        if self._latest is None or self._latest.started < started:
            self._latest = reading
        return reading

    def _on_done(self, task: asyncio.Task[Reading[Value]]) -> None:
        if self._in_flight is not None and self._in_flight[1] is task:
            self._in_flight = None
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs the exception of a read that no caller awaits


class KeyedSingleFlightCache(Generic[Key, Value]):
    """A `SingleFlightCache` per key, for the `capacity` most recently requested keys."""

    def __init__(self, clock: Clock, capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._caches: dict[Key, SingleFlightCache[Value]] = {}

    async def get(self, key: Key, read: Callable[[], Awaitable[Value]], max_age: float) -> Value:
        """Return the value of the key, read with `read` unless it is at most `max_age` seconds old."""
        cache = self._caches.pop(key, None) or SingleFlightCache(read, self._clock)
        self._caches[key] = cache
        if len(self._caches) > self._capacity:
            del self._caches[next(iter(self._caches))]
        return (await cache.get(self._clock() - max_age)).value

    def latest(self, key: Key) -> Value | None:
        """Return the latest value of the key, of any age, without a read; None if there is none."""
        cache = self._caches.get(key)
        reading = cache.latest if cache else None
        return reading.value if reading else None

    def forget(self, key: Key) -> None:
        """Drop the value of the key, so that the next `get` reads."""
        self._caches.pop(key, None)
