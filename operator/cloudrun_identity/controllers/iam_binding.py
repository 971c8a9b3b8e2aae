"""IAMBinding: members of a role on one resource. It declares grants; the policy engine syncs them."""

from dataclasses import dataclass, replace

from cloudrun_identity.api import (
    Authority,
    BindingDeletionPolicy,
    ExistingGrants,
    IAMBinding,
    ManagedProject,
    Reason,
    TemporaryGrantFields,
)
from cloudrun_identity.gcp.inventory import Inventory
from cloudrun_identity.gcp.permission_checks import PermissionChecks
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.expiry import Expiry
from cloudrun_identity.iam.grants import Target, condition_of
from cloudrun_identity.iam.principals import normalise
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, Retain
from cloudrun_identity.policy.exclusive import may_be_exclusive
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, project_key
from cloudrun_identity.reconcile.grants.caller_checks import CallerSeen, caller_issues, observe_callers
from cloudrun_identity.reconcile.grants.callers import caller_grants, caller_keys, caller_of
from cloudrun_identity.reconcile.grants.members import Members, member_keys
from cloudrun_identity.reconcile.grants.public_services import (
    ineffective_roles,
    invoked_services,
    public_services,
)
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant, declared_grant
from cloudrun_identity.reconcile.grants.roles import resolve_role, role_keys
from cloudrun_identity.reconcile.grants.targets import resolve_target, target_key
from cloudrun_identity.reconcile.interfaces import Summary
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, project_of
from cloudrun_identity.reconcile.references import Resolved, Unresolved


@dataclass(frozen=True, slots=True)
class BindingWant:
    """A binding with its target and role resolved."""

    obj: IAMBinding
    project: ManagedProject
    cluster: ClusterState
    target: Target
    role: str
    owner: DeclaredIdentity | None
    """Identity that declares the account, if the target is an account."""


@dataclass(frozen=True, slots=True)
class BindingSeen:
    """Findings beside the policy."""

    public_services: tuple[Workload, ...] = ()
    """Target services that allow unauthenticated invocation."""
    callers: tuple[CallerSeen, ...] = ()
    """Products that call the target, with what they have."""


