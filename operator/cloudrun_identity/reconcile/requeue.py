"""Decide when to reconcile an object again."""

from collections.abc import Iterable
from dataclasses import dataclass

from .outcomes import Failing, InSync, Outcome, Waiting


@dataclass(frozen=True, slots=True)
class NoRequeue:
    """Reconcile again only after a change, or when the resync finds a difference."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Reconcile again after some time."""

    after: float | None = None
    """Seconds; None for the backoff of the work queue."""


Requeue = NoRequeue | RequeueAfter


def requeue_after(outcome: Outcome, others: Iterable[Outcome] = ()) -> Requeue:
    """Return the earliest requeue that the outcome of a reconcile, or one of the `others`, asks for.

    An outcome that waits for an event asks for none. A failure without a time of its own backs off, and
    delays the others.
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
