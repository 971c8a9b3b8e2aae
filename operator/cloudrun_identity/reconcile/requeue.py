"""Decide when to reconcile an object again."""

from collections.abc import Iterable
from dataclasses import dataclass

from .outcomes import Failing, InSync, Outcome, Waiting
from .progress_deadline import is_stalling


@dataclass(frozen=True, slots=True)
class NoRequeue:
    """Reconcile again only after a change, or when the resync finds a difference."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Reconcile again after some time."""

    after: float | None = None
    """Seconds; None for the backoff of the work queue."""
    at_most: float | None = None
    """Seconds after which the backoff ends at the latest; None for no such limit."""


Requeue = NoRequeue | RequeueAfter


def requeue_after(
    outcome: Outcome, others: Iterable[Outcome] = (), stalls_in: float | None = None
) -> Requeue:
    """Return the earliest requeue that the outcome of a reconcile, or one of the `others`, asks for.

    An outcome that waits for an event asks for none. A failure without a time of its own backs off, and
    delays the others.

    `stalls_in` is the time in seconds until the object is Stalled because of the outcome. A Stalled object is
    retried by the resync alone, apart from `others` that do not stall it.
    """
    if stalls_in is None:
        return _earliest(outcome, others)
    if stalls_in <= 0:
        return _earliest(InSync(), (each for each in others if not is_stalling(each)))
    match _earliest(outcome, others):
        case NoRequeue():
            return RequeueAfter(stalls_in)
        case RequeueAfter(after=seconds) if seconds is not None:
            return RequeueAfter(min(seconds, stalls_in))
        case RequeueAfter():
            return RequeueAfter(at_most=stalls_in)


def no_later_than(requeue: Requeue, seconds: float | None) -> Requeue:
    """Return a requeue that happens after `seconds` at the latest; the same one for None."""
    if seconds is None:
        return requeue
    match requeue:
        case NoRequeue():
            return RequeueAfter(seconds)
        case RequeueAfter(after=after) if after is not None:
            return RequeueAfter(min(after, seconds))
        case RequeueAfter(at_most=at_most):
            return RequeueAfter(at_most=seconds if at_most is None else min(at_most, seconds))


def _earliest(outcome: Outcome, others: Iterable[Outcome]) -> Requeue:
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
