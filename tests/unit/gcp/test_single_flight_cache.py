import asyncio

import pytest

from cloudrun_identity.gcp.single_flight_cache import CacheTable, SingleFlightCache

pytestmark = pytest.mark.looptime(start=0)


class Source:
    """Answers with the number of the read, after a second."""

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


def aged(source: Source) -> SingleFlightCache[int]:
    return SingleFlightCache(source.read, now)


async def test_a_reading_is_shared_while_it_is_young_enough() -> None:
    source = Source()
    values = aged(source)
    first = await values.get(after=now() - 10)
    await asyncio.sleep(5)

    assert await values.get(after=now() - 10) is first
    assert (await values.get(after=now() - 6)).value == 2
    assert first.began == 0


async def test_concurrent_callers_share_the_read_under_way() -> None:
    source = Source()
    values = aged(source)

    readings = await asyncio.gather(*(values.get(after=now() - 10) for _ in range(20)))

    assert {reading.value for reading in readings} == {1}


async def test_a_reading_is_kept_before_anybody_has_it() -> None:
    """Or who wants to see it kept asks again and again in the moment in which the read ends."""
    ending = asyncio.Event()

    async def read() -> int:
        await ending.wait()
        return 1

    async def ask_as_it_ends() -> bool:
        await ending.wait()
        return await values.get(after=-1) is values.latest

    values = SingleFlightCache(read, now)
    first = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(1)
    second = asyncio.create_task(ask_as_it_ends())
    await asyncio.sleep(1)
    ending.set()

    assert await second
    assert (await first).value == 1


async def test_a_read_that_began_too_early_is_not_joined() -> None:
    source = Source()
    values = aged(source)
    early = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(0.5)

    assert (await values.get(after=0.2)).value == 2
    assert (await early).value == 1


async def test_who_joined_a_slow_read_gets_the_newer_one_that_overtook_it() -> None:
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


async def test_a_failure_reaches_everybody_who_shared_it_and_is_not_kept() -> None:
    source = Source()
    source.failing = True
    values = aged(source)

    failures = await asyncio.gather(*(values.get(after=-1) for _ in range(2)), return_exceptions=True)
    source.failing = False

    assert [str(failure) for failure in failures] == ["read 1", "read 1"]
    assert (await values.get(after=-1)).value == 2


async def test_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    source = Source()
    values = aged(source)
    impatient = asyncio.create_task(values.get(after=-1))
    patient = asyncio.create_task(values.get(after=-1))
    await asyncio.sleep(0.5)
    impatient.cancel()

    assert (await patient).value == 1


async def test_of_many_things_those_that_were_asked_about_last_are_kept() -> None:
    shelf: CacheTable[str, int] = CacheTable(now, capacity=2)
    sources = {key: Source() for key in "abc"}

    async def asked(key: str) -> int:
        return await shelf.get(key, sources[key].read, max_age=100)

    assert [await asked(key) for key in "abacab"] == [1, 1, 1, 1, 1, 2]


async def test_what_is_forgotten_is_read_anew() -> None:
    source = Source()
    shelf: CacheTable[str, int] = CacheTable(now, capacity=2)
    await shelf.get("a", source.read, max_age=100)
    shelf.forget("a")
    shelf.forget("never asked about")
    assert await shelf.get("a", source.read, max_age=100) == 2
