"""Deadline of a reconcile: a call that hangs never holds a worker beyond it.

The time in which a reconcile has released its worker's slot, because it waits for a rate limit or for the
sync of a policy, does not count: those waits are bounded by the calls that they wait for.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType

RECONCILE_DEADLINE = 120.0
"""Seconds that one reconcile may hold a worker."""


class DeadlineExceeded(Exception):
    """A reconcile did not end within its deadline."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadline of every reconcile."""

    seconds: float = RECONCILE_DEADLINE

    def limit(self) -> AbstractAsyncContextManager[None]:
        """Cancel the block at the deadline; raises DeadlineExceeded then."""
        return _Limit(asyncio.timeout(self.seconds))


# The context managers are classes: those of contextlib take more processor time, and a KiB of memory for each
# of thousands of reconciles that wait in them.


@dataclass(slots=True)
class _Limit:
    timeout: asyncio.Timeout
    token: Token[asyncio.Timeout | None] | None = None

    async def __aenter__(self) -> None:
        await self.timeout.__aenter__()
        self.token = _current.set(self.timeout)

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.token is not None:
            _current.reset(self.token)
        try:
            await self.timeout.__aexit__(error_type, error, traceback)
        except TimeoutError:
            raise DeadlineExceeded from None
        if isinstance(error, TimeoutError) and self.timeout.expired():
            raise DeadlineExceeded from None


@dataclass(slots=True)
class DeadlinePause:
    """Stop the clock of the deadline during the block, if there is a deadline."""

    _timeout: asyncio.Timeout | None = None
    _left: float = 0.0

    def __enter__(self) -> None:
        timeout = _current.get()
        ends = timeout.when() if timeout else None
        if timeout is not None and ends is not None:
            self._timeout, self._left = timeout, max(ends - _now(), 0.0)
            timeout.reschedule(None)

    def __exit__(self, *_: object) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(_now() + self._left)


_current: ContextVar[asyncio.Timeout | None] = ContextVar("reconcile_deadline", default=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
