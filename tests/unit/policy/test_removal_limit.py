import asyncio

import pytest

from cloudrun_identity.policy.removal_limit import HOUR, RemovalRateLimiter

pytestmark = pytest.mark.looptime(start=0)

TEAMS = frozenset({"shop", "bank"})


def shared(limit: int) -> RemovalRateLimiter:
    return RemovalRateLimiter(lambda _: limit, lambda _: TEAMS)


async def test_removals_up_to_the_limit_are_admitted() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)

    assert removal_limiter.admit("p", "shop", 2) == 2
    assert removal_limiter.admit("p", "shop", 5) == 1
    assert removal_limiter.admit("p", "shop") == 0


async def test_one_namespace_leaves_the_others_their_share() -> None:
    removal_limiter = shared(5)

    assert removal_limiter.admit("p", "shop", 9) == 3
    assert removal_limiter.admit("p", "bank", 9) == 2
    assert removal_limiter.budget("p").used == {"shop": 3, "bank": 2}


async def test_share_returns_to_its_namespace_after_an_hour() -> None:
    removal_limiter = shared(4)
    removal_limiter.admit("p", "shop", 2)
    await asyncio.sleep(HOUR / 2)
    removal_limiter.admit("p", "bank", 2)
    await asyncio.sleep(HOUR / 2 + 1)

    assert (removal_limiter.admit("p", "bank", 9), removal_limiter.admit("p", "shop", 9)) == (0, 2)


async def test_removals_that_did_not_happen_are_refunded_to_their_namespace() -> None:
    removal_limiter = shared(4)
    removal_limiter.admit("p", "shop", 2)
    removal_limiter.admit("p", "bank", 2)
    removal_limiter.refund("p", "shop")

    assert removal_limiter.budget("p").used == {"shop": 1, "bank": 2}
    assert removal_limiter.admit("p", "shop", 9) == 1


async def test_removals_older_than_an_hour_are_not_refunded_twice() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)
    removal_limiter.admit("p", "shop", 3)
    await asyncio.sleep(HOUR + 1)
    removal_limiter.refund("p", "shop", 3)

    assert removal_limiter.admit("p", "shop", 9) == 3


async def test_projects_have_separate_limits() -> None:
    removal_limiter = RemovalRateLimiter({"one": 1, "two": 2}.__getitem__)
    removal_limiter.admit("one", "shop")

    assert (removal_limiter.admit("one", "shop", 9), removal_limiter.admit("two", "shop", 9)) == (0, 2)


async def test_removals_are_admitted_again_after_an_hour() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 1)
    removal_limiter.admit("p", "shop")
    await asyncio.sleep(HOUR + 1)

    assert removal_limiter.admit("p", "shop") == 1


async def test_limit_lowered_below_the_used_budget_admits_nothing() -> None:
    limits = {"p": 5}
    removal_limiter = RemovalRateLimiter(limits.__getitem__)
    removal_limiter.admit("p", "shop", 4)
    limits["p"] = 2

    assert removal_limiter.admit("p", "shop") == 0
