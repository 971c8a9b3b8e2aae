"""Wait for conditions (`eventually`, `becomes`), never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

WITHIN = 40.0
"""Seconds to wait; most conditions hold after one or two, later on a busy machine."""

POLL_EVERY = 0.1

_T = TypeVar("_T")


def eventually(observe: Callable[[], _T], retains: Callable[[_T], bool], within: float = WITHIN) -> _T:
    """Return what `observe` returns once `retains` accepts it; fail with the last value."""
    deadline = time.monotonic() + within
    while not retains(seen := observe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"condition not met after {within:g} s; seen last: {seen!r}")
        time.sleep(POLL_EVERY)
    return seen


def becomes(observe: Callable[[], _T], expected: _T, within: float = WITHIN) -> None:
    """Wait until `observe` returns `expected`; fail with the difference."""
    deadline = time.monotonic() + within
    while (seen := observe()) != expected and time.monotonic() < deadline:
        time.sleep(POLL_EVERY)
    assert seen == expected
