"""Tasks beside a block of code, and work that an event interrupts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background(
    work: Coroutine[Any, Any, object], ended: asyncio.Event
) -> AsyncIterator[Callable[[], None]]:
    """Run `work` beside the block, and set `ended` when it ends. Yields a function that raises its error."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: ended.set())

    def raise_failure() -> None:
        if task.done() and not task.cancelled():
            task.result()

    try:
        yield raise_failure
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Return whether `work` ended before `stop` was set."""
    ended = asyncio.Event()
    async with background(work, ended) as raise_failure, background(stop.wait(), ended):
        await ended.wait()
        raise_failure()
        return not stop.is_set()
