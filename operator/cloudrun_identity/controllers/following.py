"""When to look at an object again."""

from dataclasses import dataclass
from typing import assert_never

from .outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until something changes or the sweep finds a difference."""


@dataclass(frozen=True, slots=True)
class Again:
    """Look again in `after` seconds; None leaves it to the backoff of the queue."""

    after: float | None = None


Next = Rest | Again


def following(outcome: Outcome) -> Next:
    """What an outcome asks for: waiting for an event asks for nothing."""
    match outcome:
        case Waiting(after=after) if after is not None:
            return Again(after)
        case Failing(after=after):
            return Again(after)
        case InSync() | Paused() | Waiting() | Refused():
            return Rest()
        case _:
            assert_never(outcome)
