"""IAMBinding: members of a role on one resource. All its work is claims; the lanes do the rest."""

from dataclasses import dataclass

from cloudrun_identity.api import Authority, BindingDeletionPolicy, IAMBinding, Reason, TargetKind
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.exclusive import may_be_exclusive
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import lower_email

from .controller import Applied, Change, Summary
from .gate import Passed, Stopped
from .grants import Members, Wish, condition_of
from .outcomes import InSync, Outcome, Refused, Waiting
from .references import NoRole, custom_role_keys, member_keys, role_name, target_key
from .release import Releaser
from .world import Key, World, project_key


@dataclass(frozen=True, slots=True)
class BindingWant:
    """The binding with its target resolved; `owner` is the identity whose account the target is."""

    obj: IAMBinding
    target: Target
    role: str
    owner: DeclaredIdentity | None


class IAMBindingController:
    """The life of an IAMBinding."""

    kind = IAMBinding

    def __init__(self, releaser: Releaser) -> None:
        self._releaser = releaser

    def references(self, obj: IAMBinding) -> frozenset[Key]:
        """Its project, its role, its target's identity, and every identity and project among its members."""
        namespace = obj.metadata.namespace
        keys = {project_key(obj.spec.project_ref.name)} | member_keys(obj.spec.members, namespace)
        keys |= custom_role_keys([obj.spec.custom_role_ref], namespace)
        return frozenset(keys | target_key(obj.spec.target, namespace))

    def declares(self, obj: IAMBinding) -> str:  # noqa: ARG002
        """Nothing: any number of bindings may declare one grant."""
        return ""

    def desired(self, obj: IAMBinding, gate: Passed, world: World) -> BindingWant | Stopped:
        """The target and the role, once the one has an account and the other is there."""
        match _target(obj, gate, world):
            case Stopped() as stop:
                return stop
            case target, owner:
                pass
        spec = obj.spec
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
        return BindingWant(obj, target, role, owner)

    async def observe(self, want: BindingWant, max_age: float) -> None:  # noqa: ARG002
        """Nothing: the policy is read by its lane."""
        return

    def diff(self, want: BindingWant, seen: None) -> tuple[Change, ...]:  # noqa: ARG002
        """Nothing beside the grants."""
        return ()

    async def apply(
        self,
        want: BindingWant,  # noqa: ARG002
        seen: None,
        changes: tuple[Change, ...],  # noqa: ARG002
    ) -> Applied[None]:
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

    def summarize(self, want: BindingWant, seen: None) -> Summary:  # noqa: ARG002
        """What the columns show."""
        return Summary(
            {
                "target": str(want.target),
                "role": want.role,
                "member_count": len(set(want.obj.spec.members)),
            }
        )

    async def delete(self, obj: IAMBinding, world: World, *, abandon: bool) -> Outcome:  # noqa: ARG002
        """Let go of the grants, or leave them as `deletionPolicy` says."""
        leave = abandon or obj.spec.deletion_policy is BindingDeletionPolicy.ABANDON
        return await self._releaser.release(obj, abandon=leave)


def _target(obj: IAMBinding, gate: Passed, world: World) -> tuple[Target, DeclaredIdentity | None] | Stopped:
    target = obj.spec.target
    if target.kind is not TargetKind.SERVICE_ACCOUNT:
        return Target(target.kind, gate.project_id, target.location or "", target.name or ""), None
    namespace = obj.metadata.namespace
    if target.email:
        record = world.owner_of(target.email)
        if record is None:
            return Target(target.kind, gate.project_id, name=lower_email(target.email)), None
        namespace, _, name = record.owner.partition("/")
    else:
        name = target.identity_ref.name if target.identity_ref else ""
    return _account_of(obj, DeclaredIdentity(namespace, name), gate, world)


def _account_of(
    obj: IAMBinding, owner: DeclaredIdentity, gate: Passed, world: World
) -> tuple[Target, DeclaredIdentity] | Stopped:
    identity = world.identity(owner.namespace, owner.name)
    where = "spec.target.identityRef"
    text = f"CloudRunIdentity {owner.namespace}/{owner.name}"
    if identity is None:
        message = f"{where}: there is no {text}"
        return Stopped(Waiting(Reason.DEPENDENCY_NOT_FOUND, message), unresolved=message)
    if identity.spec.project_ref != obj.spec.project_ref:
        return Stopped(
            Refused(
                Reason.INVALID_SPEC,
                f"spec.projectRef: {text} belongs to ManagedProject {identity.spec.project_ref.name}; "
                "a binding on its account must name that one",
            )
        )
    record = world.account(identity)
    if record is None or not record.is_steady:
        message = f"{where}: the account of {text} is not ready"
        return Stopped(Waiting(Reason.DEPENDENCY_NOT_READY, message), unresolved=message)
    return Target(TargetKind.SERVICE_ACCOUNT, gate.project_id, name=record.email), owner
