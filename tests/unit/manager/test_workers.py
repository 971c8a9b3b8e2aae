"""Workers on a fake clock: concurrency, requeues, failures and shutdown."""

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
from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.slots import Slots
from cloudrun_identity.manager.work_queue import KeyedQueue
from cloudrun_identity.manager.workers import Workers
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter

pytestmark = pytest.mark.looptime(start=0)

INTERVAL = 300.0


def key(number: int = 0, namespace: str = "payments") -> ObjectKey:
    return ObjectKey("IAMBinding", namespace, f"b{number}")


class FakeReconciler:
    """Runs the work of a test, returns its answers, and records every call."""

    def __init__(self) -> None:
        self.reconciles: list[tuple[float, ObjectKey, float]] = []
        self.failures: list[str] = []
        self.retained: list[ObjectKey] = []
        self.answers: list[Requeue | Exception] = []
        self.work: Callable[[ObjectKey], Awaitable[None]] | None = None
        self.running = self.most = 0

    async def reconcile(self, key: ObjectKey, *, max_age: float) -> tuple[Requeue, str]:
        self.reconciles.append((now(), key, max_age))
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
        self.retained.append(key)

    async def fail(self, key: ObjectKey, outcome: Outcome) -> None:
        assert not isinstance(outcome, InSync)
        self.failures.append(outcome.message)

    @property
    def times(self) -> list[float]:
        return [time for time, *_ in self.reconciles]


def now() -> float:
    return asyncio.get_running_loop().time()


class Harness:
    """Workers on a fake reconciler."""

    def __init__(self, slots: int = 4) -> None:
        self.queue: KeyedQueue[ObjectKey] = KeyedQueue(
            jitter=lambda low, high: low, flow_of=lambda key: key.namespace
        )
        self.reconciler = FakeReconciler()
        self.slots = Slots(slots)
        self.metrics = Metrics()
        self.older_versions: list[OlderVersion] = []
        self.workers = Workers(
            self.queue,
            self.reconciler,
            self.slots,
            self.metrics,
            lambda key: INTERVAL,
            self.older_versions.append,
        )

    def add_many(self, namespace: str = "payments") -> None:
        """Make more keys of one namespace due than there are slots."""
        self.queue.add_all((key(number, namespace) for number in range(20)), Priority.EDIT)

    async def expect_at_once(self, each: ObjectKey) -> None:
        """Make a key due, and check that its reconcile starts at once."""
        due = now()
        self.queue.add(each, Priority.EDIT)
        await asyncio.sleep(0.1)
        assert self.reconciler.reconciles[-1][:2] == (pytest.approx(due), each)

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


async def test_edit_reads_now_and_resync_accepts_the_interval_as_age() -> None:
    harness = Harness()
    async with harness.open():
        harness.queue.add(key(1), Priority.EDIT)
        harness.queue.add(key(2), Priority.RESYNC)
        await asyncio.sleep(1)
    assert [(each, age) for _, each, age in harness.reconciler.reconciles] == [
        (key(1), 0.0),
        (key(2), INTERVAL),
    ]


async def test_calls_of_a_reconcile_have_the_priority_of_its_key() -> None:
    harness, seen = Harness(), list[Priority]()

    async def record_priority(_: ObjectKey) -> None:
        seen.append(call_priority.get())

    harness.reconciler.work = record_priority
    async with harness.open():
        harness.queue.add(key(1), Priority.RESYNC)
        await asyncio.sleep(1)
        harness.queue.add(key(2), Priority.EDIT)
        await asyncio.sleep(1)
    assert seen == [Priority.RESYNC, Priority.EDIT]


async def test_concurrent_reconciles_are_limited() -> None:
    harness = Harness(slots=4)
    harness.reconciler.work = lambda _: asyncio.sleep(10)
    async with harness.open():
        harness.add_many()
        harness.add_many("flows")
        await asyncio.sleep(200)
    assert len(harness.reconciler.reconciles) == 40
    assert harness.reconciler.most == 4


async def test_slow_reconciles_of_one_namespace_leave_slots_to_others() -> None:
    harness = Harness(slots=4)
    harness.reconciler.work = lambda each: asyncio.sleep(1000 if each.namespace == "payments" else 1)
    async with harness.open():
        harness.add_many()
        await asyncio.sleep(10)
        assert harness.slots.held() == {"payments": 3}
        await harness.expect_at_once(key(0, "flows"))


