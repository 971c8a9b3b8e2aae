"""When a workload is moved to its account: once for each change by others, and ever later in a fight."""

from datetime import datetime, timedelta
from typing import Final

from cloudrun_identity.api import IdentityAttachment, Reason, Reassignment
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, Waiting

from .attachment import AttachmentWant, account_text, same_account

FIRST_WAIT: Final = 2.0
"""Seconds between the first conflicting reassignment and the next; each further round doubles them."""

ROUNDS: Final = 3
"""How many times in a row a workload is put back before it takes a person to end the fight."""

STOOD: Final = timedelta(minutes=10)
"""A move that stood for so long was not contested; and so long must nobody deploy before a fight that was
lost is taken up again."""


def next_move(
    want: AttachmentWant, state: WorkloadState, last: Reassignment | None, now: datetime
) -> Reassignment | Outcome:
    """The move to make now, of a workload that does not run as it should; or why none is made now.

    `last` is the last move of this very workload.
    """
    move = Reassignment(service_account=want.email, generation=state.generation, time=now)
    if last is None or not same_account(last.service_account, want.email) or is_asked(want.obj):
        return move
    if last.error is not None and state.generation <= last.generation:
        return Waiting(
            Reason.REVISION_FAILED,
            f"{want.workload} did not take {want.email}: {last.error}; it is tried again after a deploy",
            after=None,
        )
    if state.generation == last.generation:  # the write was lost
        return move.model_copy(update={"conflicts": last.conflicts})
    return _again(want, state, last, move)


def last_reassignment(obj: IdentityAttachment, state: WorkloadState) -> Reassignment | None:
    """The last move of this very workload: one that was created anew has none."""
    return obj.status.last_reassignment if obj.status.workload_uid == state.uid else None


def given_up(move: Reassignment, state: WorkloadState, error: str) -> Reassignment:
    """The move as one that the platform gave up, which left the workload as `state` shows it."""
    return move.model_copy(update={"generation": state.generation, "error": error})


def is_asked(obj: IdentityAttachment) -> bool:
    """Whether a person has edited the object since the last pass, or asks for a pass."""
    requested = obj.reconcile_requested_at
    asked = bool(requested) and requested != obj.status.last_handled_reconcile_at
    return asked or obj.metadata.generation != obj.status.observed_generation


def _again(
    want: AttachmentWant, state: WorkloadState, last: Reassignment, move: Reassignment
) -> Reassignment | Outcome:
    """Somebody else has moved the workload since."""
    changed = max(last.time, datetime.fromtimestamp(state.updated, last.time.tzinfo))
    if changed - last.time >= STOOD:
        return move
    rounds = last.conflicts + 1
    away = f"{want.workload} was deployed as {account_text(state.service_account)}"
    who = f" by {state.last_modifier}" if state.last_modifier else ""
    if rounds > ROUNDS:
        if move.time - changed >= STOOD:
            return move.model_copy(update={"conflicts": last.conflicts})
        return Refused(
            Reason.CONFLICT,
            f"{away}{who}, and so again and again within minutes; deploy it with --service-account="
            f"{want.email}, or delete this object",
        )
    longest = timedelta(seconds=FIRST_WAIT * 2**last.conflicts)
    wait = last.time + longest - move.time
    if timedelta() < wait <= longest:  # beyond it the clock was set back
        message = f"{away}{who}; it is put back in a moment"
        return Waiting(Reason.DRIFT_DETECTED, message, after=wait.total_seconds())
    return move.model_copy(update={"conflicts": rounds})
