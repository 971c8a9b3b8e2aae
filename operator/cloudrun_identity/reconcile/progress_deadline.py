"""Decide since when an object makes no progress, and when it becomes Stalled because of that.

Some waits end only when a user acts: deploys a workload, creates an object, grants a permission. The operator
cannot distinguish them from waits that end soon. It therefore reports an object that waits as Stalled after
`spec.progressDeadline`, so that Argo CD and Flux fail instead of waiting forever. It still retries.

The status records the start of the wait, so that a restart of the operator does not extend it. The start does
not change while the object waits, whatever it waits for. An edit of the spec starts a new wait.
"""

from datetime import datetime
from typing import Final

from cloudrun_identity.api import Reason, ReconciledResource

from .outcomes import Failing, Outcome, Waiting

_STALLING: Final = frozenset(
    {
        Reason.DEPENDENCY_NOT_FOUND,
        Reason.DEPENDENCY_NOT_READY,
        Reason.WORKLOAD_NOT_FOUND,
        Reason.REVISION_FAILED,
        Reason.API_DISABLED,
        Reason.PERMISSION_DENIED,
        Reason.PERIMETER_VIOLATION,
        Reason.POLICY_UNWRITABLE,
    }
)
"""Reasons that may need an action by a user."""

_UNKNOWN: Final = frozenset({Reason.API_UNAVAILABLE, Reason.QUOTA_EXCEEDED, Reason.INTERNAL_ERROR})
"""Reasons that do not show whether the object still waits: the wait before them continues after them."""


def is_stalling(outcome: Outcome) -> bool:
    """Return whether an outcome makes the object Stalled if it lasts."""
    return isinstance(outcome, Waiting | Failing) and outcome.reason in _STALLING


def waiting_since(obj: ReconciledResource, outcome: Outcome, now: datetime) -> datetime | None:
    """Return the time since which an object makes no progress; None if it makes progress.

    `obj` has the status before the reconcile that ended with `outcome`.
    """
    before = None if obj.is_edited else obj.status.waiting_since
    if is_stalling(outcome):
        return min(before or now, now)
    if isinstance(outcome, Waiting | Failing) and outcome.reason in _UNKNOWN:
        return before
    return None


def stalls_in(
    obj: ReconciledResource, outcome: Outcome, since: datetime | None, now: datetime
) -> float | None:
    """Return the seconds until an object that waits since a time is Stalled; None if it does not stall.

    The result is 0 or less from the deadline on.
    """
    if since is None or not is_stalling(outcome):
        return None
    return (since + obj.spec.progress_deadline.timedelta - now).total_seconds()