async def test_slot_that_is_taken_again_counts_for_the_same_namespace() -> None:
    harness = Harness(slots=4)
    syncer = asyncio.Event()

    async def wait(each: ObjectKey) -> None:
        if each.namespace == "payments":
            async with harness.slots.slot_released():
                await syncer.wait()
            await asyncio.sleep(1000)

    harness.reconciler.work = wait
    async with harness.open():
        harness.add_many()
        await asyncio.sleep(10)
        assert len(harness.reconciler.reconciles) == 20, "those that wait hold no slot"
        assert harness.slots.held() == {}
        syncer.set()
        await asyncio.sleep(10)
        assert harness.slots.held() == {"payments": 3}
        await harness.expect_at_once(key(0, "flows"))


async def test_reconciles_cancelled_before_they_have_a_slot_again_lose_none() -> None:
    harness = Harness(slots=4)
    syncer = asyncio.Event()

    async def wait(_: ObjectKey) -> None:
        async with harness.slots.slot_released():
            await syncer.wait()
        await asyncio.sleep(1000)

    harness.reconciler.work = wait
    async with harness.open():
        harness.add_many()
        await asyncio.sleep(10)
        syncer.set()
        await asyncio.sleep(10)
    assert harness.slots.held() == {}
    assert all(map(harness.slots.is_available, ("payments", "flows")))


async def test_reconcile_that_waits_for_a_syncer_releases_its_slot() -> None:
    harness = Harness(slots=2)
    met = asyncio.Event()

    async def meet(_: ObjectKey) -> None:
        if len(harness.reconciler.reconciles) == 10:
            met.set()
        async with harness.slots.slot_released():
            await met.wait()

    harness.reconciler.work = meet
    async with harness.open():
        for number in range(10):
            harness.queue.add(key(number), Priority.EDIT)
        await asyncio.wait_for(met.wait(), 60)
        await asyncio.sleep(1)
        assert harness.reconciler.running == 0


async def test_shared_read_proceeds_while_all_slots_are_taken() -> None:
    harness = Harness(slots=2)
    limits = RateLimiter({(Api.IAM, CallKind.READ): Rate(per_minute=60, burst=1)})
    reads = BucketKey(Api.IAM, CallKind.READ)

    async def read() -> str:
        await limits.acquire(reads, Priority.RESYNC)
        return "everything"

    shared = SingleFlightCache(read, now)

    async def work(_: ObjectKey) -> None:
        await shared.get(after=-1)

    harness.reconciler.work = work
    await limits.acquire(reads, Priority.EDIT)
    async with harness.open():
        for number in range(6):
            harness.queue.add(key(number), Priority.RESYNC)
        await asyncio.sleep(100)
        assert (len(harness.reconciler.reconciles), harness.reconciler.running) == (6, 0)


async def test_slot_is_acquired_again_after_a_failed_wait() -> None:
    harness = Harness(slots=2)
    working = most = 0

    async def work(each: ObjectKey) -> None:
        nonlocal working, most
        if each == key(0):
            async with harness.slots.slot_released():
                raise RuntimeError("the sync failed")
        working += 1
        most = max(most, working)
        await asyncio.sleep(5)
        working -= 1

    harness.reconciler.work = work
    async with harness.open():
        for number in range(9):
            harness.queue.add(key(number), Priority.EDIT)
        await asyncio.sleep(60)
    assert most == 2
    assert {each for _, each, _ in harness.reconciler.reconciles} == {key(number) for number in range(9)}


async def test_reconcile_without_requeue_is_not_repeated() -> None:
    harness = Harness()
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(10_000)
    assert len(harness.reconciler.reconciles) == 1


async def test_reconcile_is_repeated_after_the_requested_delay() -> None:
    harness = Harness()
    harness.reconciler.answers = [RequeueAfter(15.0), RequeueAfter(0.7)]
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
    assert harness.reconciler.times == pytest.approx([0, 15, 15.7])


async def test_backoff_ends_at_the_progress_deadline_at_the_latest() -> None:
    harness = Harness()
    harness.reconciler.answers = [
        RequeueAfter(at_most=1.5),
        RequeueAfter(at_most=1.25),
        RequeueAfter(at_most=0.75),
    ]
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
    assert harness.reconciler.times == pytest.approx([0, 0.25, 0.75, 1.5])


