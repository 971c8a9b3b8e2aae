import asyncio

import pytest

from cloudrun_identity.policy.exclusive import HOUR, RemovalRateLimiter

pytestmark = pytest.mark.looptime(start=0)


async def test_removals_up_to_the_limit_are_admitted() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)

    assert removal_limiter.admit("shop", 2) == 2
    assert removal_limiter.admit("shop", 5) == 1
    assert removal_limiter.admit("shop", 1) == 0


async def test_removals_that_did_not_happen_are_refunded() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)
    removal_limiter.admit("shop", 3)
    removal_limiter.refund("shop", 2)

    assert removal_limiter.admit("shop", 3) == 2


async def test_removals_older_than_an_hour_are_not_refunded_twice() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)
    removal_limiter.admit("shop", 3)
    await asyncio.sleep(HOUR + 1)
    removal_limiter.refund("shop", 3)

    assert removal_limiter.admit("shop", 9) == 3


async def test_projects_have_separate_limits() -> None:
    removal_limiter = RemovalRateLimiter({"shop": 1, "bank": 2}.__getitem__)
    removal_limiter.admit("shop", 1)

    assert (removal_limiter.admit("shop", 9), removal_limiter.admit("bank", 9)) == (0, 2)


async def test_removals_are_admitted_again_after_an_hour() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 1)
    removal_limiter.admit("shop", 1)
    await asyncio.sleep(HOUR + 1)

    assert removal_limiter.admit("shop", 1) == 1


async def test_limit_lowered_below_the_used_budget_admits_nothing() -> None:
    limits = {"shop": 5}
    removal_limiter = RemovalRateLimiter(limits.__getitem__)
    removal_limiter.admit("shop", 4)
    limits["shop"] = 2

    assert removal_limiter.admit("shop", 1) == 0
