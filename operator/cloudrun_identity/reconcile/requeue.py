"""When to look at an object again."""

from collections.abc import Iterable
from dataclasses import dataclass

from .outcomes import Failing, InSync, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class NoRequeue:
    """Nothing to do until something changes or the sweep finds a difference."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Look again in `after` seconds; None leaves it to the backoff of the queue."""

    after: float | None = None


Requeue = NoRequeue | RequeueAfter


def requeue_after(outcome: Outcome, others: Iterable[Outcome] = ()) -> Requeue:
    """What a pass asks for that ended in `outcome`, with `others` beside it: the soonest look of any of them.

    Waiting for an event asks for nothing. A failure without a time of its own backs off, and all with it.
    """
    if _backs_off(outcome):
        return RequeueAfter()
    outcomes = (outcome, *others)
    times = [
        each.after
        for each in outcomes
        if isinstance(each, InSync | Waiting | Failing) and each.after is not None
    ]
    if times:
        return RequeueAfter(min(times))
    return RequeueAfter() if any(map(_backs_off, outcomes)) else NoRequeue()


def _backs_off(outcome: Outcome) -> bool:
    return isinstance(outcome, Failing) and outcome.after is None
