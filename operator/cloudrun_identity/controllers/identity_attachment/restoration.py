"""Deleting an attachment: what ran before is put back, if that is asked for and still allowed."""

from collections.abc import Callable
from dataclasses import replace

from cloudrun_identity.api import IdentityAttachment, LedgerAttachment, ManagedProject, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.projects import default_compute_account
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import Admitted, Decision, Denied
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.cluster_state import ClusterState, project_key
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import missing

from .attachment import account_text, may_attach, may_run_as, same_account, workload_of
from .attachment_records import AttachmentRecords
from .rollout import poll_after


class Restoration:
    """Puts back exactly the account that the workload ran as before it was attached."""

    def __init__(
        self,
        run: Run,
        inventory: Inventory,
        records: AttachmentRecords,
        event_reporter: EventReporter,
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._run = run
        self._inventory = inventory
        self._records = records
        self._event_reporter = event_reporter
        self._checkpoint = checkpoint

    async def restore(self, obj: IdentityAttachment, cluster: ClusterState) -> Outcome:
        """One step of it; InSync once nothing is left to do. Raises GoogleError."""
        home, record = self._records.home(obj), self._records.of(obj)
        if home is None or record is None:
            if obj.status.last_move:
                self._leave(obj, str(obj.spec.workload), "nothing but its status tells what ran before")
            return InSync()
        project = cluster.project(obj.spec.project_ref.name)
        if project is None:
            lacking = missing(project_key(obj.spec.project_ref.name), cluster, "spec.projectRef")
            leaving = "set spec.deletionPolicy to Abandon to leave the workload as it is"
            return replace(lacking, message=f"{lacking.message}; {leaving}")
        workload = workload_of(obj, project.project_id)
        decision = _is_at_home(home, project)
        if isinstance(decision, Denied):
            return self._denied(obj, workload, decision, cluster)
        state = await self._inventory.workload(workload, 0.0)
        if state is None or record.workload_uid != state.uid:  # gone, or created anew: not what was attached
            return InSync()
        return await self._put_back(obj, record, state, project, cluster)

    async def _put_back(
        self,
        obj: IdentityAttachment,
        record: LedgerAttachment,
        state: WorkloadState,
        project: ManagedProject,
        cluster: ClusterState,
    ) -> Outcome:
        default = default_compute_account(project.status.project_number or "")
        if same_account(state.service_account or default, record.previous_service_account or default):
            return self._followed(obj, state)
        if state.managed_by or not same_account(state.service_account, record.service_account):
            since = f"somebody else has it run as {account_text(state.service_account)} since"
            self._leave(obj, str(state.workload), since)
            return InSync()
        decision = _may_run_as_before(record.previous_service_account, default, obj, state, project, cluster)
        if isinstance(decision, Denied):
            return self._denied(obj, state.workload, decision, cluster)
        return await self._write(state, record.previous_service_account)

    async def _write(self, state: WorkloadState, before: str) -> Outcome:
        workload = state.workload
        try:
            await self._run.set_service_account(state, before)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED:
                raise
            return Failing(Reason.DELETING, f"{workload} was deployed at the same moment; trying again")
        self._inventory.invalidate_workload(workload)
        log_mutation("restore", workload.target.full_name, before=state.service_account, after=before)
        self._checkpoint("account restored")
        message = f"{workload} is being moved back to {account_text(before)}"
        return Waiting(Reason.DELETING, message, poll_after(0.0))

    def _followed(self, obj: IdentityAttachment, state: WorkloadState) -> Outcome:
        if not state.is_settled:
            message = f"{state.workload} is rolling out {state.latest_created_revision}".rstrip()
            return Waiting(Reason.DELETING, message, poll_after(0.0))
        if not state.ready:
            self._event_reporter.warn(
                obj,
                Reason.REVISION_FAILED,
                f"{state.workload} was moved back to {account_text(state.service_account)} and does not come "
                f"up: {state.ready_message}",
            )
        return InSync()

    def _denied(
        self, obj: IdentityAttachment, workload: Workload, decision: Denied, cluster: ClusterState
    ) -> Outcome:
        if cluster.is_terminating(obj.metadata.namespace):  # nobody could edit the object any more
            self._leave(obj, str(workload), decision.reason)
            return InSync()
        return Refused(
            Reason.DENIED_BY_GUARDRAIL,
            f"{workload} is not moved back: {decision.reason}; set spec.deletionPolicy to Abandon to "
            "leave it as it is",
        )

    def _leave(self, obj: IdentityAttachment, workload: str, why: str) -> None:
        self._event_reporter.warn(obj, "Abandoned", f"{workload} is left as it is: {why}")


def _is_at_home(home: Target, project: ManagedProject) -> Decision:
    """Whether the project is still the one that the workload was attached in.

    Its guardrails say nothing of any other.
    """
    if home.project_id == project.project_id:
        return Admitted()
    return Denied(
        f"spec.projectRef: {project.metadata.name} was project {home.project_id} and is "
        f"{project.project_id} now"
    )


def _may_run_as_before(
    before: str,
    default: str,
    obj: IdentityAttachment,
    state: WorkloadState,
    project: ManagedProject,
    cluster: ClusterState,
) -> Decision:
    """Whether the guardrails still admit it; of default accounts they admit the project's own."""
    allowed = may_attach(obj, state.workload, project, cluster)
    if isinstance(allowed, Denied) or same_account(before or default, default):
        return allowed
    decision = may_run_as(before, obj, project, cluster)
    return decision if isinstance(decision, Denied) else Admitted()
