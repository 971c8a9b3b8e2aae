"""IdentityAttachment: a workload of another deployer runs as an identity. The operator owns that one field."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import AttachmentDeletionPolicy, ConditionType, IdentityAttachment, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.run import Operation, Run
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    identity_key,
    project_key,
)
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import Failing, Outcome, Waiting, outcome_of
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.status_records import Records
from cloudrun_identity.reconcile.steps import Plan

from . import preflight
from .attachment import AttachmentWant, DetachmentWant, WorkloadSeen, identity_text, resolve, workload_of
from .attachment_records import AttachmentRecords
from .plan import AttachmentAction, MoveWorkload, RecordRejectedMove, plan
from .preflight import Preflight
from .reassignments import is_asked, last_move
from .restoration import ForgetAttachment, RestoreWorkload
from .rollout import RECHECK, poll_after


class IdentityAttachmentController:
    """Reconciles the service account of a workload."""

    kind = IdentityAttachment

    def __init__(
        self,
        run: Run,
        inventory: Inventory,
        checks: Preflight,
        moved: AttachmentRecords,
        records: Records,
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is called after every step that a crash could follow."""
        self._run = run
        self._inventory = inventory
        self._checks = checks
        self._moved = moved
        self._records = records
        self._checkpoint = checkpoint

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

    def resolve(
        self, obj: IdentityAttachment, allowed: Allowed, cluster: ClusterState
    ) -> AttachmentWant | Blocked:
        """Return the workload and the account, if the namespace may use the one and name the other."""
        return resolve(obj, allowed, cluster)

    def resolve_deletion(
        self, obj: IdentityAttachment, cluster: ClusterState, *, abandon: bool
    ) -> DetachmentWant | None:
        """Return the workload to restore, or the record to remove; None if there is neither."""
        abandon = abandon or obj.spec.deletion_policy is AttachmentDeletionPolicy.ABANDON
        home = self._moved.home(obj)
        if home is None and (abandon or obj.status.last_move is None):
            return None
        project = cluster.project(obj.spec.project_ref.name)
        is_at_home = project is not None and home is not None and home.project_id == project.project_id
        return DetachmentWant(
            obj=obj,
            cluster=cluster,
            home=home,
            project=project,
            workload=workload_of(obj, project.project_id) if project and is_at_home and not abandon else None,
            abandon=abandon,
        )

    def describe(self, want: AttachmentWant | DetachmentWant) -> str:
        """Return the workload, as plans name it."""
        if isinstance(want, AttachmentWant):
            return f"{want.workload} of project {want.workload.project_id}"
        return str(want.home or want.obj.spec.workload)

    async def observe(self, want: AttachmentWant | DetachmentWant, max_age: float) -> WorkloadSeen:
        """Return the workload, what serves of it, and the progress of the operator's own operation.

        While the operation is under way it shows the workload. Preflight checks are made for a workload that
        has to be moved, and while some have not passed; not with an old read, which nothing is done with.
        """
        if isinstance(want, DetachmentWant):
            state = await self._inventory.workload(want.workload, 0.0) if want.workload else None
            return WorkloadSeen(state, record=self._moved.of(want.obj))
        operation = await self._operation(want)
        if operation and operation.state and not operation.error:
            seen = await self._after(operation, operation.state, want)
        else:
            seen = await self._seen(await self._read(want, max_age), operation, want)
        if max_age == 0 and _needs_checks(want, seen):
            assert seen.state is not None
            return replace(seen, preflight=await self._checks.check(want, seen.state))
        return seen

    def plan(
        self, want: AttachmentWant | DetachmentWant, seen: WorkloadSeen, now: datetime
    ) -> Plan[AttachmentAction]:
        """Return the steps that make the workload run as the account, or undo that."""
        return plan(want, seen, now)

    async def execute(
        self, action: AttachmentAction, want: AttachmentWant | DetachmentWant, seen: WorkloadSeen
    ) -> Executed[WorkloadSeen]:
        """Execute one action; raises GoogleError."""
        match action:
            case MoveWorkload():
                assert isinstance(want, AttachmentWant)
                return await self._move(action, want, seen)
            case RecordRejectedMove():
                return Executed(replace(seen, move=action.move))  # the status is written with the outcome
            case RestoreWorkload():
                return await self._restore(action, seen)
            case ForgetAttachment():
                await self._moved.drop(want.obj)
                return Executed(replace(seen, record=None, forgotten=True))
            case _:
                assert_never(action)

    async def assume(
        self, action: AttachmentAction, want: AttachmentWant | DetachmentWant, seen: WorkloadSeen
    ) -> WorkloadSeen:
        """Return the workload as `execute` and the rollout would leave it."""
        match action:
            case MoveWorkload():
                state = _state(seen)
                await self._moved.moving(want.obj, state, action.email)
                record = self._moved.of(want.obj)
                return WorkloadSeen(
                    _rolled_out(state, action.email),
                    move=action.move,
                    preflight=seen.preflight,
                    record=record,
                )
            case RestoreWorkload():
                return replace(seen, state=_rolled_out(_state(seen), action.email))
            case RecordRejectedMove() | ForgetAttachment():
                return (await self.execute(action, want, seen)).seen
            case _:
                assert_never(action)

    def summarize(self, want: AttachmentWant | DetachmentWant, seen: WorkloadSeen) -> Summary:
        """Return the account that the workload runs as now, and the one from before."""
        if isinstance(want, DetachmentWant):
            return Summary()
        checks = want.obj.status.preflight if seen.preflight is None else seen.preflight
        fields: dict[str, object] = {
            "workload": str(want.workload),
            "identity": identity_text(want.obj),
            "operation": seen.operation.name if seen.operation and seen.is_moving else None,
            "preflight": checks,
        }
        state, record = seen.state, seen.record
        if state:
            fields |= {
                "current_service_account": state.service_account or None,
                "latest_ready_revision": state.latest_ready_revision or None,
                "serving_revisions": state.serving_revisions,
                "workload_uid": state.uid or None,
                "last_move": seen.move,
                "previous_service_account": (
                    record.before if record and record.workload_uid == state.uid else None
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
            record = self._moved.of(want.obj)
            return WorkloadSeen(state, operation=operation, move=last_move(want.obj, state), record=record)
        self._inventory.saw_workload(state)
        return await self._seen(state, operation, want)

    async def _seen(
        self, state: WorkloadState | None, operation: Operation | None, want: AttachmentWant
    ) -> WorkloadSeen:
        record = self._moved.of(want.obj)
        if state is None:
            return WorkloadSeen(None, operation=operation, record=record)
        serving = await self._inventory.serving_accounts(state)
        return WorkloadSeen(state, serving, operation, last_move(want.obj, state), record=record)

    # Actions

    async def _move(
        self, action: MoveWorkload, want: AttachmentWant, seen: WorkloadSeen
    ) -> Executed[WorkloadSeen]:
        """Record the move in the ledger and in the status, then write.

        After a crash in between, the ledger has the account to restore, and the status the move.
        """
        state = _state(seen)
        former = await self._moved.moving(want.obj, state, action.email)
        self._checkpoint("move recorded")
        if not await self._records.record(want.obj, {"workload_uid": state.uid, "last_move": action.move}):
            await self._moved.not_moved(state, former)
            message = f"{ObjectKey.of(want.obj)} was edited at the same moment; looking at it again"
            return Executed(
                self._recorded(want, seen), Waiting(Reason.UPDATING, message, poll_after(0.0)), written=False
            )
        try:
            operation = await self._run.set_service_account(state, action.email)
        except GoogleError as error:
            if not error.sent:
                raise
            self._inventory.wrote_workload(want.workload)
            if error.undecided:
                seen = replace(seen, move=action.move)
            else:
                await self._moved.not_moved(state, former)
            return Executed(self._recorded(want, seen), _not_moved(action, want, error))
        self._checkpoint("workload moved")
        self._inventory.wrote_workload(want.workload)
        shown = operation.state
        if shown is None and operation.done:
            shown = await self._inventory.workload(want.workload, 0.0)
        after = await self._after(operation, shown or state, want)
        moved = replace(after, preflight=seen.preflight, move=action.move, moved=True)
        return Executed(self._recorded(want, moved))

    async def _restore(self, action: RestoreWorkload, seen: WorkloadSeen) -> Executed[WorkloadSeen]:
        state = _state(seen)
        try:
            await self._run.set_service_account(state, action.email)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED:
                raise
            message = f"{state.workload} was deployed at the same moment; trying again"
            return Executed(seen, Failing(Reason.DELETING, message), written=False)
        self._inventory.wrote_workload(state.workload)
        self._checkpoint("account restored")
        return Executed(replace(seen, moved=True))

    def _recorded(self, want: AttachmentWant, seen: WorkloadSeen) -> WorkloadSeen:
        return replace(seen, record=self._moved.of(want.obj))


def _needs_checks(want: AttachmentWant, seen: WorkloadSeen) -> bool:
    """Return whether the preflight checks matter now."""
    if seen.state is None or seen.state.managed_by or seen.is_moving:
        return False
    return not want.runs_in(seen.state) or not preflight.all_passed(want.obj.status.preflight)


def _is_patient(obj: IdentityAttachment) -> bool:
    """Return whether only another user can change what the object waits for."""
    ready = obj.status.condition(ConditionType.READY)
    return ready is not None and ready.reason in _PATIENT and not is_asked(obj)


_PATIENT = frozenset({Reason.WORKLOAD_NOT_FOUND, Reason.OLD_REVISION_SERVING, Reason.REVISION_FAILED})


def _state(seen: WorkloadSeen) -> WorkloadState:
    if seen.state is None:
        raise ValueError("the action needs a workload that exists")
    return seen.state


def _rolled_out(state: WorkloadState, email: str) -> WorkloadState:
    """Return the state of the workload after a rollout with this account."""
    generation = state.generation + 1
    return replace(
        state,
        service_account=email,
        generation=generation,
        observed_generation=generation,
        reconciling=False,
        ready=True,
        latest_created_revision=state.latest_ready_revision,
    )


def _not_moved(action: MoveWorkload, want: AttachmentWant, error: GoogleError) -> Outcome:
    if error.fault is Fault.ABORTED:
        return Failing(Reason.UPDATING, f"{want.workload} was deployed at the same moment; trying again")
    return outcome_of(error, f"moving {want.workload} to {action.email}")
