"""CustomRole: a custom role of a project, from its creation to its deletion.

What decides anything about the role is its record in the ledger of the project's policy: written before the
create, and kept after a deletion, so that the operator knows which deleted role it may bring back.
"""

from dataclasses import dataclass

from cloudrun_identity.api import CustomRole, ManagedProject, Reason
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, project_key, role_key
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, guardrail_facts

from .definitions import RoleDefinitions
from .ownership import DeclaredRole, objection_to_owner
from .permission_expansion import Claims, holders

LOOK_AGAIN = 15.0
"""Seconds until a role in use is looked at again: who stops using it, and stays, does not wake us."""

_NAMED = 3  # objects that a message names before it counts the rest


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """The role, None if there is none, and the declared permissions that it cannot hold."""

    role: CustomRoleState | None
    unsupported: frozenset[str] = frozenset()


class CustomRoleController:
    """The life of a CustomRole."""

    kind = CustomRole

    def __init__(self, roles: CustomRoles, definitions: RoleDefinitions, desired_grants: Claims) -> None:
        self._roles = roles
        self._definitions = definitions
        self._claims = desired_grants

    def references(self, obj: CustomRole) -> frozenset[ObjectKey]:
        """Its project."""
        return frozenset({project_key(obj.spec.project_ref.name)})

    def declares(self, obj: CustomRole) -> str:
        """The role: the older of two objects has it."""
        return f"{obj.spec.project_ref.name}/{obj.spec.role_id}"

    def resolve(self, obj: CustomRole, allowed: Allowed, cluster: ClusterState) -> DeclaredRole | Blocked:
        """The role as declared, if the guardrails admit all of it."""
        record = cluster.role(allowed.project_id, obj.spec.role_id)
        objection = objection_to_owner(obj, record, cluster) or _not_admitted(obj, allowed.project, cluster)
        return Blocked(objection) if objection else DeclaredRole(obj, allowed.project, cluster, record)

    async def observe(self, want: DeclaredRole, max_age: float) -> RoleSeen:
        """The role; and where it lacks permissions, which of them no custom role can hold."""
        project_id, spec = want.project.project_id, want.obj.spec
        role = await self._roles.role(project_id, spec.role_id, max_age if want.record else 0.0)
        missing = frozenset(spec.permissions) - (role.permissions if role else frozenset())
        return RoleSeen(role, await self._roles.unsupported(project_id, missing) if missing else frozenset())

    def diff(self, want: DeclaredRole, seen: RoleSeen) -> tuple[Change, ...]:
        """What has to happen to the role."""
        role, spec = seen.role, want.obj.spec
        if role is None:
            return (Change("role", "absent", "created"),)
        if role.deleted:
            return (Change("role", "deleted", "present"),)
        if not want.is_ours:
            return (Change("role", "exists already", "adopted"),)
        changes = [
            Change(field, actual, declared)
            for field, actual, declared in (
                ("title", role.title, spec.title),
                ("description", role.description, spec.description),
                ("stage", role.stage, spec.stage),
            )
            if declared is not None and declared != actual
        ]
        wanted = frozenset(spec.permissions) - seen.unsupported
        lacking, excess = sorted(wanted - role.permissions), sorted(role.permissions - wanted)
        changes += [Change(f"permission {each}", "missing", "held") for each in lacking]
        changes += [Change(f"permission {each}", "held", "removed") for each in excess]
        return tuple(changes)

    async def apply(
        self,
        want: DeclaredRole,
        seen: RoleSeen,
        changes: tuple[Change, ...],
    ) -> Applied[RoleSeen]:
        """Create, adopt, bring back or update the role."""
        outcome, role = await self._definitions.bring_about(want, seen.role, want.fields(seen.unsupported))
        return Applied(outcome, RoleSeen(role, seen.unsupported))

    def requested_grants(self, want: DeclaredRole, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        """None."""
        return ()

    def summarize(self, want: DeclaredRole, seen: RoleSeen) -> Summary:
        """The role, and what of the declaration it cannot hold."""
        record, role = want.cluster.role(want.project.project_id, want.obj.spec.role_id), seen.role
        unsupported = sorted(seen.unsupported)
        issues = (
            (
                f"spec.permissions: custom roles cannot hold {', '.join(unsupported[:_NAMED])}"
                f"{_and_more(unsupported)}; they are left out",
            )
            if unsupported
            else ()
        )
        return Summary(
            {
                "name": want.name,
                "origin": record.origin if record else None,
                "deleted": role.deleted if role else None,
                "permission_count": len(role.permissions) if role else None,
                "unsupported_permissions": tuple(unsupported),
            },
            issues=issues,
        )

    async def delete(self, obj: CustomRole, cluster: ClusterState, *, abandon: bool) -> Outcome:
        """Delete the role, unless something still uses it."""
        home = cluster.role_home(obj)
        if home is None:
            return InSync()
        project_id, record = home
        if not abandon:
            users = _users(obj, project_id, cluster, self._claims)
            if users:
                return Waiting(
                    Reason.IN_USE,
                    f"role {obj.name_in(project_id)} is not deleted while it is used by "
                    f"{', '.join(users[:_NAMED])}{_and_more(users)}; take it out of these, or delete them, "
                    "first",
                    after=LOOK_AGAIN,
                )
        return await self._definitions.delete(obj, project_id, record, abandon=abandon)


def _not_admitted(obj: CustomRole, project: ManagedProject, cluster: ClusterState) -> Outcome | None:
    """Why the guardrails forbid such a role, whoever it is granted to."""
    permissions = frozenset(obj.spec.permissions)
    decision = may_define(project, obj.metadata.namespace, permissions, guardrail_facts(project, cluster))
    if isinstance(decision, Denied):
        return Refused(Reason.DENIED_BY_GUARDRAIL, f"spec.permissions: {decision.reason}")
    return None


def _users(obj: CustomRole, project_id: str, cluster: ClusterState, desired_grants: Claims) -> list[str]:
    """Who names the role, and who holds it or is about to.

    An object of another namespace that names it in full, and was granted nothing, holds up nobody's deletion.
    """
    name = obj.name_in(project_id)
    naming = {*cluster.referrers(ObjectKey.of(obj)), *cluster.referrers(role_key(name))}
    declaring = {str(key) for key in naming if key.namespace == obj.metadata.namespace}
    entry = {
        f"{owner.kind} {owner.namespace}/{owner.name}"
        for _, owner in holders(name, project_id, cluster, desired_grants)
    }
    return sorted(declaring | entry)


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
