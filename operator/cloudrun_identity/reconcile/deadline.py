"""Deadline of a reconcile: a call that hangs never holds a worker beyond it.

The time in which a reconcile has released its worker's slot, because it waits for a rate limit or for the
sync of a policy, does not count: those waits are bounded by the calls that they wait for.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

RECONCILE_DEADLINE = 120.0
"""Seconds that one reconcile may hold a worker."""


class DeadlineExceeded(Exception):
    """A reconcile did not end within its deadline."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadline of every reconcile."""

    seconds: float = RECONCILE_DEADLINE

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Cancel the block at the deadline; raises DeadlineExceeded then."""
        timeout = asyncio.timeout(self.seconds)
        token = _current.set(timeout)
        try:
            async with timeout:
                yield
        except TimeoutError:
            if timeout.expired():
                raise DeadlineExceeded from None
            raise
        finally:
            _current.reset(token)


@contextmanager
def paused_deadline() -> Iterator[None]:
    """Stop the clock of the deadline during the block, if there is a deadline."""
    timeout = _current.get()
    ends = timeout.when() if timeout else None
    if timeout is None or ends is None:
        yield
        return
    left = ends - _now()
    timeout.reschedule(None)
    try:
        yield
    finally:
        if not timeout.expired():
            timeout.reschedule(_now() + max(left, 0.0))


_current: ContextVar[asyncio.Timeout | None] = ContextVar("reconcile_deadline", default=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
