"""IdentityAttachment: a workload that another deployer owns runs as an identity.

The operator owns one field of the workload, the service account of its template.
"""

from dataclasses import replace
from datetime import datetime

from cloudrun_identity.api import AttachmentDeletionPolicy, ConditionType, IdentityAttachment, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.run import Operation, Run
from cloudrun_identity.gcp.workload_dependencies import needs_of
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.reconcile.change_log import NO_CAUSES, Causes
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    identity_key,
    project_key,
)
from cloudrun_identity.reconcile.interfaces import Executed, ExternalResource, Summary
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.references import declared_workload
from cloudrun_identity.reconcile.steps import Plan

from . import preflight
from .attachment import (
    AttachmentWant,
    DetachmentWant,
    Want,
    WorkloadSeen,
    identity_text,
    resolve,
)
from .attachment_records import AttachmentRecords
from .execution import AttachmentExecution, present
from .plan import AttachmentAction, plan
from .preflight import Preflight
from .reassignments import last_reassignment
from .rollout import RECHECK


class IdentityAttachmentController(
    ExternalResource[IdentityAttachment, Want, WorkloadSeen, AttachmentAction]
):
    """Reconciles the service account of a workload."""

    kind = IdentityAttachment

    def __init__(
        self,
        run: Run,
        inventory: Inventory,
        checks: Preflight,
        attachments: AttachmentRecords,
        execution: AttachmentExecution,
        causes: Causes = NO_CAUSES,
    ) -> None:
        self._causes = causes
        self._run = run
        self._inventory = inventory
        self._checks = checks
        self._attachments = attachments
        self._execution = execution

    def references(self, obj: IdentityAttachment) -> frozenset[ObjectKey]:
        """Return its project, and its identity by name or by e-mail."""
        keys = {project_key(obj.spec.project_ref.name)}
        if obj.spec.identity_ref:
            namespace = obj.spec.identity_ref.namespace or obj.metadata.namespace
            keys.add(identity_key(namespace, obj.spec.identity_ref.name))
        if obj.spec.email:
            keys.add(account_key(obj.spec.email))
        return frozenset(keys)

    def declares(self, obj: IdentityAttachment) -> str:
        """Return the workload: of two attachments to one workload, the older one has effect."""
        return f"{obj.spec.project_ref.name}/{obj.spec.workload}"

    def resolve(self, obj: IdentityAttachment, allowed: Allowed, cluster: ClusterState) -> Want | Blocked:
        """Return the workload and the account, if the namespace may use the one and name the other."""
        return resolve(obj, allowed, cluster)

    def resolve_deletion(
        self, obj: IdentityAttachment, cluster: ClusterState, *, abandon: bool
    ) -> Want | None:
        """Return the workload to restore, or the record to remove; None if there is neither."""
        abandon = abandon or obj.spec.deletion_policy is AttachmentDeletionPolicy.ABANDON
        home = self._attachments.home(obj)
        if home is None and (abandon or obj.status.last_reassignment is None):
            return None
        project = cluster.project(obj.spec.project_ref.name)
        workload: Workload | None = None
        if project and home and home.project_id == project.project_id and not abandon:
            workload = declared_workload(obj, project.project_id)
        return DetachmentWant(
            obj=obj,
            cluster=cluster,
            home=home,
            project=project,
            workload=workload,
            abandon=abandon,
        )

    def describe(self, want: Want) -> str:
        """Return the workload, as plans name it."""
        if isinstance(want, AttachmentWant):
            return f"{want.workload} of project {want.workload.project_id}"
        return str(want.home or want.obj.spec.workload)

    def depends_on_policies_alone(self, obj: IdentityAttachment) -> bool:
        """Return False: the workload is read."""
        return False

    async def observe(self, want: Want, max_age: float) -> WorkloadSeen:
        """Return the workload, what serves of it, and the progress of the operator's own operation.

        While the operation is under way it shows the workload. Preflight checks are made for a workload that
        the operator is about to change, and at each resync after that. They are repeated at every look if its
        template names resources, because the template and the policies may change, or if some of the last
        ones have not passed.
        """
        if isinstance(want, DetachmentWant):
            state = await self._inventory.workload(want.workload, 0.0) if want.workload else None
            return WorkloadSeen(state, record=self._attachments.of(want.obj))
        operation = await self._operation(want)
        if operation and operation.state and not operation.error:
            seen = await self._after(operation, operation.state, want)
        else:
            seen = await self._seen(await self._read(want, max_age), operation, want)
        recorded = self._attachments.is_use_recorded(want.account_target, want.place)
        seen = replace(seen, use_recorded=recorded)
        if _needs_checks(want, seen, max_age):
            return replace(seen, preflight=await self._checks.check(want, present(seen), max_age))
        return seen

    def plan(self, want: Want, seen: WorkloadSeen, now: datetime) -> Plan[AttachmentAction]:
        """Return the steps that make the workload run as the account, or undo that."""
        return plan(want, seen, now)

    async def execute(
        self, action: AttachmentAction, want: Want, seen: WorkloadSeen
    ) -> Executed[WorkloadSeen]:
        """Execute one action; raises GoogleError."""
        return await self._execution.execute(action, want, seen)

    async def assume(self, action: AttachmentAction, want: Want, seen: WorkloadSeen) -> WorkloadSeen:
        """Return the workload as `execute` and the rollout would leave it."""
        return await self._execution.assume(action, want, seen)

    def summarize(self, want: Want, seen: WorkloadSeen) -> Summary:
        """Return the account that the workload runs as now, and the one from before."""
        if isinstance(want, DetachmentWant):
            return Summary()
        checks = want.obj.status.preflight if seen.preflight is None else seen.preflight
        fields: dict[str, object] = {
            "workload": str(want.workload),
            "identity": identity_text(want.obj),
            "operation": seen.operation.name if seen.operation and seen.is_being_reassigned else None,
            "preflight": checks,
        }
        state, record = seen.state, seen.record
        if state:
            fields |= {
                "current_service_account": state.service_account or None,
                "latest_ready_revision": state.latest_ready_revision or None,
                "serving_revisions": state.serving_revisions,
                "workload_uid": state.uid or None,
                "last_reassignment": seen.last_reassignment,
                "previous_service_account": (
                    record.previous_service_account if record and record.workload_uid == state.uid else None
                ),
            }
        return Summary(fields, preflight.cross_project(want, checks))

    # Reads

    async def _read(self, want: AttachmentWant, max_age: float) -> WorkloadState | None:
        """Return the workload; from a list that all attachments share, if no change is expected soon."""
        if _is_patient(want.obj):
            age = max_age or min(RECHECK - 1, want.drift_interval)
            return await self._inventory.listed_workload(want.workload, age)
        return await self._inventory.workload(want.workload, max_age)

    async def _operation(self, want: AttachmentWant) -> Operation | None:
        """Return the operation that the status names; None once it is over and forgotten.

        Other users may write statuses: only an operation in the workload's project and location counts.
        """
        name = want.obj.status.operation or ""
        workload = want.workload
        if not name.startswith(f"projects/{workload.project_id}/locations/{workload.location}/operations/"):
            return None
        try:
            return await self._run.operation(name, want.workload)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return None

    async def _after(self, operation: Operation, state: WorkloadState, want: AttachmentWant) -> WorkloadSeen:
        """Return the workload as an operation of the operator shows it."""
        if not operation.done:
            record = self._attachments.of(want.obj)
            return WorkloadSeen(
                state,
                operation=operation,
                last_reassignment=last_reassignment(want.obj, state),
                record=record,
            )
        self._inventory.update_workload(state)
        return await self._seen(state, operation, want)

    async def _seen(
        self, state: WorkloadState | None, operation: Operation | None, want: AttachmentWant
    ) -> WorkloadSeen:
        record = self._attachments.of(want.obj)
        if state is None:
            return WorkloadSeen(None, operation=operation, record=record)
        serving = await self._inventory.serving_accounts(state)
        return WorkloadSeen(
            state,
            serving,
            operation,
            last_reassignment(want.obj, state),
            record=record,
            cause=self._causes.of_resource(want.workload.target.full_name),
        )


def _needs_checks(want: AttachmentWant, seen: WorkloadSeen, max_age: float) -> bool:
    """Return whether the preflight checks matter now: `max_age` is positive for a resync."""
    if seen.state is None or seen.state.managed_by or seen.is_being_reassigned:
        return False
    is_about_to_change = max_age == 0 and not want.runs_in(seen.state)
    has_needs = bool(needs_of(seen.state, want.project_number).needs)
    known = want.obj.status.preflight
    is_stale = bool(known) and (max_age > 0 or not preflight.all_passed(known))
    return is_about_to_change or has_needs or is_stale


def _is_patient(obj: IdentityAttachment) -> bool:
    """Return whether only another user can change what the object waits for."""
    ready = obj.status.condition(ConditionType.READY)
    return ready is not None and ready.reason in _PATIENT and not obj.is_requested


_PATIENT = frozenset({Reason.WORKLOAD_NOT_FOUND, Reason.OLD_REVISION_SERVING, Reason.REVISION_FAILED})
