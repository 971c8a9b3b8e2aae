"""Execute the actions of an attachment's plan, so that a crash at any point loses nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.cross_project import ORG_POLICY, SERVICE_AGENT, failed_requirements
from cloudrun_identity.controllers.new_accounts import is_access_fresh
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.run import Operation, Run
from cloudrun_identity.gcp.unknown_outcomes import written_or_found
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.drift import was_ready
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import Failing, Outcome, Waiting, outcome_of
from cloudrun_identity.reconcile.status_records import Records

from .attachment import AttachmentWant, Want, WorkloadSeen, same_account
from .attachment_records import AttachmentRecords
from .plan import AttachmentAction, ReassignWorkload, RecordRejectedReassignment, RecordUse
from .restoration import ForgetAttachment, RestoreWorkload
from .rollout import poll_after


class AttachmentExecution:
    """Carries out actions. It decides nothing; it only reports what a write ended with."""

    def __init__(
        self,
        run: Run,
        inventory: Inventory,
        attachments: AttachmentRecords,
        records: Records,
        checkpoint: Callable[[str], None],
    ) -> None:
        """`checkpoint(step)` is called after every step that a crash could follow."""
        self._run = run
        self._inventory = inventory
        self._attachments = attachments
        self._records = records
        self._checkpoint = checkpoint

    async def execute(
        self, action: AttachmentAction, want: Want, seen: WorkloadSeen
    ) -> Executed[WorkloadSeen]:
        """Execute one action; raises GoogleError."""
        match action:
            case ReassignWorkload():
                return await self._reassign(action, want, seen)
            case RecordUse():
                return await self._record_use(want, seen)
            case RecordRejectedReassignment():
                return Executed(
                    replace(seen, last_reassignment=action.reassignment)
                )  # the status is written with the outcome
            case RestoreWorkload():
                return await self._restore(action, seen)
            case ForgetAttachment():
                return await self._forget(want, seen)
            case _:
                assert_never(action)

    async def assume(self, action: AttachmentAction, want: Want, seen: WorkloadSeen) -> WorkloadSeen:
        """Return the workload as `execute` and the rollout would leave it, without a call to Google Cloud."""
        match action:
            case ReassignWorkload():
                state = present(seen)
                await self._attachments.reassigning(want.obj, state, action.email)
                reassigned = WorkloadSeen(
                    _rolled_out(state, action.email),
                    last_reassignment=action.reassignment,
                    preflight=seen.preflight,
                )
                return self._recorded(want, reassigned)
            case RestoreWorkload():
                return replace(seen, state=_rolled_out(present(seen), action.email))
            case RecordUse() | RecordRejectedReassignment() | ForgetAttachment():
                return (await self.execute(action, want, seen)).seen
            case _:
                assert_never(action)

    async def _record_use(self, want: Want, seen: WorkloadSeen) -> Executed[WorkloadSeen]:
        if isinstance(want, AttachmentWant):
            await self._attachments.record_use(want.account_target, want.place)
            self._checkpoint("use recorded")
        return Executed(replace(seen, use_recorded=True))

    async def _reassign(
        self, action: ReassignWorkload, want: Want, seen: WorkloadSeen
    ) -> Executed[WorkloadSeen]:
        """Record the reassignment in the ledger and in the status, then write.

        After a crash in between, the ledger has the account to restore, and the status has the
        reassignment.
        """
        state = present(seen)
        former = await self._attachments.reassigning(want.obj, state, action.email)
        self._checkpoint("reassignment recorded")
        if not await self._records.record(
            want.obj, {"workload_uid": state.uid, "last_reassignment": action.reassignment}
        ):
            await self._attachments.not_reassigned(state, former)
            return Executed(self._recorded(want, seen), _edited(want), written=False)
        try:
            operation = await self._reassigned_or_found(state, action.email)
        except GoogleError as error:
            if not error.sent:
                raise
            self._inventory.invalidate_workload(state.workload)
            if error.undecided:
                seen = replace(seen, last_reassignment=action.reassignment)
            else:
                await self._attachments.not_reassigned(state, former)
            return Executed(self._recorded(want, seen), _not_reassigned(action, want, seen, error))
        self._checkpoint("workload reassigned")
        self._inventory.invalidate_workload(state.workload)
        shown = operation.state
        if shown is None and operation.done:
            shown = await self._inventory.workload(state.workload, 0.0)
        shown = shown or state
        serving: dict[str, str] = {}
        if operation.done:
            self._inventory.update_workload(shown)
            serving = dict(await self._inventory.serving_accounts(shown))
        seen = replace(
            seen,
            state=shown,
            serving=serving,
            operation=operation,
            last_reassignment=action.reassignment,
            reassigned=True,
        )
        return Executed(self._recorded(want, seen))

    async def _reassigned_or_found(self, state: WorkloadState, email: str) -> Operation:
        """Write the account; if the answer does not say whether that took effect, read the workload."""

        async def reassign() -> Operation:
            return await self._run.set_service_account(state, email)

        async def find() -> Operation | None:
            found = await self._inventory.workload(state.workload, 0.0)
            if found is None or found.uid != state.uid or found.generation <= state.generation:
                return None
            return Operation("", done=True, state=found) if _runs_as(found, email) else None

        return await written_or_found(reassign, find)

    async def _restore(self, action: RestoreWorkload, seen: WorkloadSeen) -> Executed[WorkloadSeen]:
        state = present(seen)
        try:
            await self._reassigned_or_found(state, action.email)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED:
                raise
            message = f"{state.workload} was deployed at the same moment; trying again"
            return Executed(seen, Failing(Reason.DELETING, message), written=False)
        self._inventory.invalidate_workload(state.workload)
        self._checkpoint("account restored")
        return Executed(replace(seen, reassigned=True))

    async def _forget(self, want: Want, seen: WorkloadSeen) -> Executed[WorkloadSeen]:
        """Remove the reassignment from the status, then the record from the ledger.

        A deletion that is planned again, because the finalizer could not be removed, finds neither: a status
        that names a reassignment without a record was not left by a deletion.
        """
        if want.obj.status.last_reassignment is not None and not await self._records.record(
            want.obj, {"last_reassignment": None}
        ):
            return Executed(seen, _edited(want), written=False)
        await self._attachments.drop(want.obj)
        return Executed(replace(seen, record=None, forgotten=True))

    def _recorded(self, want: Want, seen: WorkloadSeen) -> WorkloadSeen:
        return replace(seen, record=self._attachments.of(want.obj))


def present(seen: WorkloadSeen) -> WorkloadState:
    """Return the state of a workload that exists."""
    if seen.state is None:
        raise ValueError("the workload does not exist")
    return seen.state


def _runs_as(state: WorkloadState, email: str) -> bool:
    """Return whether the template has the account. An empty e-mail is replaced by the default account."""
    return not email or same_account(state.service_account, email)


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


def _edited(want: Want) -> Outcome:
    message = f"{ObjectKey.of(want.obj)} was edited at the same moment; the operator reads it again"
    return Waiting(Reason.UPDATING, message, poll_after(0.0))


def _not_reassigned(action: ReassignWorkload, want: Want, seen: WorkloadSeen, error: GoogleError) -> Outcome:
    workload = present(seen).workload
    if error.fault is Fault.ABORTED:
        return Failing(Reason.UPDATING, f"{workload} was deployed at the same moment; trying again")
    what = f"reassigning {workload} to {action.email}"
    if error.fault is not Fault.PERMISSION_DENIED:
        return outcome_of(error, what)
    return _denied(what, action, want, seen, error)


def _may_be_propagation(action: ReassignWorkload, want: Want) -> bool:
    """Return whether the account was so new that a refusal says nothing about the operator's permissions."""
    if not isinstance(want, AttachmentWant):
        return False
    return is_access_fresh(want.cluster.ledger(want.account_target), action.reassignment.time)


