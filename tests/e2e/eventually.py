"""Waiting for what the operator brings about: for conditions, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

WITHIN = 40.0
"""Seconds; most conditions hold after one or two, more only on a machine that is busy with other things."""

POLL_EVERY = 0.1

_T = TypeVar("_T")


def eventually(observe: Callable[[], _T], retains: Callable[[_T], bool], within: float = WITHIN) -> _T:
    """What `observe` answers once it `holds`; fails with what was seen last."""
    deadline = time.monotonic() + within
    while not retains(seen := observe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {within:g} s; seen last: {seen!r}")
        time.sleep(POLL_EVERY)
    return seen


def becomes(observe: Callable[[], _T], expected: _T, within: float = WITHIN) -> None:
    """Wait until `observe` answers `expected`; fails with the difference."""
    deadline = time.monotonic() + within
    while (seen := observe()) != expected and time.monotonic() < deadline:
        time.sleep(POLL_EVERY)
    assert seen == expected
