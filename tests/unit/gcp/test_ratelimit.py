import asyncio

import pytest

from cloudrun_identity.gcp.ratelimit import (
    DEFAULT_RATES,
    LONGEST_PAUSE,
    Api,
    BucketKey,
    CallKind,
    Priority,
    Rate,
    RateLimiter,
)

pytestmark = pytest.mark.looptime(start=0)

WRITES = BucketKey(Api.IAM, CallKind.WRITE)


def limiter(per_minute: float, burst: int) -> RateLimiter:
    return RateLimiter({(api, access): Rate(per_minute, burst) for api in Api for access in CallKind})


def now() -> float:
    return asyncio.get_running_loop().time()


async def granted_at(
    limits: RateLimiter, key: BucketKey = WRITES, priority: Priority = Priority.EDIT
) -> float:
    await limits.acquire(key, priority)
    return now()


async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    limits = limiter(per_minute=60, burst=3)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(6)))

    assert times == pytest.approx([0, 0, 0, 1, 2, 3])


async def test_unused_tokens_pile_up_to_the_burst_and_no_further() -> None:
    limits = limiter(per_minute=60, burst=2)
    await asyncio.gather(*(granted_at(limits) for _ in range(2)))
    await asyncio.sleep(100)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(4)))

    assert times == pytest.approx([100, 100, 101, 102])


async def test_a_bucket_is_tried_again_after_a_minute_however_long_google_asks_to_wait() -> None:
    limits = limiter(per_minute=60, burst=1)
    limits.exhausted(WRITES, retry_after=86_400)
    assert await granted_at(limits) == pytest.approx(LONGEST_PAUSE + 1)


async def test_an_edit_overtakes_the_resyncs_that_wait() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    resyncs = [asyncio.create_task(granted_at(limits, priority=Priority.RESYNC)) for _ in range(2)]
    await asyncio.sleep(0)

    edit = await granted_at(limits)

    assert edit == pytest.approx(1)
    assert await asyncio.gather(*resyncs) == pytest.approx([2, 3])


async def test_whoever_asked_first_goes_first() -> None:
    limits = limiter(per_minute=60, burst=1)
    order: list[int] = []

    async def ask(number: int) -> None:
        await limits.acquire(WRITES, Priority.EDIT)
        order.append(number)

    await asyncio.gather(*(ask(number) for number in range(5)))

    assert order == [0, 1, 2, 3, 4]


async def test_who_gives_up_costs_no_token() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    impatient = asyncio.create_task(granted_at(limits))
    patient = asyncio.create_task(granted_at(limits))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient == pytest.approx(1)


async def test_buckets_are_separate_for_api_access_project_and_region() -> None:
    limits = limiter(per_minute=60, burst=1)
    keys = [
        WRITES,
        BucketKey(Api.IAM, CallKind.READ),
        BucketKey(Api.RUN, CallKind.WRITE),
        BucketKey(Api.IAM, CallKind.WRITE, quota_project="ops"),
        BucketKey(Api.RUN, CallKind.WRITE, region="europe-west1"),
    ]

    assert await asyncio.gather(*(granted_at(limits, key) for key in keys)) == [0] * 5


async def test_an_exhausted_bucket_stays_empty_for_as_long_as_google_says() -> None:
    limits = limiter(per_minute=60, burst=10)
    await limits.acquire(WRITES, Priority.EDIT)
    limits.exhausted(WRITES, retry_after=30)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(2)))

    assert times == pytest.approx([31, 32])


async def test_an_exhausted_bucket_without_a_time_fills_at_its_rate() -> None:
    limits = limiter(per_minute=60, burst=10)
    await limits.acquire(WRITES, Priority.EDIT)
    limits.exhausted(WRITES, retry_after=None)

    assert await granted_at(limits) == pytest.approx(1)


async def test_those_who_wait_when_the_bucket_is_drained_wait_longer() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    waiting = asyncio.create_task(granted_at(limits))
    await asyncio.sleep(0.5)
    limits.exhausted(WRITES, retry_after=10)

    assert await waiting == pytest.approx(11.5)


# The quotas a minute that Google documents, as far as it does.
GOOGLES = {
    (Api.IAM, CallKind.READ): 6000,
    (Api.IAM, CallKind.WRITE): 600,
    (Api.RESOURCE_MANAGER, CallKind.READ): 2400,
    (Api.RUN, CallKind.READ): 3000,
    (Api.RUN, CallKind.WRITE): 180,
}


@pytest.mark.parametrize(("key", "quota"), GOOGLES.items())
def test_no_minute_of_ours_comes_near_googles_quota(key: tuple[Api, CallKind], quota: int) -> None:
    rate = DEFAULT_RATES[key]

    assert rate.per_minute + rate.burst <= quota * 0.85


def test_every_api_has_a_rate_for_reads_and_writes() -> None:
    assert set(DEFAULT_RATES) == {(api, access) for api in Api for access in CallKind}
