"""Delivery of watch events from the thread of kopf to the event loop of the process."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

Event = Callable[[], None]
"""Takes in one event, in the loop of the process."""

BATCH_SECONDS = 0.01
"""Time for which events are taken in before other work of the loop has its turn."""

MAX_WAITING = 200
"""Events that may wait for the loop. The thread pauses while there are more."""

_PAUSE = 0.02


class EventDelivery:
    """Takes events from another thread, and runs them in the event loop that created it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._events: deque[Event] = deque()
        self._is_woken = False
        self._is_ended = False

    def put(self, event: Event) -> None:
        """Run `event` after all events that were put before.

        Waking the loop costs more than an event. It is therefore woken once for all events that wait.
        """
        self._events.append(event)
        if not self._is_woken:
            self._is_woken = True
            self._wake(self._take_in)

    def put_first(self, event: Event) -> None:
        """Run `event` in the next iteration of the loop, however many others wait."""
        self._wake(lambda: self._run(event))

    async def room(self) -> None:
        """Wait, in the other thread, while more than `MAX_WAITING` events wait."""
        while len(self._events) > MAX_WAITING and not self._is_ended:  # noqa: ASYNC110 - another loop empties it
            await asyncio.sleep(_PAUSE)

    def end(self) -> None:
        """Run no more events."""
        self._is_ended = True

    def _wake(self, callback: Callable[[], None]) -> None:
        if not self._is_ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _take_in(self) -> None:
        """Run the events that wait, for `BATCH_SECONDS` and at least one."""
        self._is_woken = False  # first: an event that is put from now on wakes the loop
        until = self._clock() + BATCH_SECONDS
        try:
            while self._events:
                self._run(self._events.popleft())
                if self._clock() >= until:
                    break
        finally:
            if self._events and not self._is_woken:
                self._is_woken = True
                self._loop.call_soon(self._take_in)

    def _run(self, event: Event) -> None:
        if not self._is_ended:
            event()
