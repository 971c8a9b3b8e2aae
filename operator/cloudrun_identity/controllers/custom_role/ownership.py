"""Whose a custom role is, and whether an object may have it."""

from dataclasses import dataclass
from datetime import datetime

from cloudrun_identity.api import Adoption, CustomRole, LedgerRole, ManagedProject, Reason, RoleState
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, UNDELETE_WITHIN, CustomRoleState, RoleFields
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.reconcile.cluster_state import ClusterState, custom_role_key
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.preconditions import belongs_to, guardrail_facts


@dataclass(frozen=True, slots=True)
class DeclaredRole:
    """The role as declared, and what is recorded of it."""

    obj: CustomRole
    project: ManagedProject
    cluster: ClusterState
    record: LedgerRole | None

    @property
    def name(self) -> str:
        """The role's full name."""
        return self.obj.name_in(self.project.project_id)

    @property
    def is_ours(self) -> bool:
        """Whether the object has the role, or is about to have it."""
        return self.record is not None and self.record.state is not RoleState.DELETED

    def fields(self, unsupported: frozenset[str]) -> RoleFields:
        """What is to be written, without what custom roles cannot hold."""
        spec = self.obj.spec
        return RoleFields(
            spec.title, spec.description, spec.stage.value, frozenset(spec.permissions) - unsupported
        )


def objection_to_owner(obj: CustomRole, record: LedgerRole | None, cluster: ClusterState) -> Outcome | None:
    """Why the object cannot have a role that another object has."""
    own = f"{obj.metadata.namespace}/{obj.metadata.name}"
    if record is None or record.owner == own or record.state is RoleState.DELETED:
        return None
    owner = custom_role_key(*record.owner.split("/", 1))
    return Refused(
        Reason.CONFLICT,
        f"spec.roleID: role {record.role_id} is {belongs_to(owner, cluster)}, or choose another roleID",
    )


def objection_to_having(want: DeclaredRole, seen: CustomRoleState, now: datetime) -> Outcome | None:
    """Why the object cannot have a role that is there or was deleted, whatever it would make of it."""
    if not seen.deleted:
        return None if want.is_ours else _objection_to_adopting(want, seen)
    record = want.record
    if record is None:
        return Refused(Reason.CONFLICT, id_is_taken(want, now))
    if record.owner.partition("/")[0] != want.obj.metadata.namespace:
        free = (record.deleted_time or now) + ID_TAKEN_FOR
        return Refused(
            Reason.CONFLICT,
            f"spec.roleID: role {record.role_id} was CustomRole {record.owner}'s and is deleted; choose "
            f"another roleID until {free:%Y-%m-%d}",
        )
    # It comes back with what it permitted when it was deleted, and only then can it be changed.
    return _permits_too_much(want, seen, "spec.roleID")


def _objection_to_adopting(want: DeclaredRole, seen: CustomRoleState) -> Outcome | None:
    """Why a role that exists already is not taken over: whoever may not define it may not have it either."""
    if want.obj.spec.adoption is not Adoption.ADOPT:
        return Refused(
            Reason.CONFLICT,
            f"role {seen.name} exists already; set spec.adoption to Adopt to take it over, or choose "
            "another roleID",
        )
    return _permits_too_much(want, seen, "spec.adoption")


def _permits_too_much(want: DeclaredRole, seen: CustomRoleState, path: str) -> Outcome | None:
    """Why the guardrails do not admit the role as it is now, whatever it is to become; `path` asks for it."""
    facts = guardrail_facts(want.project, want.cluster)
    decision = may_define(want.project, want.obj.metadata.namespace, seen.permissions, facts)
    if isinstance(decision, Denied):
        return Refused(
            Reason.DENIED_BY_GUARDRAIL, f"{path}: {seen.name} permits too much now: {decision.reason}"
        )
    return None


def id_is_taken(want: DeclaredRole, now: datetime) -> str:
    """Say why a deleted role stands in the way, and until when.

    Google does not tell when a role was deleted. What another deleted is free again at the latest so many
    days after it was first in the way, and that is when the object became Stalled.
    """
    role_id, record = want.obj.spec.role_id, want.record
    if record and record.deleted_time:
        free = record.deleted_time + ID_TAKEN_FOR
        return (
            f"role {want.name} was deleted on {record.deleted_time:%Y-%m-%d} and cannot be brought back, for "
            f"which there are {UNDELETE_WITHIN.days} days; choose another roleID until {free:%Y-%m-%d}"
        )
    since = next((each for each in want.obj.status.conditions if each.type == "Stalled"), None)
    latest = (since.last_transition_time if since else now) + ID_TAKEN_FOR
    return (
        f"role {want.name} was deleted by somebody else, and bringing it back would revive what was granted "
        f"by it: undelete it yourself (gcloud iam roles undelete {role_id} --project "
        f"{want.project.project_id}) and set spec.adoption to Adopt, or choose another roleID; this one is "
        f"free again on {latest:%Y-%m-%d} at the latest"
    )
