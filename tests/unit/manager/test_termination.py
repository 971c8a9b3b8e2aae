"""The end of the process on signals, with a fake exit."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from cloudrun_identity.manager.termination import Termination


class Exit:
    """Records the exit code in place of ending the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.called = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.called.set()


@pytest.fixture(autouse=True)
def _restored_handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_first_signal_requests_the_end(number: signal.Signals) -> None:
    leave = Exit()
    termination = Termination(grace_period=3600, exit_now=leave)
    termination.install()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(10):
        await termination.requested.wait()
    assert leave.codes == []


async def test_second_signal_ends_the_process_at_once() -> None:
    leave = Exit()
    Termination(grace_period=3600, exit_now=leave).install()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert leave.codes == [128 + signal.SIGTERM]


async def test_blocked_event_loop_does_not_outlive_the_grace_period() -> None:
    leave = Exit()
    Termination(grace_period=0.1, exit_now=leave).install()
    os.kill(os.getpid(), signal.SIGTERM)
    while not leave.called.is_set():
        time.sleep(0.01)  # noqa: ASYNC251 - the loop is blocked on purpose
    assert leave.codes == [1]


async def test_grace_period_starts_once() -> None:
    leave = Exit()
    termination = Termination(grace_period=0.05, exit_now=leave)
    termination.begin()
    termination.begin()
    assert await asyncio.to_thread(leave.called.wait, 10)
    assert leave.codes == [1]
