"""The deadline of a reconcile, on a clock that advances only while the event loop sleeps."""

import asyncio

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType
from cloudrun_identity.manager.manager import STALLED_AFTER
from cloudrun_identity.reconcile.deadline import (
    RECONCILE_DEADLINE,
    Deadline,
    DeadlineExceeded,
    DeadlinePause,
)
from cloudrun_identity.reconcile.reconciler import REPORT_DEADLINE
from cloudrun_identity.reconcile.requeue import RequeueAfter

from .fake_api_server import KEY
from .scripted_kind import ANN
from .stage import Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_block_is_cancelled_at_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        async with Deadline(5.0).limit():
            await asyncio.sleep(6.0)
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)


async def test_timeout_raised_by_the_block_is_propagated() -> None:
    with pytest.raises(TimeoutError):
        async with Deadline(5.0).limit():
            raise TimeoutError


async def test_paused_time_does_not_count() -> None:
    async with Deadline(5.0).limit():
        await asyncio.sleep(3.0)
        with DeadlinePause():
            await asyncio.sleep(100.0)
        await asyncio.sleep(1.0)


async def test_pause_does_not_extend_the_remaining_time() -> None:
    async def reconcile() -> None:
        async with Deadline(5.0).limit():
            await asyncio.sleep(3.0)
            with DeadlinePause():
                await asyncio.sleep(100.0)
            await asyncio.sleep(2.5)

    with pytest.raises(DeadlineExceeded):
        await reconcile()


async def test_pause_without_a_deadline_does_nothing() -> None:
    with DeadlinePause():
        await asyncio.sleep(1.0)


async def test_hung_call_ends_the_reconcile_at_its_deadline(stage: Stage) -> None:
    await stage.reconcile()
    stage.kind.hangs = True
    requeue, word = await stage.reconciler.reconcile(KEY, max_age=0.0)

    assert (requeue, word) == (RequeueAfter(), "deadline")
    assert asyncio.get_running_loop().time() == pytest.approx(RECONCILE_DEADLINE, abs=5.0)
    assert stage.ready == (ConditionStatus.FALSE, "ApiUnavailable")
    reconciling = stage.api_server.status.condition(ConditionType.RECONCILING)
    assert reconciling.status is ConditionStatus.TRUE
    assert "did not end within 120 s" in reconciling.message
    assert stage.present == {ANN}


async def test_object_recovers_after_a_hung_call(stage: Stage) -> None:
    stage.kind.hangs = True
    await stage.reconciler.reconcile(KEY, max_age=0.0)
    stage.kind.hangs = False
    await stage.reconcile()
    assert stage.ready == (ConditionStatus.TRUE, "UpToDate")


async def test_resync_of_a_hung_object_ends_at_the_deadline(stage: Stage) -> None:
    await stage.reconcile()
    stage.kind.hangs = True
    with pytest.raises(DeadlineExceeded):
        await stage.reconciler.differs(KEY, max_age=0.0)


async def test_status_that_cannot_be_written_does_not_hold_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.sleep(36_000)

    monkeypatch.setattr(stage.api_server, "write_status", hang)
    stage.kind.hangs = True
    began = asyncio.get_running_loop().time()

    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "deadline")

    duration = asyncio.get_running_loop().time() - began
    assert duration <= RECONCILE_DEADLINE + REPORT_DEADLINE + 1
    assert duration < STALLED_AFTER


async def test_hung_write_to_kubernetes_ends_at_the_deadline(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.sleep(36_000)

    monkeypatch.setattr(stage.api_server, "add_finalizer", hang)
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(), "deadline")
