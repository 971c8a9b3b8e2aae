"""Liveness on a fake clock: why a leader must give up its Lease."""

import asyncio
from typing import cast

import pytest

from cloudrun_identity.manager.liveness import MONITORED_WITHIN, STARTS_WITHIN, Liveness
from cloudrun_identity.manager.manager import Manager
from cloudrun_identity.manager.stream_monitor import StreamMonitor

pytestmark = pytest.mark.looptime(start=0)


class FakeManager:
    """A manager with a problem, or without one."""

    def __init__(self) -> None:
        self.reason = ""

    def problem(self) -> str:
        return self.reason


class FakeMonitor:
    """A monitor that ran at a time."""

    def __init__(self) -> None:
        self.checked_at = asyncio.get_running_loop().time()


def started(liveness: Liveness) -> FakeManager:
    manager = FakeManager()
    liveness.started(cast("Manager", manager), cast("StreamMonitor", FakeMonitor()))
    return manager


async def test_standby_is_alive() -> None:
    liveness = Liveness()
    await asyncio.sleep(10 * STARTS_WITHIN)
    assert not liveness.problem()


async def test_leader_that_does_not_start_has_a_problem() -> None:
    liveness = Liveness()
    liveness.starting()
    await asyncio.sleep(STARTS_WITHIN / 2)
    liveness.starting()  # a second try does not start the time again
    assert not liveness.problem()
    await asyncio.sleep(STARTS_WITHIN / 2 + 1)
    assert "the manager did not start" in liveness.problem()


async def test_problem_of_the_manager_is_reported_until_it_restarts() -> None:
    liveness = Liveness()
    manager = started(liveness)
    assert not liveness.problem()
    manager.reason = "the task 'workers' ended"
    assert liveness.problem() == "the task 'workers' ended"
    liveness.starting()
    assert not liveness.problem()


async def test_monitor_that_does_not_run_is_a_problem() -> None:
    liveness = Liveness()
    started(liveness)
    await asyncio.sleep(MONITORED_WITHIN + 1)
    assert "the watches were not checked" in liveness.problem()
