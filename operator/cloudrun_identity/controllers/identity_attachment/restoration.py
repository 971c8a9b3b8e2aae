"""Deleting an attachment: what ran before is put back, if that is asked for and still allowed."""

from collections.abc import Callable

from cloudrun_identity.api import AttachmentDeletionPolicy, IdentityAttachment, ManagedProject, Reason
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome, Refused, Waiting
from cloudrun_identity.controllers.reconcile.announcements import Announcer
from cloudrun_identity.controllers.world import World
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import mutated
from cloudrun_identity.gcp.projects import compute_account
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import Admitted, Decision, Denied

from .attachment import may_attach, may_run_as, same_account, workload_of
from .moves import last_move
from .rollout import poll_after


class Restoration:
    """Puts back exactly the account that the workload ran as before it was attached."""

    def __init__(
        self, run: Run, inventory: Inventory, announcer: Announcer, checkpoint: Callable[[str], None]
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._run = run
        self._inventory = inventory
        self._announcer = announcer
        self._checkpoint = checkpoint

    async def restore(self, obj: IdentityAttachment, world: World) -> Outcome:
        """One step of it; InSync once nothing is left to do. Raises GoogleError."""
        if obj.spec.deletion_policy is AttachmentDeletionPolicy.ABANDON or obj.status.last_move is None:
            return InSync()
        project = world.project(obj.spec.project_ref.name)
        if project is None:
            return Waiting(
                Reason.DEPENDENCY_NOT_FOUND,
                f"spec.projectRef: there is no ManagedProject {obj.spec.project_ref.name}; "
                "set spec.deletionPolicy to Abandon to leave the workload as it is",
            )
        workload = workload_of(obj, project.project_id)
        decision = _is_at_home(obj, project)
        if isinstance(decision, Denied):
            return self._denied(obj, workload, decision, world)
        state = await self._inventory.workload(workload, 0.0)
        if state is None or last_move(obj, state) is None:  # gone, or created anew: not what was attached
            return InSync()
        return await self._put_back(obj, state, project, world)

    async def _put_back(
        self, obj: IdentityAttachment, state: WorkloadState, project: ManagedProject, world: World
    ) -> Outcome:
        before = obj.status.previous_service_account or ""
        default = compute_account(project.status.project_number or "")
        if same_account(state.service_account or default, before or default):
            return self._followed(obj, state)
        attached = obj.status.last_move.service_account if obj.status.last_move else ""
        if state.managed_by or not same_account(state.service_account, attached):
            self._leave(obj, state.workload, f"somebody else has it run as {state.service_account} since")
            return InSync()
        decision = _may_run_as_before(before, default, obj, state, project, world)
        if isinstance(decision, Denied):
            return self._denied(obj, state.workload, decision, world)
        return await self._write(state, before)

    async def _write(self, state: WorkloadState, before: str) -> Outcome:
        workload = state.workload
        try:
            await self._run.set_service_account(state, before)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED:
                raise
            return Failing(Reason.DELETING, f"{workload} was deployed at the same moment; trying again")
        self._inventory.wrote_workload(workload)
        mutated("restore", workload.target.full_name, before=state.service_account, after=before)
        self._checkpoint("account restored")
        shown = before or "the default account"
        return Waiting(Reason.DELETING, f"{workload} is being moved back to {shown}", poll_after(0.0))

    def _followed(self, obj: IdentityAttachment, state: WorkloadState) -> Outcome:
        if not state.is_settled:
            message = f"{state.workload} is rolling out {state.latest_created_revision}".rstrip()
            return Waiting(Reason.DELETING, message, poll_after(0.0))
        if not state.ready:
            self._announcer.warn(
                obj,
                Reason.REVISION_FAILED,
                f"{state.workload} was moved back to {state.service_account} and does not come up: "
                f"{state.ready_message}",
            )
        return InSync()

    def _denied(self, obj: IdentityAttachment, workload: Workload, decision: Denied, world: World) -> Outcome:
        if world.is_terminating(obj.metadata.namespace):  # nobody could edit the object any more
            self._leave(obj, workload, decision.reason)
            return InSync()
        return Refused(
            Reason.DENIED_BY_GUARDRAIL,
            f"{workload} is not moved back: {decision.reason}; set spec.deletionPolicy to Abandon to "
            "leave it as it is",
        )

    def _leave(self, obj: IdentityAttachment, workload: Workload, why: str) -> None:
        self._announcer.warn(obj, "Abandoned", f"{workload} is left as it is: {why}")


def _is_at_home(obj: IdentityAttachment, project: ManagedProject) -> Decision:
    """Whether the project is still the one that the workload was attached in.

    Its guardrails say nothing of any other, and a status is nobody's word for going there.
    """
    pinned = obj.status.project_id or project.project_id
    if pinned == project.project_id:
        return Admitted()
    return Denied(
        f"spec.projectRef: {project.metadata.name} was project {pinned} and is {project.project_id} now"
    )


def _may_run_as_before(
    before: str,
    default: str,
    obj: IdentityAttachment,
    state: WorkloadState,
    project: ManagedProject,
    world: World,
) -> Decision:
    """Whether the guardrails still admit it; of default accounts they admit the project's own."""
    allowed = may_attach(obj, state.workload, project, world)
    if isinstance(allowed, Denied) or same_account(before or default, default):
        return allowed
    decision = may_run_as(before, obj, project, world)
    return decision if isinstance(decision, Denied) else Admitted()
