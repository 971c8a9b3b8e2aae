"""Reduce a history that violates an invariant to the steps that matter."""

from collections.abc import Callable, Collection
from dataclasses import replace

from . import runner
from .steps import History


def shrunk(history: History, violations: Collection[str]) -> History:
    """Return the shortest history found that still has one of the violations."""

    def fails(shorter: History) -> bool:
        return not set(violations).isdisjoint(runner.run(shorter).violations)

    return shortest(history, fails)


def shortest(history: History, fails: Callable[[History], bool]) -> History:
    """Return the shortest history found that still fails, by leaving out ever smaller runs of steps."""
    size = len(history.steps) // 2
    while size:
        start = 0
        while start < len(history.steps):
            shorter = replace(history, steps=history.steps[:start] + history.steps[start + size :])
            if fails(shorter):
                history = shorter
            else:
                start += size
        size //= 2
    return history
