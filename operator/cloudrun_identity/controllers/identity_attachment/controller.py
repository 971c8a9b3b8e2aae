"""IdentityAttachment: somebody else's workload runs as an identity. One field of it is ours, and no other."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from cloudrun_identity.api import AttachmentDeletionPolicy, ConditionType, IdentityAttachment, Move, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.run import Operation, Run
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    account_key,
    identity_key,
    project_key,
)
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Refused, Waiting, outcome_of
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.status_records import Records

from . import preflight
from .attachment import AttachmentWant, identity_text, resolved, same_account
from .attachment_records import AttachmentRecords
from .preflight import Preflight
from .reassignments import given_up, is_asked, last_move, next_move
from .restoration import Restoration
from .rollout import LOOK_AGAIN, WorkloadSeen, others_serving, poll_after, rollout


class IdentityAttachmentController:
    """The life of an IdentityAttachment."""

    kind = IdentityAttachment

    def __init__(
        self,
        run: Run,
        inventory: Inventory,
        checks: Preflight,
        restoration: Restoration,
        moved: AttachmentRecords,
        records: Records,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is told after every step that a crash could follow."""
        self._run = run
        self._inventory = inventory
        self._checks = checks
        self._restoration = restoration
        self._moved = moved
        self._records = records
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint

    def references(self, obj: IdentityAttachment) -> frozenset[ObjectKey]:
        """Its project, and its identity by name or by e-mail."""
        keys = {project_key(obj.spec.project_ref.name)}
        if obj.spec.identity_ref:
            namespace = obj.spec.identity_ref.namespace or obj.metadata.namespace
            keys.add(identity_key(namespace, obj.spec.identity_ref.name))
        if obj.spec.email:
            keys.add(account_key(obj.spec.email))
        return frozenset(keys)

    def declares(self, obj: IdentityAttachment) -> str:
        """The workload's identity: of two attachments on one workload the older has it."""
        return f"{obj.spec.project_ref.name}/{obj.spec.workload}"

    def resolve(
        self, obj: IdentityAttachment, allowed: Allowed, cluster: ClusterState
    ) -> AttachmentWant | Blocked:
        """The workload and the account, if the namespace may use the one and name the other."""
        return resolved(obj, allowed, cluster)

    async def observe(self, want: AttachmentWant, max_age: float) -> WorkloadSeen:
        """The workload, what serves of it, and how far our operation is.

        While the operation is under way it tells of the workload itself, and so does its end.
        """
        operation = await self._operation(want)
        if operation and operation.state and not operation.error:
            return await self._after(operation, operation.state, want)
        state = await self._read(want, max_age)
        if state is None:
            return WorkloadSeen(None, operation=operation)
        return await self._seen(state, operation, want)

    def diff(self, want: AttachmentWant, seen: WorkloadSeen) -> tuple[Change, ...]:
        """The account, if the template names another one; and what serves as another, or does not come up."""
        state = seen.state
        if state is None:
            return (Change("workload", "absent", "deployed"),)
        if not _runs_as(want, state):
            return (Change("service account", state.service_account, want.email),)
        failed = [Change(f"revision {state.failed_revision}", "failed", "ready")]
        others = [
            Change(f"revision {name}", seen.serving[name], want.email) for name in others_serving(want, seen)
        ]
        return (*(failed if state.failed_revision else ()), *others)

    async def apply(
        self, want: AttachmentWant, seen: WorkloadSeen, changes: tuple[Change, ...]
    ) -> Applied[WorkloadSeen]:
        """Move the workload to the account, or follow how the platform takes it."""
        state = seen.state
        if state is None:
            message = f"spec.workload: {want.workload} does not exist in project {want.workload.project_id}"
            return Applied(Waiting(Reason.WORKLOAD_NOT_FOUND, message, LOOK_AGAIN), seen)
        if state.managed_by:
            return Applied(_deployed_by_product(want, state), seen)
        if seen.is_moving:
            return Applied(rollout(want, state, seen, self._wall_clock()), seen)
        is_to_move = not _runs_as(want, state)
        if is_to_move or not preflight.all_passed(want.obj.status.preflight):
            seen = replace(seen, preflight=await self._checks.check(want, state))
        if is_to_move:
            return await self._move_or_wait(want, state, seen)
        return Applied(rollout(want, state, seen, self._wall_clock()), seen)

    def requested_grants(self, want: AttachmentWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """None: who may act as the identity is the identity's to say."""
        return ()

    def summarize(self, want: AttachmentWant, seen: WorkloadSeen) -> Summary:
        """What the workload runs as now, and what it ran as before."""
        lines = want.obj.status.preflight if seen.preflight is None else seen.preflight
        fields: dict[str, object] = {
            "workload": str(want.workload),
            "identity": identity_text(want.obj),
            "operation": seen.operation.name if seen.operation and seen.is_moving else None,
            "preflight": lines,
        }
        if seen.state:
            fields |= {
                "current_service_account": seen.state.service_account or None,
                "latest_ready_revision": seen.state.latest_ready_revision or None,
                "serving_revisions": seen.state.serving_revisions,
                **(seen.recorded or _kept(want.obj, seen.state)),
                "previous_service_account": self._before(want.obj, seen.state),
            }
        return Summary(fields, preflight.cross_project(want, lines))

    async def delete(self, obj: IdentityAttachment, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Put back what ran before, where that is asked for."""
        leave = abandon or obj.spec.deletion_policy is AttachmentDeletionPolicy.ABANDON
        outcome = InSync() if leave else await self._restoration.restore(obj, cluster)
        if isinstance(outcome, InSync):
            await self._moved.drop(obj)
        return outcome

    def _before(self, obj: IdentityAttachment, state: WorkloadState) -> str | None:
        """What this very workload ran as before it was moved; None if it was not."""
        record = self._moved.of(obj)
        return record.previous_service_account if record and record.workload_uid == state.uid else None

    async def _read(self, want: AttachmentWant, max_age: float) -> WorkloadState | None:
        """The workload; from a list that all share where it is only looked at now and then."""
        if _is_patient(want.obj):
            age = max_age or min(LOOK_AGAIN - 1, want.drift_interval)
            return await self._inventory.listed_workload(want.workload, age)
        return await self._inventory.workload(want.workload, max_age)

    async def _operation(self, want: AttachmentWant) -> Operation | None:
        """The operation that the status remembers, unless it is over and forgotten.

        A status is output, and whoever may write it must not have us look elsewhere by it.
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
        """What an operation of ours shows of the workload."""
        if not operation.done:
            return WorkloadSeen(state, operation=operation, move=last_move(want.obj, state))
        self._inventory.update_workload(state)
        return await self._seen(state, operation, want)

    async def _seen(
        self, state: WorkloadState, operation: Operation | None, want: AttachmentWant
    ) -> WorkloadSeen:
        serving = await self._inventory.serving_accounts(state)
        return WorkloadSeen(state, serving, operation, last_move(want.obj, state))

    async def _move_or_wait(
        self, want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen
    ) -> Applied[WorkloadSeen]:
        obstacle = preflight.holds_up(seen.preflight or ())
        if obstacle:
            return Applied(Waiting(Reason.DEPENDENCY_NOT_READY, obstacle, LOOK_AGAIN), seen)
        last = seen.move
        if last and seen.operation and seen.operation.error:
            # The platform gave the move up and went back: it would do the same with the next one.
            last = given_up(last, state, seen.operation.error)
            seen = replace(seen, move=last, recorded={"last_move": last})
        match next_move(want, state, last, self._wall_clock()):
            case Move() as move:
                return await self._move(want, state, seen, move)
            case outcome:
                return Applied(outcome, seen)

    async def _move(
        self, want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen, move: Move
    ) -> Applied[WorkloadSeen]:
        former = await self._moved.moving(want.obj, state, want.email)
        self._checkpoint("move recorded")
        recorded = {"workload_uid": state.uid, "last_move": move}
        if not await self._records.record(want.obj, recorded):
            await self._moved.not_moved(state, former)
            message = f"{ObjectKey.of(want.obj)} was edited at the same moment; looking at it again"
            return Applied(Waiting(Reason.UPDATING, message, poll_after(0.0)), seen)
        try:
            operation = await self._run.set_service_account(state, want.email)
        except GoogleError as error:
            if not error.sent:
                raise
            self._inventory.invalidate_workload(want.workload)
            if not error.undecided:
                await self._moved.not_moved(state, former)
                recorded |= {"last_move": seen.move}
            return Applied(_not_moved(want, error), replace(seen, recorded=recorded))
        self._checkpoint("workload moved")
        self._inventory.invalidate_workload(want.workload)
        log_mutation("attach", want.workload.target.full_name, before=state.service_account, after=want.email)
        after = await self._after(operation, operation.state or state, want)
        moved = replace(after, preflight=seen.preflight, recorded=recorded, move=move)
        return Applied(rollout(want, operation.state or state, moved, self._wall_clock()), moved)


def _runs_as(want: AttachmentWant, state: WorkloadState) -> bool:
    return same_account(state.service_account, want.email)


def _is_patient(obj: IdentityAttachment) -> bool:
    """Whether nothing new is expected of the object but what somebody does to its workload."""
    ready = obj.status.condition(ConditionType.READY)
    return ready is not None and ready.reason in _PATIENT and not is_asked(obj)


_PATIENT = frozenset({Reason.WORKLOAD_NOT_FOUND, Reason.OLD_REVISION_SERVING, Reason.REVISION_FAILED})


def _kept(obj: IdentityAttachment, state: WorkloadState) -> Mapping[str, object]:
    """What the status says of moves after a pass without one: those of another workload are forgotten."""
    if obj.status.workload_uid == state.uid:
        return {}
    return {"workload_uid": state.uid or None, "last_move": None}


def _deployed_by_product(want: AttachmentWant, state: WorkloadState) -> Refused:
    return Refused(
        Reason.REJECTED,
        f"spec.workload: {want.workload} is deployed by {state.managed_by}, which would undo any "
        "change; set the account there",
    )


def _not_moved(want: AttachmentWant, error: GoogleError) -> Outcome:
    if error.fault is Fault.ABORTED:
        return Failing(Reason.UPDATING, f"{want.workload} was deployed at the same moment; trying again")
    return outcome_of(error, f"moving {want.workload} to {want.email}")
