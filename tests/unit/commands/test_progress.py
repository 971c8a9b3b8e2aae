"""Progress on standard error."""

import asyncio

import pytest

from cloudrun_identity.commands.progress import INTERVAL, Progress


async def test_progress_is_printed_once_per_interval_and_only_if_it_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    intervals: asyncio.Queue[float] = asyncio.Queue()
    over = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        intervals.put_nowait(seconds)
        await over.acquire()

    progress = Progress(sleep)
    async with progress.printed():
        progress.show("reading the objects of the cluster")
        progress.reconciled(0, 9)
        assert await intervals.get() == INTERVAL
        assert capsys.readouterr().err == ""
        for expected in ("planning: 0 of 9 objects\n", "", "planning: 4 of 9 objects\n"):
            if "4" in expected:
                progress.reconciled(4, 9)
            over.release()
            await intervals.get()
            captured = capsys.readouterr()
            assert (captured.out, captured.err) == ("", expected)
