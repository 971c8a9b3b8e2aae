"""Reads that concurrent callers share."""

import asyncio

import pytest

from cloudrun_identity.gcp.single_flight_cache import KeyedSingleFlightCache, SingleFlightCache

pytestmark = pytest.mark.looptime(start=0)


class Source:
    """Source that returns the number of the read after a second."""

    def __init__(self) -> None:
        self.reads = 0
        self.failing = False

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        await asyncio.sleep(1)
        if self.failing:
            raise ConnectionError(f"read {number}")
        return number


def now() -> float:
    return asyncio.get_running_loop().time()


def cached(source: Source) -> SingleFlightCache[int]:
    return SingleFlightCache(source.read, now)


async def test_reading_is_reused_up_to_its_maximum_age() -> None:
    source = Source()
    values = cached(source)
    first = await values.get(after=now() - 10)
    await asyncio.sleep(5)

    assert await values.get(after=now() - 10) is first
    assert (await values.get(after=now() - 6)).value == 2
    assert first.started == 0


async def test_concurrent_callers_share_the_read_in_flight() -> None:
    source = Source()
    values = cached(source)

    readings = await asyncio.gather(*(values.get(after=now() - 10) for _ in range(20)))

    assert {reading.value for reading in readings} == {1}


async def test_reading_is_cached_before_its_callers_resume() -> None:
    """Otherwise a caller that requires a cached reading would read in a loop while the read ends."""
    ending = asyncio.Event()

    async def read() -> int:
        await ending.wait()
        return 1

    async def get_at_the_end() -> bool:
        await ending.wait()
        return await values.get(after=-1) is values.latest

    values = SingleFlightCache(read, now)
    first = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(1)
    second = asyncio.create_task(get_at_the_end())
    await asyncio.sleep(1)
    ending.set()

    assert await second
    assert (await first).value == 1


async def test_read_that_started_too_early_is_not_shared() -> None:
    source = Source()
    values = cached(source)
    early = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(0.5)

    assert (await values.get(after=0.2)).value == 2
    assert (await early).value == 1


async def test_caller_of_a_slow_read_gets_a_newer_reading() -> None:
    durations = iter([10.0, 1.0])
    reads = iter(["old", "new"])

    async def read() -> str:
        text = next(reads)
        await asyncio.sleep(next(durations))
        return text

    values = SingleFlightCache(read, now)
    slow = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(1)
    await values.get(after=0.5)

    assert (await slow).value == "new"


async def test_failure_is_raised_to_all_callers_and_not_cached() -> None:
    source = Source()
    source.failing = True
    values = cached(source)

    failures = await asyncio.gather(*(values.get(after=-1) for _ in range(2)), return_exceptions=True)
    source.failing = False

    assert [str(failure) for failure in failures] == ["read 1", "read 1"]
    assert (await values.get(after=-1)).value == 2


async def test_canceled_caller_does_not_cancel_the_read_of_others() -> None:
    source = Source()
    values = cached(source)
    canceled = asyncio.create_task(values.get(after=-1))
    waiting = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(0.5)
    canceled.cancel()

    assert (await waiting).value == 1


async def test_least_recently_used_key_is_dropped() -> None:
    cache: KeyedSingleFlightCache[str, int] = KeyedSingleFlightCache(now, capacity=2)
    sources = {key: Source() for key in "abc"}

    async def get(key: str) -> int:
        return await cache.get(key, sources[key].read, max_age=100)

    assert [await get(key) for key in "abacab"] == [1, 1, 1, 1, 1, 2]


async def test_forgotten_key_is_read_again() -> None:
    source = Source()
    cache: KeyedSingleFlightCache[str, int] = KeyedSingleFlightCache(now, capacity=2)
    await cache.get("a", source.read, max_age=100)
    cache.forget("a")
    cache.forget("unknown")
    assert await cache.get("a", source.read, max_age=100) == 2