async def test_requeue_of_a_resync_reads_from_google() -> None:
    harness = Harness()
    harness.reconciler.answers = [RequeueAfter(1.0)]
    async with harness.open():
        harness.queue.add(key(), Priority.RESYNC)
        await asyncio.sleep(10)
    assert [age for *_, age in harness.reconciler.reconciles] == [INTERVAL, 0.0]


@pytest.mark.parametrize(
    "failure",
    [RequeueAfter(), RuntimeError("a bug"), KubeError(HTTPStatus.SERVICE_UNAVAILABLE, "Unavailable", "no")],
)
async def test_failure_is_retried_with_backoff_until_success(failure: Requeue | Exception) -> None:
    harness = Harness()
    harness.reconciler.answers = [failure] * 3
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
        assert harness.reconciler.times == pytest.approx([0, 0.25, 0.75, 1.75])
        harness.reconciler.answers = [failure]
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1000)
    assert harness.reconciler.times[4:] == pytest.approx([1000, 1000.25]), "a success resets the backoff"


async def test_older_version_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.reconciler.answers = [error := OlderVersion("iambindings payments/b0")]
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1.0)
    assert harness.older_versions == [error]
    assert not caplog.messages, "the restart of the watches is logged"


async def test_bug_is_reported_in_the_status_of_its_object_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness(slots=1)
    harness.reconciler.answers = [RuntimeError("a bug")]
    async with harness.open():
        for number in range(3):
            harness.queue.add(key(number), Priority.EDIT)
        await asyncio.sleep(10)
    assert {each for _, each, _ in harness.reconciler.reconciles} == {key(0), key(1), key(2)}
    assert [
        message for message in harness.reconciler.failures if "a bug" in message
    ] == harness.reconciler.failures
    assert len(harness.reconciler.failures) == 1
    assert "IAMBinding payments/b0" in caplog.text


async def test_full_ledger_is_reported_without_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.reconciler.answers = [LedgerFull("the ledger is full")]
    with caplog.at_level(logging.WARNING):
        async with harness.open():
            harness.queue.add(key(), Priority.EDIT)
            await asyncio.sleep(10)
    assert harness.reconciler.failures == ["the ledger is full"]
    assert caplog.records == []


async def test_drain_waits_for_reconciles_and_then_cancels_them() -> None:
    harness, ended = Harness(), list[str]()

    async def work(each: ObjectKey) -> None:
        try:
            await asyncio.sleep(2 if each == key(1) else 100)
            ended.append(f"{each.name} done")
        except asyncio.CancelledError:
            ended.append(f"{each.name} cancelled")
            raise

    harness.reconciler.work = work
    run = asyncio.create_task(harness.workers.run())
    for number in (1, 2):
        harness.queue.add(key(number), Priority.EDIT)
    await asyncio.sleep(1)
    harness.queue.shutdown()
    await harness.workers.drain(3)
    await asyncio.wait_for(run, 1)
    assert ended == ["b1 done", "b2 cancelled"]
    assert now() == pytest.approx(4)


async def test_reconciles_are_counted() -> None:
    harness = Harness()
    async with harness.open():
        harness.queue.add(key(), Priority.EDIT)
        await asyncio.sleep(1)
    rendered = harness.metrics.render().decode()
    assert 'cloudrun_identity_reconciles_total{kind="IAMBinding",outcome="insync"} 1.0' in rendered


async def test_workers_that_hold_every_slot_are_stalled() -> None:
    harness = Harness(slots=2)
    release = asyncio.Event()

    async def wait(_: ObjectKey) -> None:
        await release.wait()

    harness.reconciler.work = wait
    async with harness.open():
        harness.queue.add(key(1), Priority.EDIT)
        await asyncio.sleep(500)
        assert harness.workers.stalled_for() == 0.0  # a slot is free
        harness.queue.add(key(2), Priority.EDIT)
        await asyncio.sleep(100)
        assert harness.workers.stalled_for() == pytest.approx(100)
        release.set()
        await asyncio.sleep(1)
        assert harness.workers.stalled_for() == 0.0


async def test_slot_that_becomes_free_is_progress() -> None:
    harness = Harness(slots=1)

    async def wait(_: ObjectKey) -> None:
        await asyncio.sleep(100)

    harness.reconciler.work = wait
    async with harness.open():
        harness.queue.add_all([key(number) for number in range(9)], Priority.EDIT)
        await asyncio.sleep(650)
        assert harness.workers.stalled_for() <= 100
