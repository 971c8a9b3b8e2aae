"""Wait for conditions (`eventually`, `becomes`), never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.time_budget import POLL_EVERY, WITHIN, TimeBudget

_T = TypeVar("_T")


def eventually(observe: Callable[[], _T], retains: Callable[[_T], bool], within: float = WITHIN) -> _T:
    """Return what `observe` returns once `retains` accepts it; fail with the last value."""
    budget = TimeBudget(within)
    while not retains(seen := observe()):
        if budget.is_spent():
            raise AssertionError(f"condition not met after {within:g} s; seen last: {seen!r}")
        time.sleep(POLL_EVERY)
    return seen


def becomes(observe: Callable[[], _T], expected: _T, within: float = WITHIN) -> None:
    """Wait until `observe` returns `expected`; fail with the difference."""
    budget = TimeBudget(within)
    while (seen := observe()) != expected and not budget.is_spent():
        time.sleep(POLL_EVERY)
    assert seen == expected
