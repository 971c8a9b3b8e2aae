"""The work queue on a fake clock: order, delays, backoff and shutdown."""

import asyncio
from weakref import WeakSet

import pytest

from cloudrun_identity.manager.work_queue import EDITS_PER_RESYNC, KeyedQueue, Priority, QueueClosed

pytestmark = pytest.mark.looptime

EDIT, RESYNC = Priority.EDIT, Priority.RESYNC


@pytest.fixture
def queue() -> KeyedQueue[str]:
    return KeyedQueue()


@pytest.fixture
def by_namespace() -> KeyedQueue[str]:
    return KeyedQueue(flow_of=lambda key: key.partition("/")[0])


def now() -> float:
    return asyncio.get_running_loop().time()


async def taken(queue: KeyedQueue[str]) -> list[str]:
    """Return all due keys in the order they are handed out, each processed immediately."""
    keys = []
    while len(queue):
        key, _ = await queue.get()
        queue.done(key)
        keys.append(key)
    return keys


async def test_keys_are_handed_out_in_the_order_they_became_due(queue: KeyedQueue[str]) -> None:
    for key in ("b", "a", "c"):
        queue.add(key, EDIT)
    assert await taken(queue) == ["b", "a", "c"]


async def test_key_added_twice_is_handed_out_once(queue: KeyedQueue[str]) -> None:
    queue.add("a", EDIT)
    queue.add("a", EDIT)
    assert await taken(queue) == ["a"]


async def test_edits_precede_resyncs(queue: KeyedQueue[str]) -> None:
    queue.add("resync", RESYNC)
    queue.add("edit", EDIT)
    assert await queue.get() == ("edit", EDIT)
    assert await queue.get() == ("resync", RESYNC)


async def test_edit_raises_the_priority_of_a_queued_resync(queue: KeyedQueue[str]) -> None:
    queue.add("first", RESYNC)
    queue.add("second", RESYNC)
    queue.add("second", EDIT)
    assert await queue.get() == ("second", EDIT)
    assert await queue.get() == ("first", RESYNC)
    assert len(queue) == 0


async def test_resync_does_not_lower_the_priority_of_a_queued_edit(queue: KeyedQueue[str]) -> None:
    queue.add("a", EDIT)
    queue.add("a", RESYNC)
    assert await queue.get() == ("a", EDIT)


async def test_key_added_during_processing_is_handed_out_after_done(queue: KeyedQueue[str]) -> None:
    queue.add("a", RESYNC)
    await queue.get()
    queue.add("a", RESYNC)
    queue.add("a", EDIT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1000)
    queue.done("a")
    assert await queue.get() == ("a", EDIT)
    queue.done("a")
    assert len(queue) == 0


async def test_namespaces_take_turns(by_namespace: KeyedQueue[str]) -> None:
    by_namespace.add_all([f"mallory/{number:03}" for number in range(1000)], EDIT)
    by_namespace.add_all(["payments/a", "payments/b"], EDIT)
    by_namespace.add("flows/a", EDIT)
    assert (await taken(by_namespace))[:6] == [
        *("mallory/000", "payments/a", "flows/a"),
        *("mallory/001", "payments/b", "mallory/002"),
    ]


async def test_steady_edits_do_not_hold_up_resyncs(by_namespace: KeyedQueue[str]) -> None:
    by_namespace.add_all(["payments/a", "payments/b"], RESYNC)
    for number in range(2 * EDITS_PER_RESYNC + 2):
        by_namespace.add(f"mallory/{number}", EDIT)
    order = await taken(by_namespace)
    assert order.index("payments/a") == EDITS_PER_RESYNC
    assert order.index("payments/b") == 2 * EDITS_PER_RESYNC + 1


async def test_key_of_a_flow_that_is_not_admitted_is_passed_over(by_namespace: KeyedQueue[str]) -> None:
    by_namespace.add("mallory/a", EDIT)
    by_namespace.add("payments/a", RESYNC)
    assert await by_namespace.get(lambda flow: flow == "payments") == ("payments/a", RESYNC)
    admitted = {"payments"}
    getting = asyncio.create_task(by_namespace.get(admitted.__contains__))
    await asyncio.sleep(5)
    assert not getting.done()
    admitted.add("mallory")
    by_namespace.wake()
    assert await getting == ("mallory/a", EDIT)


async def test_depth_of_flows_counts_the_due_keys(by_namespace: KeyedQueue[str]) -> None:
    by_namespace.add_all(["mallory/a", "mallory/b"], EDIT)
    by_namespace.add("payments/a", RESYNC)
    key, _ = await by_namespace.get()
    by_namespace.add(key, EDIT)
    assert by_namespace.depth_of_flows() == {"mallory": 2, "payments": 1}


async def test_done_of_a_key_that_was_not_handed_out_is_an_error(queue: KeyedQueue[str]) -> None:
    queue.add("a", EDIT)
    with pytest.raises(KeyError):
        queue.done("a")


async def test_get_waits_until_a_key_is_added(queue: KeyedQueue[str]) -> None:
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(5)
    assert not getting.done()
    queue.add("a", EDIT)
    assert await getting == ("a", EDIT)


async def test_cancelled_get_loses_no_key(queue: KeyedQueue[str]) -> None:
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.add("a", EDIT)
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    assert await asyncio.wait_for(queue.get(), 1) == ("a", EDIT)


