"""IdentityAttachment: somebody else's workload runs as an identity. One field of it is ours, and no other."""

from dataclasses import dataclass

from cloudrun_identity.api import IdentityAttachment, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.mutations import mutated
from cloudrun_identity.gcp.run import Operation, Run
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    DeclaredIdentity,
    Denied,
    may_enter,
    may_use_workload,
)
from cloudrun_identity.iam.principals import email as email_of
from cloudrun_identity.iam.principals import lower_email

from .controller import Applied, Change, Summary
from .gate import Passed, Stopped, surroundings
from .grants import Holder, Members, Nobody, Wish
from .outcomes import Failing, InSync, Outcome, Refused, Waiting
from .world import Key, World, identity_key, project_key

POLL = 1.0
"""Seconds between looks at a rollout."""

LOOK_AGAIN = 15.0
"""Seconds between looks for what nothing tells us of: a workload that appears, an old revision that stops
serving."""

FAILED_REVISION = 120.0
"""Seconds between looks at a workload whose new revision does not start."""


@dataclass(frozen=True, slots=True)
class AttachmentWant:
    """The workload, and the e-mail of the account it shall run as. `identity` stands for it in statuses."""

    obj: IdentityAttachment
    workload: Workload
    email: str
    identity: str


@dataclass(frozen=True, slots=True)
class WorkloadSeen:
    """The workload, None if there is none.

    `others_serving` are serving revisions that run as something else, `operation` is the one that we started.
    """

    state: WorkloadState | None
    others_serving: tuple[str, ...] = ()
    operation: Operation | None = None


