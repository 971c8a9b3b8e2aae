"""The thread of the watches: its end, its errors, and work that never ends."""

import asyncio
import contextlib
import threading

import pytest

from cloudrun_identity.manager import watch_thread
from cloudrun_identity.manager.watch_thread import WatchesStuck, WatchThread

BEGUN = threading.Event()
"""Set when work has begun, since a task that has not begun ends at its cancellation."""


async def nothing() -> None:
    return


async def forever() -> None:
    BEGUN.set()
    await asyncio.Event().wait()


async def deaf() -> None:
    """Ignore every cancellation, as kopf's watches do."""
    BEGUN.set()
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def test_error_of_the_work_is_raised() -> None:
    async def fail() -> None:
        raise LookupError("refused")

    thread = WatchThread(fail, nothing)
    thread.start()
    with pytest.raises(LookupError, match="refused"):
        await thread.wait()
    await thread.end()


async def test_end_right_after_the_start_is_no_lost_cancellation() -> None:
    thread = WatchThread(forever, nothing)
    thread.start()
    await thread.end()


async def test_end_cancels_the_work_and_cleans_up() -> None:
    cleaned: list[str] = []

    async def clean() -> None:
        cleaned.append("cleaned")

    thread = WatchThread(forever, clean)
    thread.start()
    waiting = asyncio.create_task(thread.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await thread.end()
    await thread.end()
    assert cleaned == ["cleaned"]


@pytest.mark.parametrize("work", [(deaf, nothing), (forever, deaf)], ids=["work", "cleanup"])
async def test_work_that_never_ends_is_reported(
    monkeypatch: pytest.MonkeyPatch, work: tuple[object, object]
) -> None:
    monkeypatch.setattr(watch_thread, "ENDS_WITHIN", 0.2)
    BEGUN.clear()
    thread = WatchThread(*work)  # type: ignore[arg-type]
    thread.start()
    await asyncio.to_thread(BEGUN.wait, 10)
    with pytest.raises(WatchesStuck, match=r"did not end within 0\.2s"):
        await thread.end()
