import asyncio

import pytest

from cloudrun_identity.policy.removal_limit import HOUR, RecentRemovals, RemovalRateLimiter

pytestmark = pytest.mark.looptime(start=0)

TEAMS = frozenset({"shop", "bank"})


def shared(limit: int) -> RemovalRateLimiter:
    return RemovalRateLimiter(lambda _: limit, lambda _: TEAMS)


def admit(limiter: RemovalRateLimiter, project_id: str, namespace: str, wanted: int) -> int:
    """Ask for this many removals; return how many are admitted."""
    return sum(limiter.admit(project_id, namespace) for _ in range(wanted))


async def test_removals_up_to_the_limit_are_admitted() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)

    assert admit(removal_limiter, "p", "shop", 2) == 2
    assert admit(removal_limiter, "p", "shop", 5) == 1
    assert admit(removal_limiter, "p", "shop", 1) == 0


async def test_one_namespace_leaves_the_others_their_share() -> None:
    removal_limiter = shared(5)

    assert admit(removal_limiter, "p", "shop", 9) == 3
    assert admit(removal_limiter, "p", "bank", 9) == 2
    assert removal_limiter.budget("p").used == {"shop": 3, "bank": 2}


async def test_share_returns_to_its_namespace_after_an_hour() -> None:
    removal_limiter = shared(4)
    admit(removal_limiter, "p", "shop", 2)
    await asyncio.sleep(HOUR / 2)
    admit(removal_limiter, "p", "bank", 2)
    await asyncio.sleep(HOUR / 2 + 1)

    assert (admit(removal_limiter, "p", "bank", 9), admit(removal_limiter, "p", "shop", 9)) == (0, 2)


async def test_removals_that_did_not_happen_are_refunded_to_their_namespace() -> None:
    removal_limiter = shared(4)
    admit(removal_limiter, "p", "shop", 2)
    admit(removal_limiter, "p", "bank", 2)
    removal_limiter.refund("p", "shop")

    assert removal_limiter.budget("p").used == {"shop": 1, "bank": 2}
    assert admit(removal_limiter, "p", "shop", 9) == 1


async def test_removals_older_than_an_hour_are_not_refunded_twice() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 3)
    admit(removal_limiter, "p", "shop", 3)
    await asyncio.sleep(HOUR + 1)
    for _ in range(3):
        removal_limiter.refund("p", "shop")

    assert admit(removal_limiter, "p", "shop", 9) == 3


async def test_removals_of_an_earlier_limiter_count() -> None:
    removals = RecentRemovals()
    admit(RemovalRateLimiter(lambda _: 3, removals=removals), "p", "shop", 2)

    assert admit(RemovalRateLimiter(lambda _: 3, removals=removals), "p", "shop", 9) == 1


async def test_projects_have_separate_limits() -> None:
    removal_limiter = RemovalRateLimiter({"one": 1, "two": 2}.__getitem__)
    admit(removal_limiter, "one", "shop", 1)

    assert (admit(removal_limiter, "one", "shop", 9), admit(removal_limiter, "two", "shop", 9)) == (0, 2)


async def test_removals_are_admitted_again_after_an_hour() -> None:
    removal_limiter = RemovalRateLimiter(lambda _: 1)
    admit(removal_limiter, "p", "shop", 1)
    await asyncio.sleep(HOUR + 1)

    assert admit(removal_limiter, "p", "shop", 1) == 1


async def test_limit_lowered_below_the_used_budget_admits_nothing() -> None:
    limits = {"p": 5}
    removal_limiter = RemovalRateLimiter(limits.__getitem__)
    admit(removal_limiter, "p", "shop", 4)
    limits["p"] = 2

    assert admit(removal_limiter, "p", "shop", 1) == 0
