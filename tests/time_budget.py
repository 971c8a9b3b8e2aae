"""Time budgets of tests that wait.

A budget only ends a test that would wait forever. It is counted in seconds of an idle machine: on a machine
with more runnable processes than processors, it lasts longer, so that no test fails because of other work.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

WITHIN = 120.0
"""Budget for one condition; most hold after one or two seconds, also on a machine of half the speed."""

HUNG_AFTER = 900.0
"""Seconds after which a process, a request or a server is considered hung, on any machine."""

POLL_EVERY = 0.1


def busyness() -> float:
    """Return the number of runnable processes per processor in the last minute; at least 1."""
    try:
        return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    except OSError:
        return 1.0


class TimeBudget:
    """Seconds that a test may wait. Ask `is_spent` regularly, because each answer counts the time since."""

    def __init__(
        self,
        seconds: float = WITHIN,
        *,
        clock: Callable[[], float] = time.monotonic,
        busyness: Callable[[], float] = busyness,
    ) -> None:
        self.seconds = seconds
        self._left = seconds
        self._clock = clock
        self._busyness = busyness
        self._counted_until = clock()

    def is_spent(self) -> bool:
        """Count the time since the last call; return whether nothing of the budget is left."""
        now = self._clock()
        self._left -= (now - self._counted_until) / self._busyness()
        self._counted_until = now
        return self._left <= 0


@asynccontextmanager
async def time_budget(seconds: float = WITHIN) -> AsyncIterator[None]:
    """End the block with TimeoutError once the budget is spent."""
    budget, loop = TimeBudget(seconds), asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:

        def count() -> None:
            nonlocal next_count
            if budget.is_spent():
                timeout.reschedule(loop.time())
            else:
                next_count = loop.call_later(POLL_EVERY, count)

        next_count = loop.call_later(POLL_EVERY, count)
        try:
            yield
        finally:
            next_count.cancel()
