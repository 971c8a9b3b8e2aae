"""The plan for the deletion of an attachment: restore what the workload ran as before, or leave it.

It is restored only if the object asks for it, the guardrails admit it, and the workload is what it was when
the operator first reassigned it, apart from the account. Otherwise it is left, and an Event says why.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from cloudrun_identity.api import LedgerAttachment, ManagedProject, Reason
from cloudrun_identity.gcp.projects import default_compute_account
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.kube.event_recorder import EventType
from cloudrun_identity.reconcile.cluster_state import project_key
from cloudrun_identity.reconcile.references import missing
from cloudrun_identity.reconcile.steps import ABANDONED, Action, Change, NoAction, StepEvent, Wait

from .attachment import DetachmentWant, WorkloadSeen, account_text, may_attach, may_run_as, same_account
from .rollout import poll_after

_ABANDON = "set spec.deletionPolicy to Abandon to leave the workload as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWorkload(Action):
    """Set the service account of the workload's template to the one from before the first reassignment."""

    verb: ClassVar[str] = "restore"

    email: str
    """E-mail of the account; empty if the template named none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAttachment(Action):
    """Remove the record of the attachment from the ledger."""

    warning: StepEvent | None = None
    """Event about a workload that is not as it was before; None if there is nothing to report."""

    @property
    def event(self) -> StepEvent | None:
        """Event to record once the action is executed."""
        return self.warning


DetachmentStep: TypeAlias = RestoreWorkload | ForgetAttachment | NoAction


def plan_detachment(want: DetachmentWant, seen: WorkloadSeen) -> tuple[DetachmentStep, ...]:
    """Return the steps that undo an attachment; none once nothing is left to undo."""
    if seen.forgotten:
        return ()
    if want.abandon:
        return (_forget(want, _left(want, seen.record)),)
    if want.home is None or seen.record is None:
        claimed = want.obj.status.last_reassignment is not None
        return (_leave(want, "only its status says what ran before") if claimed else _forget(want),)
    if want.project is None:
        lacking = missing(project_key(want.obj.spec.project_ref.name), want.cluster, "spec.projectRef")
        return (Wait(lacking.reason, f"{lacking.message}; {_ABANDON}", lacking.after),)
    if want.home.project_id != want.project.project_id:  # its guardrails say nothing about another project
        changed = (
            f"spec.projectRef: {want.project.metadata.name} was project {want.home.project_id} and is "
            f"{want.project.project_id} now"
        )
        return (_leave(want, changed),)
    if seen.state is None or seen.record.workload_uid != seen.state.uid:  # not what was attached
        return (_forget(want),)
    return (_restore(want, seen.state, seen, want.project),)


def _restore(
    want: DetachmentWant, state: WorkloadState, seen: WorkloadSeen, project: ManagedProject
) -> DetachmentStep:
    if seen.record is None:
        raise ValueError("only an attachment with a record is restored")
    before = seen.record.previous_service_account
    default = default_compute_account(project.status.project_number or "")
    if seen.reassigned:
        message = f"{state.workload} is being reassigned to {account_text(before)}"
        return Wait(Reason.DELETING, message, poll_after(0.0))
    if same_account(state.service_account or default, before or default):
        return _follow(want, state)
    if refusal := _refusal(want, state, seen.record, project, default):
        return _leave(want, refusal)
    change = Change("service account", state.service_account, before)
    return RestoreWorkload(state.workload.target.full_name, (change,), email=before)


def _refusal(
    want: DetachmentWant,
    state: WorkloadState,
    record: LedgerAttachment,
    project: ManagedProject,
    default: str,
) -> str:
    """Return why the workload does not get its former account back; empty if it does.

    The operator may act as accounts that the author of the object may not. Code that was deployed as one
    account must not start to run as another one because an attachment is deleted.
    """
    if state.managed_by or not same_account(state.service_account, record.service_account):
        return f"another user deployed it as {account_text(state.service_account)} since"
    if state.template_digest != record.template_digest:
        return (
            f"its template was changed since it ran as {account_text(record.previous_service_account)}; "
            "deploy it with the account that it needs"
        )
    attaching = may_attach(want.obj, state.workload, project, want.cluster)
    if isinstance(attaching, Denied):
        return attaching.reason
    before = record.previous_service_account or default
    if same_account(before, default):
        if project.spec.guardrails.restore_to_default_account:
            return ""
        return (
            "it ran as the default account of the project; a platform administrator can permit that with "
            f"guardrails.restoreToDefaultAccount of ManagedProject {project.metadata.name}"
        )
    running = may_run_as(before, want.obj, project, want.cluster)
    return running.reason if isinstance(running, Denied) else ""


def _follow(want: DetachmentWant, state: WorkloadState) -> DetachmentStep:
    """Return what is left until the workload runs as before."""
    if not state.is_settled:
        message = f"{state.workload} is rolling out {state.latest_created_revision}".rstrip()
        return Wait(Reason.DELETING, message, poll_after(0.0))
    if state.ready:
        return _forget(want)
    message = (
        f"{state.workload} was reassigned to {account_text(state.service_account)} and does not start: "
        f"{state.ready_message}"
    )
    return _forget(want, StepEvent(Reason.REVISION_FAILED, message, EventType.WARNING))


def _left(want: DetachmentWant, record: LedgerAttachment | None) -> StepEvent | None:
    """Return the Event about a workload that is left running as the account; None if it was not changed."""
    if record is None:
        return None
    account = account_text(record.service_account)
    message = f"{want.obj.spec.workload} is left as it is: the attachment made it run as {account}"
    return StepEvent(ABANDONED, message)


def _leave(want: DetachmentWant, why: str) -> ForgetAttachment:
    message = f"{want.obj.spec.workload} is left as it is: {why}"
    return _forget(want, StepEvent(ABANDONED, message, EventType.WARNING))


def _forget(want: DetachmentWant, warning: StepEvent | None = None) -> ForgetAttachment:
    return ForgetAttachment(want.home.full_name if want.home else "", warning=warning)
