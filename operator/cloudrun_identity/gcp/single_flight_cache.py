"""Reads that are shared by everybody who accepts their age."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .ratelimit import start_shared

Clock = Callable[[], float]
"""Monotonic seconds."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reading(Generic[Value]):
    """What was read, and when the read began: it shows at least everything written before that."""

    value: Value
    began: float


class SingleFlightCache(Generic[Value]):
    """The latest reading of one thing, and the one under way."""

    def __init__(self, read: Callable[[], Awaitable[Value]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._latest: Reading[Value] | None = None
        self._flight: tuple[float, asyncio.Task[Reading[Value]]] | None = None

    @property
    def latest(self) -> Reading[Value] | None:
        """What was read last, whatever its age; None if nothing ever was."""
        return self._latest

    async def get(self, after: float) -> Reading[Value]:
        """The latest reading, if it began after the time `after` on the clock; else one made now.

        Raises whatever the read raises, to everybody who shares it; a failure is not kept.
        """
        if self._latest is not None and self._latest.began > after:
            return self._latest
        if self._flight is None or self._flight[0] <= after:
            self._flight = self._depart()
        _, task = self._flight
        # Shielded: whoever gives up waiting must not take the others' answer away.
        reading = await asyncio.shield(task)
        # A flight that left later may have landed earlier.
        return reading if self._latest is None else self._latest

    def _depart(self) -> tuple[float, asyncio.Task[Reading[Value]]]:
        began = self._clock()
        task = start_shared(self._fly(began), name="shared read")
        task.add_done_callback(self._arrive)
        return began, task

    async def _fly(self, began: float) -> Reading[Value]:
        reading = Reading(await self._read(), began)
        # Not in the callback: whoever awaits a task that is done goes on at once, before its callbacks run.
        if self._latest is None or self._latest.began < began:
            self._latest = reading
        return reading

    def _arrive(self, task: asyncio.Task[Reading[Value]]) -> None:
        if self._flight is not None and self._flight[1] is task:
            self._flight = None
        if not task.cancelled():
            task.exception()  # or asyncio complains of one that nobody waited for


class CacheTable(Generic[Key, Value]):
    """Readings of many things: those that were asked about last, lest they grow with all that ever was."""

    def __init__(self, clock: Clock, capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._readings: dict[Key, SingleFlightCache[Value]] = {}

    async def get(self, key: Key, read: Callable[[], Awaitable[Value]], max_age: float) -> Value:
        """What `read` says of the thing, or said at most `max_age` seconds ago; raises what it raises."""
        aged = self._readings.pop(key, None) or SingleFlightCache(read, self._clock)
        self._readings[key] = aged
        if len(self._readings) > self._capacity:
            del self._readings[next(iter(self._readings))]
        return (await aged.get(self._clock() - max_age)).value

    def latest(self, key: Key) -> Value | None:
        """What was read last of the thing, without a read; None if it never was, or is forgotten."""
        aged = self._readings.get(key)
        reading = aged.latest if aged else None
        return reading.value if reading else None

    def forget(self, key: Key) -> None:
        """Have the thing read anew, whatever is known of it."""
        self._readings.pop(key, None)
