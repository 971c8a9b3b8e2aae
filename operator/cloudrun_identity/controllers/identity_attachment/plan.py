"""The plan for an attachment: pure, from the attachment as declared and the workload as seen.

A workload whose template names another account is reassigned, unless something prevents it. After that the
plan only waits for the rollout.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import PreflightState, Reason, Reassignment
from cloudrun_identity.controllers.cross_project import ACT_AS
from cloudrun_identity.controllers.new_accounts import is_fresh
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.outcomes import PROPAGATION_RETRY
from cloudrun_identity.reconcile.steps import Action, Change, NoAction, Plan, Refuse, Wait

from .attachment import AttachmentWant, DetachmentWant, Want, WorkloadSeen
from .preflight import blocking_message
from .reassignments import given_up, next_reassignment
from .restoration import ForgetAttachment, RestoreWorkload, plan_detachment
from .rollout import RECHECK, poll_after, rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignWorkload(Action):
    """Set the service account of the workload's template."""

    verb: ClassVar[str] = "attach"

    email: str
    """E-mail of the account."""
    reassignment: Reassignment
    """The reassignment, as the status records it before the write."""


@dataclass(frozen=True, slots=True)
class RecordUse(Action):
    """Record, with the account, where a workload may run as it.

    The record outlives the attachment: an account in use is not deleted after its attachments.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRejectedReassignment(Action):
    """Record that the platform undid the last reassignment: it is repeated only after another deploy."""

    reassignment: Reassignment
    """The last reassignment, with the error of the platform."""


AttachmentAction: TypeAlias = (
    ReassignWorkload | RecordUse | RecordRejectedReassignment | RestoreWorkload | ForgetAttachment
)


def plan(want: Want, seen: WorkloadSeen, now: datetime) -> Plan[AttachmentAction]:
    """Return the steps that make the workload run as the account, or undo that."""
    match want:
        case AttachmentWant():
            return replace(_plan_attachment(want, seen, now), resource=want.workload.target.full_name)
        case DetachmentWant():
            return Plan(plan_detachment(want, seen))


def _plan_attachment(want: AttachmentWant, seen: WorkloadSeen, now: datetime) -> Plan[AttachmentAction]:
    state = seen.state
    if state is None:
        message = (
            f"spec.workload: {want.workload} does not exist in project {want.workload.project_id}; deploy "
            "it, or correct kind, location and name. The operator looks for it again automatically"
        )
        absent = (Change("workload", "absent", "deployed"),)
        return Plan((Wait(Reason.WORKLOAD_NOT_FOUND, message, RECHECK, absent),))
    if state.managed_by:
        message = (
            f"spec.workload: {want.workload} is deployed by {state.managed_by}, which would undo any change; "
            "set the account there"
        )
        return Plan((Refuse(Reason.REJECTED, message, _account_change(want, state)),))
    use = () if seen.use_recorded else (RecordUse(want.account_target.full_name),)
    if not want.runs_in(state) and not seen.is_being_reassigned:
        return Plan((*use, *_plan_reassignment(want, state, seen, now)))
    step = rollout(want, state, seen, now)
    return Plan((*use, *((step,) if step else ())))


def _plan_reassignment(
    want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen, now: datetime
) -> tuple[AttachmentAction | NoAction, ...]:
    """Return the reassignment of a workload whose template names another account, or what prevents it."""
    resource, change, last = (
        want.workload.target.full_name,
        _account_change(want, state),
        seen.last_reassignment,
    )
    if message := blocking_message(seen.preflight or ()):
        return (Wait(Reason.DEPENDENCY_NOT_READY, message, RECHECK, change),)
    if message := _pending_access(want, seen, now):
        return (Wait(Reason.PROPAGATION_PENDING, message, PROPAGATION_RETRY, change),)
    records: tuple[AttachmentAction, ...] = ()
    if last and last.error is None and seen.operation and seen.operation.error:
        last = given_up(last, state, seen.operation.error)
        records = (RecordRejectedReassignment(resource, reassignment=last),)
    match next_reassignment(want, state, last, now, seen.cause):
        case Reassignment() if seen.reassigned:
            message = f"{want.workload} was just reassigned to {want.email} and does not run as it yet"
            return (*records, Wait(Reason.UPDATING, message, poll_after(0.0), change))
        case Reassignment() as reassignment:
            action = ReassignWorkload(resource, change, email=want.email, reassignment=reassignment)
            return (*records, action)
        case Wait(reason, message, after):
            return (*records, Wait(reason, message, after, change))
        case Refuse(reason, message):
            return (*records, Refuse(reason, message, change))


def _pending_access(want: AttachmentWant, seen: WorkloadSeen, now: datetime) -> str:
    """Return why a reassignment would fail that may succeed soon; empty if it should not fail.

    Only Google's answer about the operator's access is missing, and the account is new. After the grace
    period the operator tries, because a test of permissions is only a hint.
    """
    denied = next(
        (
            each.message or ""
            for each in seen.preflight or ()
            if each.check == ACT_AS and each.state is PreflightState.FAILED
        ),
        "",
    )
    if not denied or not is_fresh(want.cluster.ledger(want.account_target).account, now):
        return ""
    return (
        f"{want.workload} is not reassigned yet: {want.email} is new, and Google Cloud does "
        f"not show yet that the operator may act as it; if this lasts for two minutes: {denied}"
    )


def _account_change(want: AttachmentWant, state: WorkloadState) -> tuple[Change, ...]:
    return () if want.runs_in(state) else (Change("service account", state.service_account, want.email),)
