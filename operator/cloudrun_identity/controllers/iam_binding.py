"""IAMBinding: members of a role on one resource. All its work is claims; the lanes do the rest."""

from dataclasses import dataclass
from typing import Final

from cloudrun_identity.api import (
    Authority,
    BindingDeletionPolicy,
    IAMBinding,
    Reason,
    TargetKind,
    WorkloadKind,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity, may_use_workload
from cloudrun_identity.iam.exclusive import may_be_exclusive
from cloudrun_identity.iam.grants import Target

from .gate import Passed, Stopped, surroundings
from .grants.members import Members
from .grants.references import NoRole, member_keys, role_keys, role_name, target_key
from .grants.release import Releaser
from .grants.targets import NoTarget, resolve_target
from .grants.wishes import Wish, condition_of
from .outcomes import InSync, Outcome, Refused, Waiting
from .reconcile.controller import Applied, Change, Summary
from .world import Key, World, project_key

INVOKER: Final = "roles/run.invoker"


@dataclass(frozen=True, slots=True)
class BindingWant:
    """The binding with its target resolved; `owner` is the identity whose account the target is.

    `called` is the service whose callers it lets in, if the namespace may use that, and None otherwise;
    `drift_interval` is in seconds.
    """

    obj: IAMBinding
    target: Target
    role: str
    owner: DeclaredIdentity | None
    called: Workload | None
    drift_interval: float


@dataclass(frozen=True, slots=True)
class BindingSeen:
    """What there is to know beside the policy. `moot`: the service lets in everybody, whoever is granted."""

    moot: bool = False


class IAMBindingController:
    """The life of an IAMBinding."""

    kind = IAMBinding

    def __init__(self, releaser: Releaser, inventory: Inventory) -> None:
        self._releaser = releaser
        self._inventory = inventory

    def references(self, obj: IAMBinding) -> frozenset[Key]:
        """Its project, its role, its target's identity, and every identity and project among its members."""
        namespace = obj.metadata.namespace
        keys = {project_key(obj.spec.project_ref.name)} | member_keys(obj.spec.members, namespace)
        keys |= role_keys([(obj.spec.role, obj.spec.custom_role_ref)], namespace)
        return frozenset(keys | target_key(obj.spec.target, namespace))

    def declares(self, obj: IAMBinding) -> str:
        """Nothing: any number of bindings may declare one grant."""
        return ""

    def desired(self, obj: IAMBinding, gate: Passed, world: World) -> BindingWant | Stopped:
        """The target and the role, once the one has an account and the other is there."""
        spec = obj.spec
        found = resolve_target(spec.target, gate.project, obj.metadata.namespace, world, "spec.target")
        if isinstance(found, NoTarget):
            return Stopped(found.outcome, unresolved=_waited_for(found.outcome))
        target = found.target
        role = role_name(spec.role, spec.custom_role_ref, target, obj.metadata.namespace, world, "spec")
        if isinstance(role, NoRole):
            return Stopped(role.outcome, unresolved=role.text)
        if spec.authority is Authority.EXCLUSIVE and not may_be_exclusive(role):
            return Stopped(
                Refused(
                    Reason.INVALID_SPEC,
                    f"spec.authority: Exclusive is refused for {role}, which Google's own agents or the "
                    "project itself depend on; use Additive",
                )
            )
        interval = gate.project.spec.drift_interval.timedelta.total_seconds()
        return BindingWant(obj, target, role, found.owner, _called(obj, target, role, gate, world), interval)

    async def observe(self, want: BindingWant, max_age: float) -> BindingSeen:
        """Whether a service asks who calls it, by a list that all share: the policy is read by its lane."""
        if want.called is None:
            return BindingSeen()
        try:
            state = await self._inventory.listed_workload(want.called, max_age or want.drift_interval)
        except GoogleError:  # it is advice; what keeps the grant from being made, the lane tells
            return BindingSeen()
        return BindingSeen(moot=state is not None and state.invoker_iam_disabled)

    def diff(self, want: BindingWant, seen: BindingSeen) -> tuple[Change, ...]:
        """Nothing beside the grants."""
        return ()

    async def apply(
        self,
        want: BindingWant,
        seen: BindingSeen,
        changes: tuple[Change, ...],
    ) -> Applied[BindingSeen]:
        """Nothing beside the grants."""
        return Applied(InSync(), seen)

    def wishes(self, want: BindingWant, world: World) -> tuple[Wish, ...]:
        """One wish for each member."""
        members = Members(world, want.obj.metadata.namespace)
        return tuple(
            Wish(
                f"spec.members[{index}]",
                want.target,
                want.role,
                members.resolve(member, f"spec.members[{index}]"),
                want.owner,
                condition_of(want.obj.spec.condition),
                want.obj.spec.authority is Authority.EXCLUSIVE,
            )
            for index, member in enumerate(want.obj.spec.members)
        )

    def summarize(self, want: BindingWant, seen: BindingSeen) -> Summary:
        """What the columns show, and whether the role decides anything."""
        moot = (
            f"{want.target} lets in everybody: it does not check who invokes it, whoever holds {INVOKER}; "
            f"gcloud run services update {want.target.name} --region={want.target.location} "
            f"--project={want.target.project_id} --invoker-iam-check has it check"
        )
        return Summary(
            {
                "target": str(want.target),
                "role": want.role,
                "member_count": len(set(want.obj.spec.members)),
            },
            issues=(moot,) if seen.moot else (),
        )

    async def delete(self, obj: IAMBinding, world: World, *, abandon: bool) -> Outcome:
        """Let go of the grants, or leave them as `deletionPolicy` says."""
        leave = abandon or obj.spec.deletion_policy is BindingDeletionPolicy.ABANDON
        return await self._releaser.release(obj, abandon=leave)


def _called(obj: IAMBinding, target: Target, role: str, gate: Passed, world: World) -> Workload | None:
    """The service whose callers the binding lets in, where the namespace may look at it."""
    if target.kind is not TargetKind.SERVICE or role != INVOKER:
        return None
    facts = surroundings(gate.project, world)
    if not isinstance(may_use_workload(gate.project, obj.metadata.namespace, target, facts), Admitted):
        return None
    return Workload(WorkloadKind.SERVICE, target.project_id, target.location, target.name)


def _waited_for(outcome: Outcome) -> str:
    """What a reference waits for; empty if it is there and will not do."""
    return outcome.message if isinstance(outcome, Waiting) else ""
