"""How far the platform is with running a workload as its account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cloudrun_identity.api import PreflightCheck, Reason, Reassignment
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting

from .attachment import AttachmentWant, same_account

LOOK_AGAIN: Final = 15.0
"""Seconds between looks for what nothing tells us of: a workload that appears, an old revision that stops
serving."""

FAILED_REVISION: Final = 120.0
"""Seconds between looks at a workload whose new revision does not start."""

_FIRST_POLL, _LONGEST_POLL = 1.0, 10.0
_POLL_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """The workload, None if there is none.

    `serving` is the account of each revision that serves, `operation` the one that we started, and `move` the
    last of our moves. `preflight` are the checks that were made in this pass, None if there were none, and
    `recorded` the fields of the status (by name) that it changed for the sake of a move.
    """

    state: WorkloadState | None
    serving: Mapping[str, str] = field(default_factory=dict)
    operation: Operation | None = None
    move: Reassignment | None = None
    preflight: tuple[PreflightCheck, ...] | None = None
    recorded: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_moving(self) -> bool:
        """Whether the operation that we started is under way."""
        return self.operation is not None and not self.operation.done


def rollout(want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen, now: datetime) -> Outcome:
    """What is left until everything that serves runs as the account that the template names."""
    newest = state.latest_created_revision
    if seen.is_moving or not state.is_settled:
        doing = f"being moved to {want.email}" if seen.is_moving else f"rolling out {newest or 'a change'}"
        elapsed = now.timestamp() - _began(state, seen)
        return Waiting(Reason.UPDATING, f"{want.workload} is {doing}", poll_after(elapsed))
    if not state.ready or state.failed_revision:
        error = seen.operation.error if seen.operation else None
        reason = state.ready_message or error or "Google gives no reason"
        message = f"{want.workload}: {newest or 'the update'} failed: {reason}{_keeps_serving(state, seen)}"
        return Failing(Reason.REVISION_FAILED, message, after=FAILED_REVISION)
    others = others_serving(want, seen)
    if others:
        message = (
            f"{want.workload}: {', '.join(others)} still serves as another account; "
            f"send its traffic and tags to {state.latest_ready_revision}"
        )
        return Waiting(Reason.OLD_REVISION_SERVING, message, LOOK_AGAIN)
    return InSync()


def others_serving(want: AttachmentWant, seen: WorkloadSeen) -> tuple[str, ...]:
    """The revisions that serve as another account."""
    return tuple(name for name, account in seen.serving.items() if not same_account(account, want.email))


def poll_after(elapsed: float) -> float:
    """Seconds until the next look at a change that began so long ago: a new revision takes 6 to 52."""
    return min(max(_FIRST_POLL, elapsed * _POLL_SHARE), _LONGEST_POLL)


def _began(state: WorkloadState, seen: WorkloadSeen) -> float:
    return max(state.updated, seen.move.time.timestamp() if seen.move else 0.0)


def _keeps_serving(state: WorkloadState, seen: WorkloadSeen) -> str:
    kept = [f"{name} as {account}" for name, account in seen.serving.items()]
    if not kept:
        return f"; {state.latest_ready_revision} keeps serving" if state.latest_ready_revision else ""
    return f"; {', '.join(kept)} keeps serving"
