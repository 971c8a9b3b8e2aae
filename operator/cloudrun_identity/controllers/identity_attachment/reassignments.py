"""Reassignments of a workload that another user deploys with another account.

The operator reassigns it at once, then later and later while the deploys continue. After some rounds it
reports a conflict with another deployer, and a user has to end it.
"""

from datetime import datetime, timedelta
from typing import Final

from cloudrun_identity.api import IdentityAttachment, Reason, Reassignment
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.reconcile.steps import Refuse, Wait

from .attachment import AttachmentWant, account_text, same_account

FIRST_WAIT: Final = 2.0
"""Seconds between a reassignment that met one conflict and the next one. Each further round doubles them."""

ROUNDS: Final = 3
"""Rounds of a conflict, after which a user has to end it."""

UNCONTESTED_AFTER: Final = timedelta(minutes=10)
"""Time after which a reassignment counts as uncontested. For as long, no one may deploy before the operator
reassigns the workload again after a conflict."""


def next_reassignment(
    want: AttachmentWant,
    state: WorkloadState,
    last: Reassignment | None,
    now: datetime,
    cause: Cause | None = None,
) -> Reassignment | Wait | Refuse:
    """Return the reassignment of a workload with another account in its template, or why it is not made now.

    `last` is the last reassignment of this very workload. `cause` is its last change by another client, as
    the change feed reported it.
    """
    new = Reassignment(service_account=want.email, generation=state.generation, time=now)
    if last is None or not same_account(last.service_account, want.email) or want.obj.is_requested:
        return new
    if last.error is not None and state.generation <= last.generation:
        return Wait(
            Reason.REVISION_FAILED,
            f"{want.workload} did not accept {want.email}: {last.error}; the operator tries again after the "
            "next deploy",
        )
    if state.generation == last.generation:  # the write was lost
        return new.model_copy(update={"conflicts": last.conflicts})
    return _contested_reassignment(want, state, last, new, cause)


def last_reassignment(obj: IdentityAttachment, state: WorkloadState) -> Reassignment | None:
    """Return the last reassignment of this very workload; None if the workload was created again since."""
    return obj.status.last_reassignment if obj.status.workload_uid == state.uid else None


def given_up(reassignment: Reassignment, state: WorkloadState, error: str) -> Reassignment:
    """Return the reassignment with the error of the platform, which left the workload as `state` shows it."""
    return reassignment.model_copy(update={"generation": state.generation, "error": error})


def _contested_reassignment(
    want: AttachmentWant,
    state: WorkloadState,
    last: Reassignment,
    new: Reassignment,
    cause: Cause | None,
) -> Reassignment | Wait | Refuse:
    """Return what to do after another user has deployed the workload since the last reassignment."""
    changed = max(last.time, datetime.fromtimestamp(state.updated, last.time.tzinfo))
    if changed - last.time >= UNCONTESTED_AFTER:
        return new
    rounds = last.conflicts + 1
    deployer = f"deployed by {state.last_modifier}" if state.last_modifier else "deployed"
    if cause and cause.principal and cause.time > last.time:  # an earlier entry is about another deploy
        deployer = cause.described("deployed")
    deployed = f"{want.workload} was {deployer} as {account_text(state.service_account)}"
    if rounds > ROUNDS:
        if new.time - changed >= UNCONTESTED_AFTER:
            return new.model_copy(update={"conflicts": last.conflicts})
        return Refuse(
            Reason.CONFLICT,
            f"{deployed}, again and again within minutes; deploy it with --service-account={want.email}, or "
            "delete this object",
        )
    longest = timedelta(seconds=FIRST_WAIT * 2**last.conflicts)
    wait = last.time + longest - new.time
    if timedelta() < wait <= longest:  # a longer wait means that the clock was set back
        message = f"{deployed}; the operator reassigns it shortly"
        return Wait(Reason.DRIFT_DETECTED, message, wait.total_seconds())
    return new.model_copy(update={"conflicts": rounds})
