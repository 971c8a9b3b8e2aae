"""Event loop with a virtual clock: it never waits, and every run of a seed is the same.

The loop has one source of events, its timers. When nothing is ready, the clock jumps to the next timer. All
clocks of Python follow: `time.time`, `time.monotonic` and `datetime.now` (by time-machine). The random
numbers of all libraries come from the seed.
"""

import asyncio
import contextlib
import heapq
import itertools
import os
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import time_machine

Result = TypeVar("Result")

START = datetime(2030, 1, 1, tzinfo=UTC)
"""The virtual time at which every history starts."""


_real_monotonic = time.monotonic
_current: "SimulatedLoop | None" = None


def _monotonic() -> float:
    """Return the time of the running simulation, or else the real one."""
    return _real_monotonic() if _current is None else _current.time()


# time-machine leaves it alone. Modules keep references to the function: this one must be imported first.
time.monotonic = _monotonic


_TICK = 1e-6
"""Seconds of an iteration of the loop. Real ones take time, too: code that waits for the rest of a period,
which rounding makes tiny, would else never see its end."""


class Stalled(Exception):
    """Nothing is left to do, and the awaited result will never arrive."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Event loop without sockets, signals and threads. Its clock jumps to the next timer."""

    # Of asyncio.BaseEventLoop, which does not declare them for subclasses.
    _ready: "deque[asyncio.Handle]"
    _stopping: bool

    def __init__(self, traveller: time_machine.Traveller) -> None:
        super().__init__()
        self._traveller = traveller
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        """A heap, with the number of each timer: timers of the same time run in the order of their calls."""
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._elapsed

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call a function at a virtual time."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Ignore the handlers of kopf, which this loop never runs: SIGTERM would not end the process."""

    def run_in_executor(self, *_: Any) -> NoReturn:
        """Raise RuntimeError: a thread would end at a real time."""
        raise RuntimeError("a simulation has no threads")

    def shift_wall_clock(self, seconds: float) -> None:
        """Make the wall clocks jump. The clock of the loop does not."""
        self._traveller.shift(seconds)

    def _write_to_self(self) -> None:
        """Wake nothing: the loop never waits."""

    def _run_once(self) -> None:
        """Advance the clock, and run what is ready by then, as `asyncio.BaseEventLoop` does."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if ready or self._stopping:
            self._advance(_TICK)
        elif timers:
            self._advance(max(timers[0][0] - self._elapsed, _TICK))
        else:
            raise Stalled
        while timers and timers[0][0] <= self._elapsed:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _advance(self, seconds: float) -> None:
        self._elapsed += seconds
        self._traveller.shift(seconds)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Draw all random numbers of the process from the seed, within the block."""
    source = random.Random(seed)
    state, urandom = random.getstate(), os.urandom
    random.seed(source.random())
    # All of `secrets`, `uuid.uuid4` and `random.SystemRandom` is drawn from these two names.
    os.urandom = vars(random)["_urandom"] = random.Random(source.random()).randbytes
    try:
        yield source
    finally:
        random.setstate(state)
        os.urandom = vars(random)["_urandom"] = urandom


def run(main: Callable[["SimulatedLoop"], Coroutine[Any, Any, Result]]) -> Result:
    """Run `main` in a new loop. Raises `Stalled` if it waits for something that will not happen."""
    global _current
    with time_machine.travel(START, tick=False) as traveller:
        _current = loop = SimulatedLoop(traveller)
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(main(loop))
        finally:
            _current = None
            asyncio.set_event_loop(None)
            loop.close()