def _denied(
    what: str, action: ReassignWorkload, want: Want, seen: WorkloadSeen, error: GoogleError
) -> Outcome:
    """Return the outcome of a denied reassignment, with the requirements that the preflight found missing.

    Google Cloud names one cause of several, and often not the one that has to be removed first.

    The identity may not have made its grants yet. The object that grants the service agent its role may be
    applied after the attachment. In neither case is the operator the one that lacks a permission.
    """
    if isinstance(want, AttachmentWant) and (declared := want.account.identity):
        identity = want.cluster.identity(declared.namespace, declared.name)
        if identity is not None and not was_ready(identity):
            lacking = f"{ObjectKey.of(identity)} is not Ready, so its grants may be missing"
            return Failing(Reason.DEPENDENCY_NOT_READY, f"{what}: {error.message.rstrip('.')}; {lacking}")
    failures = failed_requirements(seen.preflight or ())
    waits = failures.keys() == {SERVICE_AGENT}
    if not waits and ORG_POLICY not in failures and _may_be_propagation(action, want):
        message = (
            f"{what}: {error.message.rstrip('.')}; the account or its IAM policy is new, and may not have "
            "propagated in Google Cloud yet; the operator tries again"
        )
        return Failing(Reason.PROPAGATION_PENDING, message)
    if not failures:
        return outcome_of(error, what)
    reason = Reason.DEPENDENCY_NOT_READY if waits else Reason.PERMISSION_DENIED
    causes, first_sentence = "; ".join(failures.values()), error.message.partition(". ")[0]
    return Failing(reason, f"{what} was denied: {causes} (Google Cloud: “{first_sentence}”)")