class IAMBindingController:
    """The kind IAMBinding."""

    kind = IAMBinding

    def __init__(self, inventory: Inventory, access: PermissionChecks) -> None:
        self._inventory = inventory
        self._access = access

    def references(self, obj: IAMBinding) -> frozenset[ObjectKey]:
        """Return its project and role, and the identities and projects of its target and members."""
        namespace = obj.metadata.namespace
        keys = {project_key(obj.spec.project_ref.name)} | member_keys(obj.spec.members, namespace)
        keys |= caller_keys(obj.spec.members, namespace)
        keys |= role_keys([(obj.spec.role, obj.spec.custom_role_ref)], namespace)
        return frozenset(keys | target_key(obj.spec.target, namespace))

    def declares(self, obj: IAMBinding) -> str:
        """Return nothing: several bindings may declare one grant."""
        return ""

    def resolve(self, obj: IAMBinding, allowed: Allowed, cluster: ClusterState) -> BindingWant | Blocked:
        """Return the binding, once its target and its role exist."""
        spec = obj.spec
        found = resolve_target(spec.target, allowed.project, obj.metadata.namespace, cluster, "spec.target")
        if isinstance(found, Unresolved):
            return Blocked(found.outcome, unresolved=_waited_for(found.outcome))
        target = found.target
        role = resolve_role(spec.role, spec.custom_role_ref, target, obj.metadata.namespace, cluster, "spec")
        if isinstance(role, Unresolved):
            return Blocked(role.outcome, unresolved=role.text)
        if spec.authority is Authority.EXCLUSIVE and not may_be_exclusive(role):
            return Blocked(
                Refused(
                    Reason.INVALID_SPEC,
                    f"spec.authority: Exclusive is refused for {role}, on which Google's service agents or "
                    "the project itself depend; use Additive",
                )
            )
        return BindingWant(obj, allowed.project, cluster, target, role, found.owner)

    def depends_on_policies_alone(self, obj: IAMBinding) -> bool:
        """Return whether the target is no workload, of which callers and public access are read."""
        return not obj.spec.target.workload_location

    async def observe(self, want: BindingWant, max_age: float) -> BindingSeen:
        """Return the public services among the targets, and what callers have.

        The policy syncer reads the policy.
        """
        place = (want.target, want.role, want.project)
        called = invoked_services([place], want.obj.metadata.namespace, want.cluster)
        interval = want.project.spec.drift_interval.timedelta.total_seconds()
        return BindingSeen(
            await public_services(called, self._inventory, max_age or interval),
            await observe_callers(want.obj, want.target, want.project, want.cluster, self._access),
        )

    def requested_grants(self, want: BindingWant, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """Return one grant for each member, and what callers need beside it."""
        return _requested(want.obj, want.project, want.target, want.role, want.owner, cluster)

    def summarize(self, want: BindingWant, seen: BindingSeen) -> Summary:
        """Return the printer columns, and an issue for each public service."""
        return Summary(
            {
                "target": str(want.target),
                "role": want.role,
                "member_count": _member_count(want),
            },
            issues=(*ineffective_roles(seen.public_services), *caller_issues(seen.callers)),
        )

    def abandons(self, obj: IAMBinding) -> bool:
        """Return whether the deletion policy leaves the grants in place."""
        return obj.spec.deletion_policy is BindingDeletionPolicy.ABANDON

    def declared_grants(self, obj: IAMBinding, cluster: ClusterState) -> tuple[Retain, ...]:
        """Return one pattern for each member. An unresolved target, role or member matches any."""
        spec, namespace = obj.spec, obj.metadata.namespace
        project = project_of(obj, cluster)
        if project is None:
            return (RETAIN_ALL,)
        found = resolve_target(spec.target, project, namespace, cluster, "spec.target")
        target = found if isinstance(found, Unresolved) else found.target
        role: Resolved[str] = spec.role or ""
        if isinstance(target, Target):
            role = resolve_role(spec.role, spec.custom_role_ref, target, namespace, cluster, "spec")
        elif spec.custom_role_ref:
            role = Unresolved(f"CustomRole {namespace}/{spec.custom_role_ref.name}", target.outcome)
        return tuple(map(declared_grant, _requested(obj, project, target, role, None, cluster)))


def _requested(
    obj: IAMBinding,
    project: ManagedProject,
    target: Resolved[Target],
    role: Resolved[str],
    owner: DeclaredIdentity | None,
    cluster: ClusterState,
) -> tuple[RequestedGrant, ...]:
    """Return the grant of each member, and then what callers need beside it.

    What callers need is never exclusive and never claimed: it is not on the target of the binding.
    """
    namespace = obj.metadata.namespace
    members = Members(cluster, namespace)
    needed: list[RequestedGrant] = []
    requested: list[RequestedGrant] = []
    for index, member in enumerate(obj.spec.members):
        path, caller = f"spec.members[{index}]", caller_of(member)
        if caller:
            needed += (
                replace(each, expiry=Expiry.of(member))
                for each in caller_grants(caller, project, namespace, cluster, path)
            )
        requested.append(
            RequestedGrant(
                path,
                target,
                role,
                members.resolve(caller.member if caller else member, path),
                owner,
                condition_of(obj.spec.condition),
                obj.spec.authority is Authority.EXCLUSIVE,
                obj.spec.existing_grants is ExistingGrants.CLAIM,
                expiry=Expiry.of(member),
            )
        )
    return (*requested, *needed)


def _member_count(want: BindingWant) -> int:
    """Return the number of distinct members, as Google Cloud counts those of one binding.

    A member that is declared with several ends, or in several forms, is one member.
    """
    if len(want.obj.spec.members) == 1:  # most bindings; resolving it takes 4 % of a reconcile
        return 1
    requested = _requested(want.obj, want.project, want.target, want.role, want.owner, want.cluster)
    no_end = dict.fromkeys(TemporaryGrantFields.model_fields)
    return len(
        {
            member.model_copy(update=no_end)
            if isinstance(each.member, Unresolved)
            else normalise(each.member.principal)
            for member, each in zip(want.obj.spec.members, requested, strict=False)
        }
    )


def _waited_for(outcome: Outcome) -> str:
    """Return the reason why a reference is waited for; empty if it resolves and is refused."""
    return outcome.message if isinstance(outcome, Waiting) else ""
