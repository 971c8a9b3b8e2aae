"""Workers on a fake clock: how many at a time, and what becomes of a key after its pass."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from cloudrun_identity.gcp.ratelimit import (
    Api,
    BucketKey,
    CallKind,
    Priority,
    Rate,
    RateLimiter,
    call_priority,
)
from cloudrun_identity.gcp.single_flight_cache import SingleFlightCache
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.work_queue import KeyedQueue
from cloudrun_identity.manager.workers import Slots, Workers
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter

pytestmark = pytest.mark.looptime(start=0)

INTERVAL = 300.0


def key(number: int = 0) -> ObjectKey:
    return ObjectKey("IAMBinding", "payments", f"b{number}")


class FakeReconciler:
    """Does what a test says, and remembers."""

    def __init__(self) -> None:
        self.passes: list[tuple[float, ObjectKey, float]] = []
        self.failures: list[str] = []
        self.held: list[ObjectKey] = []
        self.answers: list[Requeue | Exception] = []
        self.work: Callable[[ObjectKey], Awaitable[None]] | None = None
        self.running = self.most = 0

    async def reconcile(self, key: ObjectKey, *, max_age: float) -> tuple[Requeue, str]:
        self.passes.append((now(), key, max_age))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.work:
                await self.work(key)
        finally:
            self.running -= 1
        answer = self.answers.pop(0) if self.answers else NoRequeue()
        if isinstance(answer, Exception):
            raise answer
        return answer, "insync"

    def retain(self, key: ObjectKey) -> None:
        self.held.append(key)

    async def fail(self, key: ObjectKey, message: str) -> None:
        self.failures.append(message)

    @property
    def times(self) -> list[float]:
        return [time for time, *_ in self.passes]


def now() -> float:
    return asyncio.get_running_loop().time()


class Shop:
    """Workers at work."""

    def __init__(self, slots: int = 4) -> None:
        self.queue: KeyedQueue[ObjectKey] = KeyedQueue(jitter=lambda low, high: low)
        self.reconciler = FakeReconciler()
        self.slots = Slots(slots)
        self.metrics = Metrics()
        self.workers = Workers(
            self.queue,
            self.reconciler,
            self.slots,
            self.metrics,
            lambda key: INTERVAL,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.workers.run())
        try:
            yield
        finally:
            self.queue.shutdown()
            await self.workers.drain(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_edit_is_read_now_and_a_resync_as_old_as_the_interval() -> None:
    shop = Shop()
    async with shop.open():
        shop.queue.add(key(1), Priority.EDIT)
        shop.queue.add(key(2), Priority.RESYNC)
        await asyncio.sleep(1)
    assert [(each, age) for _, each, age in shop.reconciler.passes] == [(key(1), 0.0), (key(2), INTERVAL)]


async def test_calls_of_a_pass_have_the_priority_of_its_key() -> None:
    shop, seen = Shop(), list[Priority]()

    async def look(_: ObjectKey) -> None:
        seen.append(call_priority.get())

    shop.reconciler.work = look
    async with shop.open():
        shop.queue.add(key(1), Priority.RESYNC)
        await asyncio.sleep(1)
        shop.queue.add(key(2), Priority.EDIT)
        await asyncio.sleep(1)
    assert seen == [Priority.RESYNC, Priority.EDIT]


async def test_so_many_passes_at_a_time() -> None:
    shop = Shop(slots=4)
    shop.reconciler.work = lambda _: asyncio.sleep(10)
    async with shop.open():
        for number in range(20):
            shop.queue.add(key(number), Priority.EDIT)
        await asyncio.sleep(100)
    assert len(shop.reconciler.passes) == 20
    assert shop.reconciler.most == 4


async def test_who_waits_for_a_lane_leaves_its_slot_to_others() -> None:
    shop = Shop(slots=2)
    met = asyncio.Event()

    async def meet(_: ObjectKey) -> None:
        if len(shop.reconciler.passes) == 10:
            met.set()
        async with shop.slots.slot_released():
            await met.wait()

    shop.reconciler.work = meet
    async with shop.open():
        for number in range(10):
            shop.queue.add(key(number), Priority.EDIT)
        await asyncio.wait_for(met.wait(), 60)
        await asyncio.sleep(1)
        assert shop.reconciler.running == 0


async def test_a_read_that_all_wait_for_needs_no_slot_to_go_on() -> None:
    shop = Shop(slots=2)
    limits = RateLimiter({(Api.IAM, CallKind.READ): Rate(per_minute=60, burst=1)})
    reads = BucketKey(Api.IAM, CallKind.READ)

    async def read() -> str:
        await limits.acquire(reads, Priority.RESYNC)
        return "everything"

    shared = SingleFlightCache(read, now)

    async def work(_: ObjectKey) -> None:
        await shared.get(after=-1)

    shop.reconciler.work = work
    await limits.acquire(reads, Priority.EDIT)
    async with shop.open():
        for number in range(6):
            shop.queue.add(key(number), Priority.RESYNC)
        await asyncio.sleep(100)
        assert (len(shop.reconciler.passes), shop.reconciler.running) == (6, 0)


async def test_a_slot_comes_back_though_the_wait_for_a_lane_ends_in_an_error() -> None:
    shop = Shop(slots=2)
    working = most = 0

    async def work(each: ObjectKey) -> None:
        nonlocal working, most
        if each == key(0):
            async with shop.slots.slot_released():
                raise RuntimeError("the lane failed")
        working += 1
        most = max(most, working)
        await asyncio.sleep(5)
        working -= 1

    shop.reconciler.work = work
    async with shop.open():
        for number in range(9):
            shop.queue.add(key(number), Priority.EDIT)
        await asyncio.sleep(60)
    assert most == 2
    assert {each for _, each, _ in shop.reconciler.passes} == {key(number) for number in range(9)}


async def test_a_pass_that_rests_is_not_repeated() -> None:
    shop = Shop()
    async with shop.open():
        shop.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(10_000)
    assert len(shop.reconciler.passes) == 1


async def test_a_pass_looks_again_when_it_says() -> None:
    shop = Shop()
    shop.reconciler.answers = [RequeueAfter(15.0), RequeueAfter(0.7)]
    async with shop.open():
        shop.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
    assert shop.reconciler.times == pytest.approx([0, 15, 15.7])


async def test_a_look_again_asks_google_though_the_key_came_by_a_sweep() -> None:
    shop = Shop()
    shop.reconciler.answers = [RequeueAfter(1.0)]
    async with shop.open():
        shop.queue.add(key(), Priority.RESYNC)
        await asyncio.sleep(10)
    assert [age for *_, age in shop.reconciler.passes] == [INTERVAL, 0.0]


@pytest.mark.parametrize(
    "failure",
    [RequeueAfter(), RuntimeError("a bug"), KubeError(HTTPStatus.SERVICE_UNAVAILABLE, "Unavailable", "no")],
)
async def test_what_fails_is_repeated_with_backoff_until_it_works(failure: Requeue | Exception) -> None:
    shop = Shop()
    shop.reconciler.answers = [failure] * 3
    async with shop.open():
        shop.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
        assert shop.reconciler.times == pytest.approx([0, 0.25, 0.75, 1.75])
        shop.reconciler.answers = [failure]
        shop.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
    assert shop.reconciler.times[4:] == pytest.approx([1000, 1000.25]), "success forgets the failures"


async def test_a_bug_in_one_pass_stops_no_other_and_is_told_in_the_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(slots=1)
    shop.reconciler.answers = [RuntimeError("a bug")]
    async with shop.open():
        for number in range(3):
            shop.queue.add(key(number), Priority.EDIT)
        await asyncio.sleep(10)
    assert {each for _, each, _ in shop.reconciler.passes} == {key(0), key(1), key(2)}
    assert [message for message in shop.reconciler.failures if "a bug" in message] == shop.reconciler.failures
    assert len(shop.reconciler.failures) == 1
    assert "IAMBinding payments/b0" in caplog.text


async def test_a_full_ledger_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.reconciler.answers = [LedgerFull("the ledger is full")]
    with caplog.at_level(logging.WARNING):
        async with shop.open():
            shop.queue.add(key(), Priority.EDIT)
            await asyncio.sleep(10)
    assert shop.reconciler.failures == ["the ledger is full"]
    assert caplog.records == []


async def test_draining_lets_passes_end_and_then_cancels_them() -> None:
    shop, ended = Shop(), list[str]()

    async def work(each: ObjectKey) -> None:
        try:
            await asyncio.sleep(2 if each == key(1) else 100)
            ended.append(f"{each.name} done")
        except asyncio.CancelledError:
            ended.append(f"{each.name} cancelled")
            raise

    shop.reconciler.work = work
    run = asyncio.create_task(shop.workers.run())
    for number in (1, 2):
        shop.queue.add(key(number), Priority.EDIT)
    await asyncio.sleep(1)
    shop.queue.shutdown()
    await shop.workers.drain(3)
    await asyncio.wait_for(run, 1)
    assert ended == ["b1 done", "b2 cancelled"]
    assert now() == pytest.approx(4)


async def test_passes_are_counted() -> None:
    shop = Shop()
    async with shop.open():
        shop.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1)
    rendered = shop.metrics.render().decode()
    assert 'cloudrun_identity_reconciles_total{kind="IAMBinding",outcome="insync"} 1.0' in rendered
