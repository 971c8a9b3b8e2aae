"""Pending changes: each subject is synced once, whatever the order and the number of its entries."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.audited_changes import PolicyChange, Subject
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.manager.feed_work import CAPACITY, CLOCK_SKEW, CONCURRENCY, FeedWork

START = datetime(2026, 11, 3, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def policy(name: str) -> Subject:
    return PolicyChange(Target.project(name))


class Syncs:
    """Syncs that end when `gate` is set."""

    def __init__(self) -> None:
        self.counts: Counter[Subject] = Counter()
        self.running = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def sync(self, subject: Subject) -> None:
        self.counts[subject] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            self.running -= 1


@asynccontextmanager
async def running(syncs: Syncs) -> AsyncIterator[FeedWork]:
    work = FeedWork(syncs.sync, lambda: START)
    task = asyncio.create_task(work.run())
    try:
        yield work
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a condition of the code under test
            await asyncio.sleep(0)


async def test_entries_of_one_mutation_cause_one_sync() -> None:
    syncs = Syncs()
    async with running(syncs) as work:
        assert work.add(policy("a"), at(1))
        assert work.add(policy("a"), at(2))
        await until(lambda: not len(work))
    assert syncs.counts == {policy("a"): 1}


async def test_duplicate_and_late_entries_cost_nothing() -> None:
    syncs = Syncs()
    async with running(syncs) as work:
        work.add(policy("a"), at(5))
        await until(lambda: not len(work))
        assert not work.add(policy("a"), at(5))
        assert not work.add(policy("a"), at(3))
        assert work.add(policy("a"), at(6))
        await until(lambda: not len(work))
    assert syncs.counts == {policy("a"): 2}


async def test_entry_from_before_the_start_is_covered_by_the_first_reconciles() -> None:
    async with running(Syncs()) as work:
        assert not work.add(policy("a"), START - CLOCK_SKEW)
        assert work.add(policy("a"), START)


async def test_change_during_a_sync_is_synced_after_it() -> None:
    syncs = Syncs()
    async with running(syncs) as work:
        syncs.gate.clear()
        work.add(policy("a"), at(1))
        await until(lambda: syncs.running == 1)
        work.add(policy("a"), at(2))
        await asyncio.sleep(0)
        assert syncs.running == 1
        syncs.gate.set()
        await until(lambda: not len(work))
    assert syncs.counts == {policy("a"): 2}


async def test_few_subjects_are_synced_at_the_same_time() -> None:
    syncs = Syncs()
    async with running(syncs) as work:
        syncs.gate.clear()
        for number in range(5 * CONCURRENCY):
            work.add(policy(f"p{number}"), at(1))
        await until(lambda: syncs.running == CONCURRENCY)
        syncs.gate.set()
        await until(lambda: not len(work))
    assert syncs.most == CONCURRENCY
    assert len(syncs.counts) == 5 * CONCURRENCY


async def test_no_room_is_left_while_too_many_subjects_are_pending() -> None:
    syncs = Syncs()
    syncs.gate.clear()
    async with running(syncs) as work:
        for number in range(CAPACITY + CONCURRENCY):
            work.add(policy(f"p{number}"), at(1))
        waiting = asyncio.create_task(work.room())
        await until(lambda: syncs.running == CONCURRENCY)
        assert not waiting.done()
        syncs.gate.set()
        async with asyncio.timeout(10):
            await waiting


async def test_backlog_of_one_policy_needs_two_syncs_at_most() -> None:
    syncs = Syncs()
    async with running(syncs) as work:
        for second in range(100_000):
            work.add(policy("a"), at(second))
            if second == 50_000:
                await asyncio.sleep(0)
        await until(lambda: not len(work))
    assert syncs.counts[policy("a")] <= 2


async def test_failed_sync_does_not_stop_the_others() -> None:
    syncs = Syncs()
    syncs.error = RuntimeError("a bug")
    async with running(syncs) as work:
        work.add(policy("a"), at(1))
        await until(lambda: not len(work))
        syncs.error = None
        work.add(policy("b"), at(1))
        await until(lambda: not len(work))
    assert syncs.counts == {policy("a"): 1, policy("b"): 1}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), min_size=1, max_size=30), st.randoms())
def test_last_change_of_each_subject_is_synced_in_any_order(
    entries: list[tuple[str, int]], random: object
) -> None:
    async def scenario() -> None:
        begun: dict[str, int] = {}
        seen: dict[str, int] = {}

        async def sync(subject: Subject) -> None:
            begun[subject.project_id] = seen[subject.project_id]

        work = FeedWork(sync, lambda: START)
        task = asyncio.create_task(work.run())
        delivered = [*entries, *entries]
        random.shuffle(delivered)  # type: ignore[attr-defined]
        for name, second in delivered:
            seen[name] = max(second, seen.get(name, 0))
            work.add(policy(name), at(second))
            if second % 3 == 0:
                await asyncio.sleep(0)
        await until(lambda: not len(work))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert begun == seen  # each sync began after the last change was known

    asyncio.run(scenario())
