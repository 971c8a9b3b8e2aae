"""Event loop with a virtual clock: it never waits, and every run of a seed is the same.

The loop has one source of events, its timers. When nothing is ready, the clock jumps to the next timer. All
clocks of Python follow: `time.time`, `time.monotonic` and `datetime.now` (by time-machine). The random
numbers of all libraries come from the seed.
"""

import asyncio
import contextlib
import os
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

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


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Event loop whose clock jumps to the next timer."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self._elapsed = 0.0
        super().__init__(_Selector(self._advance))

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._elapsed

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: object) -> None:
        """Ignore the handlers of kopf, which this loop never runs: SIGTERM would not end the process."""

    def shift_wall_clock(self, seconds: float) -> None:
        """Make the wall clocks jump. The clock of the loop does not."""
        self._traveller.shift(seconds)

    def _advance(self, seconds: float | None) -> None:
        if seconds is None:
            raise Stalled
        step = seconds if seconds > _TICK else _TICK
        self._elapsed += step
        self._traveller.shift(step)


class _Selector(selectors.SelectSelector):
    """Selector that never waits."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Advance the clock by `timeout`, and by a tick if that is 0."""
        self._advance(timeout)
        return []


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
