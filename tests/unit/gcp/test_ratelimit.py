"""Token buckets on a fake clock."""

import asyncio

import pytest

from cloudrun_identity.gcp.errors import LONGEST_RATE_PAUSE
from cloudrun_identity.gcp.ratelimit import (
    CALL_MEMORY,
    DEFAULT_RATES,
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
    return RateLimiter({(api, kind): Rate(per_minute, burst) for api in Api for kind in CallKind})


def now() -> float:
    return asyncio.get_running_loop().time()


async def granted_at(
    limits: RateLimiter, key: BucketKey = WRITES, priority: Priority = Priority.EDIT
) -> float:
    await limits.acquire(key, priority)
    return now()


async def test_burst_gets_tokens_at_once_and_the_rest_at_the_rate() -> None:
    limits = limiter(per_minute=60, burst=3)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(6)))

    assert times == pytest.approx([0, 0, 0, 1, 2, 3])


async def test_bucket_holds_at_most_the_burst() -> None:
    limits = limiter(per_minute=60, burst=2)
    await asyncio.gather(*(granted_at(limits) for _ in range(2)))
    await asyncio.sleep(100)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(4)))

    assert times == pytest.approx([100, 100, 101, 102])


async def test_drained_bucket_refills_after_at_most_the_maximum_pause() -> None:
    limits = limiter(per_minute=60, burst=1)
    limits.drain(WRITES, retry_after=86_400)
    assert await granted_at(limits) == pytest.approx(LONGEST_RATE_PAUSE + 1)


async def test_edit_gets_a_token_before_waiting_resyncs() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    resyncs = [asyncio.create_task(granted_at(limits, priority=Priority.RESYNC)) for _ in range(2)]
    await asyncio.sleep(0)

    edit = await granted_at(limits)

    assert edit == pytest.approx(1)
    assert await asyncio.gather(*resyncs) == pytest.approx([2, 3])


async def test_calls_of_one_priority_get_tokens_in_order() -> None:
    limits = limiter(per_minute=60, burst=1)
    order: list[int] = []

    async def ask(number: int) -> None:
        await limits.acquire(WRITES, Priority.EDIT)
        order.append(number)

    await asyncio.gather(*(ask(number) for number in range(5)))

    assert order == [0, 1, 2, 3, 4]


async def test_canceled_call_takes_no_token() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    canceled = asyncio.create_task(granted_at(limits))
    waiting = asyncio.create_task(granted_at(limits))
    await asyncio.sleep(0)
    canceled.cancel()

    assert await waiting == pytest.approx(1)


async def test_api_kind_project_and_region_have_separate_buckets() -> None:
    limits = limiter(per_minute=60, burst=1)
    keys = [
        WRITES,
        BucketKey(Api.IAM, CallKind.READ),
        BucketKey(Api.RUN, CallKind.WRITE),
        BucketKey(Api.IAM, CallKind.WRITE, quota_project="ops"),
        BucketKey(Api.RUN, CallKind.WRITE, region="europe-west1"),
    ]

    assert await asyncio.gather(*(granted_at(limits, key) for key in keys)) == [0] * 5


async def test_drained_bucket_stays_empty_for_the_retry_delay() -> None:
    limits = limiter(per_minute=60, burst=10)
    await limits.acquire(WRITES, Priority.EDIT)
    limits.drain(WRITES, retry_after=30)

    times = await asyncio.gather(*(granted_at(limits) for _ in range(2)))

    assert times == pytest.approx([31, 32])


async def test_drained_bucket_without_a_delay_refills_at_its_rate() -> None:
    limits = limiter(per_minute=60, burst=10)
    await limits.acquire(WRITES, Priority.EDIT)
    limits.drain(WRITES, retry_after=None)

    assert await granted_at(limits) == pytest.approx(1)


async def test_waiting_calls_wait_longer_after_a_drain() -> None:
    limits = limiter(per_minute=60, burst=1)
    await limits.acquire(WRITES, Priority.EDIT)
    waiting = asyncio.create_task(granted_at(limits))
    await asyncio.sleep(0.5)
    limits.drain(WRITES, retry_after=10)

    assert await waiting == pytest.approx(11.5)


# Quotas per minute that Google documents.
QUOTAS = {
    (Api.IAM, CallKind.READ): 6000,
    (Api.IAM, CallKind.WRITE): 600,
    (Api.RESOURCE_MANAGER, CallKind.READ): 2400,
    (Api.RUN, CallKind.READ): 3000,
    (Api.RUN, CallKind.WRITE): 180,
}


@pytest.mark.parametrize(("key", "quota"), QUOTAS.items())
def test_rate_and_burst_stay_below_85_percent_of_the_quota(key: tuple[Api, CallKind], quota: int) -> None:
    rate = DEFAULT_RATES[key]

    assert rate.per_minute + rate.burst <= quota * 0.85


def test_every_api_has_a_rate_for_reads_and_writes() -> None:
    assert set(DEFAULT_RATES) == {(api, kind) for api in Api for kind in CallKind}


async def test_reserved_token_serves_the_first_call_of_its_block() -> None:
    limits = limiter(per_minute=60, burst=1)
    async with limits.reserved(WRITES, Priority.EDIT, "policy") as reservation:
        assert await granted_at(limits) == 0
        assert reservation.is_used
        assert await granted_at(limits) == pytest.approx(1), "the second call takes a token of its own"


async def test_unused_reserved_token_is_returned() -> None:
    limits = limiter(per_minute=60, burst=1)
    async with limits.reserved(WRITES, Priority.EDIT, "policy"):
        assert await granted_at(limits, BucketKey(Api.IAM, CallKind.READ)) == 0
    assert await granted_at(limits) == 0


async def test_calls_are_spaced_only_while_they_are_continuous() -> None:
    limits = limiter(per_minute=60, burst=5)
    for number in range(5):
        async with limits.reserved(WRITES, Priority.EDIT, f"policy-{number % 2}"):
            await limits.acquire(WRITES, Priority.EDIT)
    assert limits.spacing(WRITES) == 0
    async with limits.reserved(WRITES, Priority.EDIT, "policy-0"):
        await limits.acquire(WRITES, Priority.EDIT)
    assert limits.spacing(WRITES) == pytest.approx(3), "two resources, one call per second, two thirds of it"
    await asyncio.sleep(CALL_MEMORY + 1)
    assert limits.spacing(WRITES) == 0
