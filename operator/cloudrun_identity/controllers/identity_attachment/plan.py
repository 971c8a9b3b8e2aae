"""The plan for an attachment: pure, from the attachment as declared and the workload as seen.

A workload whose template names another account is moved, unless something prevents it. After the move the
plan only waits for the rollout.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import Reason, Reassignment
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.steps import Action, Change, NoAction, Plan, Refuse, Wait

from .attachment import AttachmentWant, DetachmentWant, Want, WorkloadSeen
from .preflight import blocking_message
from .reassignments import given_up, next_move
from .restoration import ForgetAttachment, RestoreWorkload, plan_detachment
from .rollout import RECHECK, poll_after, rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveWorkload(Action):
    """Set the service account of the workload's template."""

    verb: ClassVar[str] = "attach"

    email: str
    """E-mail of the account."""
    move: Reassignment
    """The move, as the status records it before the write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRejectedMove(Action):
    """Record that the platform undid the last move, so that it is not repeated before another deploy."""

    move: Reassignment
    """The last move, with the error of the platform."""


AttachmentAction: TypeAlias = MoveWorkload | RecordRejectedMove | RestoreWorkload | ForgetAttachment


def plan(want: Want, seen: WorkloadSeen, now: datetime) -> Plan[AttachmentAction]:
    """Return the steps that make the workload run as the account, or undo that."""
    match want:
        case AttachmentWant():
            return _plan_attachment(want, seen, now)
        case DetachmentWant():
            return Plan(plan_detachment(want, seen))


def _plan_attachment(want: AttachmentWant, seen: WorkloadSeen, now: datetime) -> Plan[AttachmentAction]:
    state = seen.state
    if state is None:
        message = f"spec.workload: {want.workload} does not exist in project {want.workload.project_id}"
        absent = (Change("workload", "absent", "deployed"),)
        return Plan((Wait(Reason.WORKLOAD_NOT_FOUND, message, RECHECK, absent),))
    if state.managed_by:
        message = (
            f"spec.workload: {want.workload} is deployed by {state.managed_by}, which would undo any change; "
            "set the account there"
        )
        return Plan((Refuse(Reason.REJECTED, message, _account_change(want, state)),))
    if not want.runs_in(state) and not seen.is_moving:
        return Plan(_plan_move(want, state, seen, now))
    step = rollout(want, state, seen, now)
    return Plan((step,)) if step else Plan()


def _plan_move(
    want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen, now: datetime
) -> tuple[AttachmentAction | NoAction, ...]:
    """Return the move of a workload whose template names another account, or what prevents it."""
    resource, change, last = want.workload.target.full_name, _account_change(want, state), seen.move
    if message := blocking_message(seen.preflight or ()):
        return (Wait(Reason.DEPENDENCY_NOT_READY, message, RECHECK, change),)
    records: tuple[AttachmentAction, ...] = ()
    if last and last.error is None and seen.operation and seen.operation.error:
        last = given_up(last, state, seen.operation.error)
        records = (RecordRejectedMove(resource, move=last),)
    match next_move(want, state, last, now):
        case Reassignment() if seen.moved:
            message = f"{want.workload} was just moved to {want.email} and does not run as it yet"
            return (*records, Wait(Reason.UPDATING, message, poll_after(0.0), change))
        case Reassignment() as move:
            return (*records, MoveWorkload(resource, change, email=want.email, move=move))
        case Wait(reason, message, after):
            return (*records, Wait(reason, message, after, change))
        case Refuse(reason, message):
            return (*records, Refuse(reason, message, change))


def _account_change(want: AttachmentWant, state: WorkloadState) -> tuple[Change, ...]:
    return () if want.runs_in(state) else (Change("service account", state.service_account, want.email),)