async def test_delayed_key_is_due_after_its_delay(queue: KeyedQueue[str]) -> None:
    queue.add_after("a", 30, RESYNC)
    assert len(queue) == 0
    assert await queue.get() == ("a", RESYNC)
    assert now() == pytest.approx(30)


async def test_delayed_keys_are_handed_out_by_due_time(queue: KeyedQueue[str]) -> None:
    queue.add_after("late", 20, EDIT)
    queue.add_after("early", 10, EDIT)
    assert [(await queue.get())[0], now()] == ["early", pytest.approx(10)]
    assert [(await queue.get())[0], now()] == ["late", pytest.approx(20)]


@pytest.mark.parametrize("delays", [(10, 60), (60, 10)])
async def test_earlier_of_two_delays_wins(queue: KeyedQueue[str], delays: tuple[int, int]) -> None:
    for delay in delays:
        queue.add_after("a", delay, EDIT)
    await queue.get()
    queue.done("a")
    assert now() == pytest.approx(10)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1000)


@pytest.mark.parametrize("delays", [(10, 60), (60, 10)])
async def test_higher_priority_of_two_delays_wins(queue: KeyedQueue[str], delays: tuple[int, int]) -> None:
    queue.add_after("a", delays[0], EDIT)
    queue.add_after("a", delays[1], RESYNC)
    assert await queue.get() == ("a", EDIT)


async def test_add_ends_a_delay_and_keeps_the_higher_priority(queue: KeyedQueue[str]) -> None:
    queue.add_after("a", 60, EDIT)
    queue.add("a", RESYNC)
    assert await queue.get() == ("a", EDIT)
    queue.done("a")
    assert now() == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1000)


async def test_delay_of_a_due_key_is_ignored(queue: KeyedQueue[str]) -> None:
    queue.add("a", RESYNC)
    queue.add_after("a", 60, RESYNC)
    assert await taken(queue) == ["a"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1000)


async def test_delay_that_ends_during_processing_makes_the_key_due(queue: KeyedQueue[str]) -> None:
    queue.add("a", EDIT)
    await queue.get()
    queue.add_after("a", 5, RESYNC)
    await asyncio.sleep(10)
    assert queue.depth() == {EDIT: 0, RESYNC: 1}
    assert queue.oldest_age() == pytest.approx(5)
    queue.done("a")
    assert await queue.get() == ("a", RESYNC)


async def test_backoff_grows_from_a_quarter_second_to_two_minutes(queue: KeyedQueue[str]) -> None:
    delays = []
    for _ in range(1100):
        delays.append(queue.retry("a"))
        await queue.get()
        queue.done("a")
    assert now() == pytest.approx(sum(delays))
    for failures, delay in enumerate(delays[:8], start=1):
        assert 0.25 * 2 ** (failures - 1) <= delay <= 0.25 * 2**failures
    assert all(60 <= delay <= 120 for delay in delays[9:])
    assert len(set(delays[9:])) > 1


async def test_forget_resets_the_backoff() -> None:
    queue: KeyedQueue[str] = KeyedQueue(jitter=max)
    assert [queue.retry("a") for _ in range(3)] == [0.5, 1, 2]
    assert queue.retry("b") == 0.5
    queue.forget("a")
    assert queue.retry("a") == 0.5


async def test_retry_keeps_the_given_priority(queue: KeyedQueue[str]) -> None:
    queue.retry("a", RESYNC)
    assert await queue.get() == ("a", RESYNC)


async def test_depth_and_age_describe_the_waiting_keys(queue: KeyedQueue[str]) -> None:
    assert queue.oldest_age() == 0
    queue.add("a", RESYNC)
    await asyncio.sleep(3)
    queue.add("b", EDIT)
    queue.add("a", EDIT)
    assert queue.depth() == {EDIT: 2, RESYNC: 0}
    assert queue.oldest_age() == pytest.approx(3)
    assert await taken(queue) == ["b", "a"]
    assert queue.oldest_age() == 0


async def test_shutdown_ends_every_get(queue: KeyedQueue[str]) -> None:
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)
    queue.shutdown()
    for getting in waiting:
        with pytest.raises(QueueClosed):
            await getting
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_closed_queue_accepts_and_hands_out_no_key(queue: KeyedQueue[str]) -> None:
    queue.add("due", EDIT)
    queue.add_after("delayed", 1, EDIT)
    queue.shutdown()
    queue.add("late", EDIT)
    queue.add_after("later", 1, EDIT)
    await asyncio.sleep(5)
    assert len(queue) == 1
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_done_and_retry_are_allowed_after_shutdown(queue: KeyedQueue[str]) -> None:
    queue.add("a", EDIT)
    await queue.get()
    queue.shutdown()
    queue.retry("a")
    queue.done("a")
    assert len(queue) == 0


async def test_ended_delays_are_removed_before_their_due_time() -> None:
    class ObjectKey:
        """A key with weak references."""

    queue: KeyedQueue[ObjectKey] = KeyedQueue()
    alive: WeakSet[ObjectKey] = WeakSet()
    for _ in range(1000):
        key = ObjectKey()
        alive.add(key)
        queue.add_after(key, 86_400, RESYNC)
        queue.add(key, EDIT)
        queue.done((await queue.get())[0])
    assert len(alive) < 100


async def test_add_all_makes_every_key_due_in_their_order(queue: KeyedQueue[str]) -> None:
    queue.add_all({f"team/{number}" for number in range(9)}, EDIT)
    assert await taken(queue) == [f"team/{number}" for number in range(9)]
