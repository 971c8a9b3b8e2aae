"""The thread of the kopf watches, with a separate event loop.

kopf shares no event loop with the operator, for three reasons:

- At its end kopf cancels every task of its event loop, also those of others.
- Its end may wait forever, for a watcher whose helper tasks were cancelled before it.
- In the main thread it takes SIGTERM and SIGINT for itself.

So the operator decides alone when it ends, and a watch that hangs blocks nothing else.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

ENDS_WITHIN = 5.0
"""Seconds in which the work of the thread must end."""


class WatchesStuck(Exception):
    """The watches did not end in time. Only the end of the process ends them. The message is one line."""


class WatchThread:
    """Runs `work` in the event loop of a daemon thread, from `start` to `end`."""

    def __init__(self, work: Callable[[], Awaitable[None]], clean_up: Callable[[], Awaitable[None]]) -> None:
        """`clean_up` runs when `work` has ended, or was canceled. It need not end."""
        self._work = work
        self._clean_up = clean_up
        self._loop = asyncio.new_event_loop()
        # Tasks that never end are destroyed with the loop, and the default handler would report each.
        self._loop.set_exception_handler(lambda *_: None)
        self._task: asyncio.Future[None] | None = None
        self._is_canceled = False
        self._result: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="watches", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def wait(self) -> None:
        """Wait for the end of `work`, and raise its error."""
        # Shielded: to cancel the wrapper would cancel the result, which the thread sets.
        await asyncio.shield(asyncio.wrap_future(self._result))

    def request_end(self) -> None:
        """Cancel `work`, and return at once."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            return  # the loop is closed: it has ended

    async def end(self) -> None:
        """Cancel `work`, and wait until the thread has ended. Raises WatchesStuck if it does not in time."""
        self.request_end()
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await asyncio.shield(asyncio.wrap_future(self._ended))
        except TimeoutError:
            raise WatchesStuck(
                f"the watches of the Kubernetes API did not end within {ENDS_WITHIN:g}s"
            ) from None

    def _cancel(self) -> None:
        self._is_canceled = True
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()
            self._ended.set_result(None)

    async def _main(self) -> None:
        self._task = asyncio.ensure_future(self._work())
        if self._is_canceled:
            self._task.cancel()
        await asyncio.wait([self._task])
        _settle(self._result, self._task)
        await self._clean_up()


def _settle(result: Future[None], task: "asyncio.Future[None]") -> None:
    if task.cancelled():
        result.set_result(None)
    elif error := task.exception():
        result.set_exception(error)
    else:
        result.set_result(None)