class IdentityAttachmentController:
    """The life of an IdentityAttachment."""

    kind = IdentityAttachment

    def __init__(self, run: Run, inventory: Inventory) -> None:
        self._run = run
        self._inventory = inventory

    def references(self, obj: IdentityAttachment) -> frozenset[Key]:
        """Its project and its identity."""
        keys = {project_key(obj.spec.project_ref.name)}
        if obj.spec.identity_ref:
            namespace = obj.spec.identity_ref.namespace or obj.metadata.namespace
            keys.add(identity_key(namespace, obj.spec.identity_ref.name))
        return frozenset(keys)

    def declares(self, obj: IdentityAttachment) -> str:
        """The workload's identity: of two attachments on one workload the older has it."""
        return f"{obj.spec.project_ref.name}/{obj.spec.workload}"

    def desired(self, obj: IdentityAttachment, gate: Passed, world: World) -> AttachmentWant | Stopped:
        """The workload and the account, if the namespace may use the one and name the other."""
        spec = obj.spec.workload
        workload = Workload(spec.kind, gate.project_id, spec.location, spec.name)
        decision = may_use_workload(
            gate.project, obj.metadata.namespace, workload.target, surroundings(gate.project, world)
        )
        if isinstance(decision, Denied):
            return Stopped(Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.workload: {decision.reason}"))
        reference = obj.spec.identity_ref
        if reference is None:
            raise AssertionError(
                "the schema asks for identityRef or email, and email is refused as unsupported"
            )
        declared = DeclaredIdentity(reference.namespace or obj.metadata.namespace, reference.name)
        entrance = _may_enter_home_of(declared, obj.metadata.namespace, world)
        if isinstance(entrance, Denied):
            return Stopped(Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.identityRef: {entrance.reason}"))
        match Members(world, obj.metadata.namespace).identity(declared, "spec.identityRef"):
            case Nobody(outcome=outcome):
                return Stopped(outcome, unresolved="" if isinstance(outcome, InSync) else outcome.message)
            case Holder(member):
                return AttachmentWant(obj, workload, email_of(member), _shown(obj))

    async def observe(self, want: AttachmentWant, max_age: float) -> WorkloadSeen:
        """The workload, what serves of it, and how far our operation is."""
        operation = await self._operation(want)
        state = await self._inventory.workload(want.workload, max_age)
        if state is None:
            return WorkloadSeen(None, operation=operation)
        return WorkloadSeen(state, await self._others_serving(want, state), operation)

    def diff(self, want: AttachmentWant, seen: WorkloadSeen) -> tuple[Change, ...]:
        """The account, if the template names another one."""
        if seen.state is None or _same(seen.state.service_account, want.email):
            return ()
        return (Change("service account", seen.state.service_account, want.email),)

    async def apply(
        self, want: AttachmentWant, seen: WorkloadSeen, changes: tuple[Change, ...]
    ) -> Applied[WorkloadSeen]:
        """Move the workload to the account, or follow how the platform takes it."""
        state = seen.state
        if state is None:
            message = f"spec.workload: {want.workload} does not exist in project {want.workload.project_id}"
            return Applied(Waiting(Reason.WORKLOAD_NOT_FOUND, message, LOOK_AGAIN), seen)
        if state.managed_by:
            return Applied(
                Refused(
                    Reason.REJECTED,
                    f"spec.workload: {want.workload} is deployed by {state.managed_by}, which would undo any "
                    "change; set the account there",
                ),
                seen,
            )
        if changes:
            return await self._attach(want, state)
        return Applied(_rollout(want, state, seen), seen)

    def wishes(self, want: AttachmentWant, world: World) -> tuple[Wish, ...]:  # noqa: ARG002
        """None: who may act as the identity is the identity's to say."""
        return ()

    def summarize(self, want: AttachmentWant, seen: WorkloadSeen) -> Summary:
        """What the workload runs as now, and what it ran as before."""
        fields: dict[str, object] = {
            "workload": str(want.workload),
            "identity": want.identity,
            "operation": seen.operation.name if seen.operation and not seen.operation.done else None,
        }
        if seen.state:
            before = want.obj.status.previous_service_account
            if before is None and not _same(seen.state.service_account, want.email):
                before = seen.state.service_account or None
            fields |= {
                "current_service_account": seen.state.service_account or None,
                "previous_service_account": before,
                "workload_uid": seen.state.uid or None,
                "latest_ready_revision": seen.state.latest_ready_revision or None,
                "serving_revisions": seen.state.serving_revisions,
            }
        return Summary(fields)

    async def delete(self, obj: IdentityAttachment, world: World, *, abandon: bool) -> Outcome:  # noqa: ARG002
        """Nothing: the workload keeps running as it does."""
        return InSync()

    async def _attach(self, want: AttachmentWant, state: WorkloadState) -> Applied[WorkloadSeen]:
        try:
            operation = await self._run.set_service_account(state, want.email)
        except GoogleError as error:
            if error.fault is not Fault.ABORTED:
                raise
            message = f"{want.workload} was deployed at the same moment; trying again"
            return Applied(Waiting(Reason.UPDATING, message, POLL), WorkloadSeen(state))
        self._inventory.wrote_workload(want.workload)
        mutated("attach", want.workload.target.full_name, before=state.service_account, after=want.email)
        message = f"{want.workload} is being moved to {want.email}"
        return Applied(Waiting(Reason.UPDATING, message, POLL), WorkloadSeen(state, operation=operation))

    async def _operation(self, want: AttachmentWant) -> Operation | None:
        """The operation that the status remembers, unless it is over and forgotten."""
        name = want.obj.status.operation
        if not name:
            return None
        try:
            return await self._run.operation(name, want.workload)
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            return None

    async def _others_serving(self, want: AttachmentWant, state: WorkloadState) -> tuple[str, ...]:
        accounts = await self._inventory.serving_accounts(state)
        return tuple(revision for revision, account in accounts.items() if not _same(account, want.email))


def _may_enter_home_of(declared: DeclaredIdentity, namespace: str, world: World) -> Decision:
    """Whether the identity's project admits the attachment's namespace, as the workload's has to."""
    identity = world.identity(declared.namespace, declared.name)
    home = world.project(identity.spec.project_ref.name) if identity else None
    return may_enter(home, namespace, surroundings(home, world)) if home else Admitted()


def _rollout(want: AttachmentWant, state: WorkloadState, seen: WorkloadSeen) -> Outcome:
    """How far the platform is with what the template says."""
    failed = seen.operation.error if seen.operation and seen.operation.done else None
    if state.reconciling or state.observed_generation < state.generation or state.ready is None:
        return Waiting(
            Reason.UPDATING, f"{want.workload} is rolling out {state.latest_created_revision}", POLL
        )
    if not state.ready:
        keeps = f"; {state.latest_ready_revision} keeps serving" if state.latest_ready_revision else ""
        reason = state.ready_message or failed or "Google gives no reason"
        message = f"{want.workload}: {state.latest_created_revision or 'the update'} failed: {reason}{keeps}"
        return Failing(Reason.REVISION_FAILED, message, after=FAILED_REVISION)
    if seen.others_serving:
        message = (
            f"{want.workload}: {', '.join(seen.others_serving)} still serves as another account; "
            f"send its traffic and tags to {state.latest_ready_revision}"
        )
        return Waiting(Reason.OLD_REVISION_SERVING, message, LOOK_AGAIN)
    return InSync()


def _same(one: str, other: str) -> bool:
    return lower_email(one) == lower_email(other)


def _shown(obj: IdentityAttachment) -> str:
    reference = obj.spec.identity_ref
    if reference is None:
        return obj.spec.email or ""
    return f"{reference.namespace}/{reference.name}" if reference.namespace else reference.name
