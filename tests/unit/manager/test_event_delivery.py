"""Delivery of events from another thread: order, precedence of urgent events, and turns of other work."""

import asyncio
from functools import partial

from cloudrun_identity.manager.event_delivery import BATCH_SECONDS, MAX_WAITING, EventDelivery
from tests.time_budget import time_budget


class Clock:
    """A clock that advances by the cost of each event."""

    def __init__(self, cost: float) -> None:
        self._cost = cost
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def take(self, seen: list[str], name: str) -> None:
        self._now += self._cost
        seen.append(name)


async def until(seen: list[str], name: str) -> None:
    async with time_budget():
        while name not in seen:  # noqa: ASYNC110 - the turns of the loop are what is tested
            await asyncio.sleep(0)


async def test_events_of_another_thread_keep_their_order() -> None:
    clock, seen = Clock(BATCH_SECONDS / 4), list[str]()
    delivery = EventDelivery(clock)
    names = [str(number) for number in range(100)]

    def put() -> None:
        for name in names:
            delivery.put(partial(clock.take, seen, name))

    await asyncio.to_thread(put)
    await until(seen, names[-1])
    assert seen == names


async def test_urgent_event_precedes_all_but_one_batch() -> None:
    clock, seen = Clock(BATCH_SECONDS / 4), list[str]()
    delivery = EventDelivery(clock)
    for number in range(MAX_WAITING):
        delivery.put(partial(clock.take, seen, str(number)))
    delivery.put_first(partial(seen.append, "lease"))
    await until(seen, "lease")
    assert seen == ["0", "1", "2", "3", "lease"]


async def test_slow_events_leave_turns_to_other_work() -> None:
    clock, seen = Clock(BATCH_SECONDS), list[str]()
    delivery = EventDelivery(clock)
    for name in ("first", "second", "third"):
        delivery.put(partial(clock.take, seen, name))
    asyncio.get_running_loop().call_soon(seen.append, "other work")
    await until(seen, "third")
    assert seen == ["first", "other work", "second", "third"]


async def test_event_that_fails_does_not_stop_the_next_ones() -> None:
    seen = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    delivery = EventDelivery()
    delivery.put(lambda: [][0])
    delivery.put(partial(seen.append, "next"))
    await until(seen, "next")


async def test_no_event_runs_after_the_end_and_no_thread_waits() -> None:
    seen = list[str]()
    delivery = EventDelivery()
    for number in range(MAX_WAITING + 1):
        delivery.put(partial(seen.append, str(number)))
    delivery.put_first(partial(seen.append, "lease"))
    delivery.end()
    async with time_budget():
        await delivery.room()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == []


async def test_thread_waits_while_too_many_events_wait() -> None:
    seen = list[str]()
    delivery = EventDelivery()
    for number in range(MAX_WAITING + 1):
        delivery.put(partial(seen.append, str(number)))
    async with time_budget():
        await delivery.room()
    assert seen
