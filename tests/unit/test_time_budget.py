"""Time budgets of tests."""

import asyncio

import pytest

from tests.time_budget import TimeBudget, time_budget


class Clock:
    """A clock that advances on request."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("busyness", "lasts"), [(1.0, 40), (10.0, 400)])
def test_budget_lasts_longer_on_a_busy_machine(busyness: float, lasts: int) -> None:
    clock = Clock()
    budget = TimeBudget(40.0, clock=clock, busyness=lambda: busyness)
    spent_at = []
    for second in range(1, 1000):
        clock.now = float(second)
        if budget.is_spent():
            spent_at.append(second)
    assert spent_at[0] in (lasts, lasts + 1)


async def test_spent_budget_ends_the_block() -> None:
    with pytest.raises(TimeoutError):
        async with time_budget(0.0):
            await asyncio.Event().wait()


async def test_block_within_its_budget_is_not_ended() -> None:
    async with time_budget():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
