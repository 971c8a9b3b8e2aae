import asyncio

import pytest

from cloudrun_identity.policy.exclusive import HOUR, RemovalRateLimiter

pytestmark = pytest.mark.looptime(start=0)


async def test_so_many_removals_an_hour_are_admitted_and_no_more() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)

    assert removal_limiter.admit("shop", 2) == 2
    removal_limiter.record("shop", 2)
    assert removal_limiter.admit("shop", 5) == 1
    removal_limiter.record("shop", 1)
    assert removal_limiter.admit("shop", 1) == 0


async def test_projects_do_not_share_a_brake() -> None:
    removal_limiter = RemovalRateLimiter({"shop": 1, "bank": 2}.__getitem__)
    removal_limiter.record("shop", 1)

    assert (removal_limiter.admit("shop", 9), removal_limiter.admit("bank", 9)) == (0, 2)


async def test_an_hour_later_removals_go_on() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 1)
    removal_limiter.record("shop", 1)
    await asyncio.sleep(HOUR + 1)

    assert removal_limiter.admit("shop", 1) == 1


async def test_a_limit_that_was_lowered_below_what_is_used_up_admits_nothing() -> None:
    limits = {"shop": 5}
    removal_limiter = RemovalRateLimiter(limits.__getitem__)
    removal_limiter.record("shop", 4)
    limits["shop"] = 2

    assert removal_limiter.admit("shop", 1) == 0
