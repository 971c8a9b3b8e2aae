"""The rollout of a reassignment: the platform creates a revision, starts it and sends traffic to it."""

from datetime import datetime
from typing import Final

from cloudrun_identity.api import Reason, WorkloadKind
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.outcomes import Failing
from cloudrun_identity.reconcile.steps import Change, Fail, Wait

from .attachment import AttachmentWant, WorkloadSeen, same_account

RECHECK: Final = 15.0
"""Seconds between looks for changes without an event: a workload that appears, an old revision that stops
serving."""

FAILED_REVISION_RECHECK: Final = 120.0
"""Seconds between looks at a workload whose new revision does not start."""

_FIRST_POLL, _LONGEST_POLL = 1.0, 10.0
_POLL_SHARE = 0.3


def rollout(
    want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen, now: datetime
) -> Wait | Fail | None:
    """Return what is left until every serving revision runs as the account; None if nothing is left.

    The template of the workload names the account already.
    """
    newest, changes = state.latest_created_revision, revision_changes(want, state, seen)
    if seen.is_being_reassigned or not state.is_settled:
        doing = (
            f"being reassigned to {want.email}"
            if seen.is_being_reassigned
            else f"rolling out {newest or 'a change'}"
        )
        elapsed = now.timestamp() - _began(state, seen)
        return Wait(Reason.UPDATING, f"{want.workload} is {doing}", poll_after(elapsed), changes)
    if not state.ready or state.failed_revision:
        error = seen.operation.error if seen.operation else None
        cause = state.ready_message or error or "Google gives no reason"
        message = (
            f"{want.workload}: {newest or 'the update'} failed: {cause.rstrip('.')}"
            f"{_keeps_serving(state, seen)}. {_redeploy(want, newest)}"
        )
        return Fail(Failing(Reason.REVISION_FAILED, message, FAILED_REVISION_RECHECK), changes)
    others = _serving_as_others(want, seen)
    if others:
        message = (
            f"{want.workload}: {', '.join(others)} still serves as another account; "
            f"send its traffic and tags to {state.latest_ready_revision}"
        )
        return Wait(Reason.OLD_REVISION_SERVING, message, RECHECK, changes)
    return None


def revision_changes(want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen) -> tuple[Change, ...]:
    """Return the revisions that failed, and those that serve as another account."""
    failed = (Change(f"revision {state.failed_revision}", "failed", "ready"),)
    others = tuple(
        Change(f"revision {name}", seen.serving[name], want.email) for name in _serving_as_others(want, seen)
    )
    return (*(failed if state.failed_revision else ()), *others)


def poll_after(elapsed: float) -> float:
    """Return the seconds until the next look at a change that began so long ago.

    A new revision takes 6 to 52 seconds.
    """
    return min(max(_FIRST_POLL, elapsed * _POLL_SHARE), _LONGEST_POLL)


def _serving_as_others(want: AttachmentWant, seen: WorkloadSeen) -> tuple[str, ...]:
    return tuple(name for name, account in seen.serving.items() if not same_account(account, want.email))


def _began(state: WorkloadState, seen: WorkloadSeen) -> float:
    return max(state.updated, seen.last_reassignment.time.timestamp() if seen.last_reassignment else 0.0)


def _redeploy(want: AttachmentWant, revision: str) -> str:
    """Return how to continue after a failed revision, which the operator does not deploy again."""
    workload = want.workload
    where = f"--region={workload.location} --project={workload.project_id}"
    groups = {WorkloadKind.SERVICE: "run revisions", WorkloadKind.WORKER_POOL: "run worker-pools revisions"}
    details = f"; details: gcloud {groups[workload.kind]} describe {revision} {where}"
    shown = details if revision and workload.kind in groups else ""
    return f"Correct the cause and deploy the workload again{shown}"


def _keeps_serving(state: WorkloadState, seen: WorkloadSeen) -> str:
    kept = [f"{name} as {account}" for name, account in seen.serving.items()]
    if not kept:
        return f"; {state.latest_ready_revision} keeps serving" if state.latest_ready_revision else ""
    return f"; {', '.join(kept)} keeps serving"
