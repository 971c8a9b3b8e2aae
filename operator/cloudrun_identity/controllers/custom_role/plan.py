"""The plan for a custom role: pure, from the declared role, the role as read and its record in the ledger."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias, assert_never

from cloudrun_identity.api import (
    Adoption,
    CustomRole,
    LedgerRole,
    ManagedProject,
    Origin,
    Reason,
    RoleDeletionPolicy,
    RoleStage,
    RoleState,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, UNDELETE_WITHIN, CustomRoleState, RoleFields
from cloudrun_identity.iam.admission import Admitted, Decision, Denied, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.reconcile.outcomes import Refused
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.steps import Action, Change, Plan, Refuse, Wait

IN_USE_RECHECK = 15.0
"""Seconds until a role in use is looked at again: an object that stops using it does not wake its role."""

_SHOWN = 3  # objects that a message names before it counts the rest


_ADMITTED = Admitted()


@dataclass(frozen=True, slots=True)
class RoleWant:
    """A custom role as declared, or its deletion."""

    obj: CustomRole
    project_id: str
    """Id of the Google Cloud project that has the role."""
    project: ManagedProject | None
    """ManagedProject that admits the role; None for a deletion, which is not admitted again."""
    facts: GuardrailFacts | None
    """Facts that the guardrails of `project` are evaluated with."""
    holders: Callable[[], Iterable[tuple[Grant, Owner]]]
    """Return every grant of the role that exists or is about to be written, with the object it is for.

    A live view: a grant that is registered while the role is read counts in the plan that follows.
    """
    adoption: Decision = _ADMITTED
    """Decision of the project's guardrails on the adoption of a role with this ID."""
    users: tuple[str, ...] = ()
    """Objects that use the role, for a deletion."""
    deletes: bool = False
    """True if the object is being deleted."""
    abandon: bool = False
    """True if the deletion of the object leaves the role in place."""

    @property
    def name(self) -> str:
        """Full name of the role."""
        return self.obj.name_in(self.project_id)

    @property
    def owner(self) -> str:
        """The object as records name it: `namespace/name`."""
        return f"{self.obj.metadata.namespace}/{self.obj.metadata.name}"

    def fields(self, unsupported: frozenset[str]) -> RoleFields:
        """Return what to write, without the permissions that custom roles cannot hold."""
        spec = self.obj.spec
        return RoleFields(
            spec.title, spec.description, spec.stage.value, frozenset(spec.permissions) - unsupported
        )


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A custom role as read."""

    role: CustomRoleState | None
    """The role, deleted ones included; None if there is none."""
    record: LedgerRole | None = None
    """Record of the role in the ledger of the project's policy."""
    unsupported: frozenset[str] = frozenset()
    """Declared permissions that custom roles cannot hold."""
    operator_holds: str = ""
    """Account that the operator acts as and that holds the role; empty if none does or was looked for."""
    conflicts: int = 0
    """Attempts of this reconcile that lost against another writer."""

    @property
    def is_managed(self) -> bool:
        """True if the object created or adopted the role, or is about to."""
        return self.record is not None and self.record.state is not RoleState.DELETED


@dataclass(frozen=True, slots=True)
class CreateRole(Action):
    """Create the role."""

    verb: ClassVar[str] = "create"


@dataclass(frozen=True, slots=True)
class AdoptRole(Action):
    """Record a role that exists already as managed."""

    verb: ClassVar[str] = "adopt"
    only_records: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ConfirmRole(Action):
    """Record that the creation of the role took effect."""


@dataclass(frozen=True, slots=True)
class UndeleteRole(Action):
    """Undelete a role that the operator deleted."""

    verb: ClassVar[str] = "undelete"


@dataclass(frozen=True, slots=True)
class UpdateRole(Action):
    """Write the fields that differ."""

    verb: ClassVar[str] = "update"


@dataclass(frozen=True, slots=True)
class DeleteRole(Action):
    """Delete the role. Google keeps it for some days, in which it can be undeleted."""

    verb: ClassVar[str] = "delete"


@dataclass(frozen=True, slots=True)
class RecordDeletion(Action):
    """Record that the operator deleted the role, so that it may undelete it later."""


@dataclass(frozen=True, slots=True)
class ForgetRole(Action):
    """Remove the record of the role."""


RoleAction: TypeAlias = (
    CreateRole
    | AdoptRole
    | ConfirmRole
    | UndeleteRole
    | UpdateRole
    | DeleteRole
    | RecordDeletion
    | ForgetRole
)


def plan(want: RoleWant, seen: RoleSeen, now: datetime) -> Plan[RoleAction]:
    """Return the steps that take the role from `seen` to `want`."""
    if want.deletes:
        return _plan_deletion(want, seen)
    resource, role = f"//iam.googleapis.com/{want.name}", seen.role
    if role is None:
        created = (Change("role", "absent", "created"),)
        return _guarded(want, seen, created, CreateRole(resource, created))
    changes = _changes(want, role, seen.unsupported)
    update = (UpdateRole(resource, changes),) if changes else ()
    if role.deleted:
        undeleted = (Change("role", "deleted", "present"),)
        refused = _refusal_to_undelete(want, seen, role, now)
        if refused:
            return Plan((_refuse(refused, undeleted),))
        return _guarded(want, seen, (*undeleted, *changes), UndeleteRole(resource, undeleted), *update)
    if not seen.is_managed:
        adopted = (Change("role", "exists already", "adopted"),)
        refused = _refusal_to_adopt(want, seen, role)
        if refused:
            return Plan((_refuse(refused, adopted),))
        return _guarded(want, seen, (*adopted, *changes), AdoptRole(resource, adopted), *update)
    if seen.record and seen.record.state is RoleState.CREATING:
        return _guarded(want, seen, changes, ConfirmRole(resource), *update)
    return _guarded(want, seen, changes, *update) if update else Plan()


def deleted_role_refusal(want: RoleWant, record: LedgerRole | None, now: datetime) -> tuple[Reason, str]:
    """Return why a role id that belongs to a deleted role cannot be used, and until when.

    Google does not report when a role was deleted. A role that another user deleted is free at the latest so
    many days after it was first refused, which is when the object became Stalled.
    """
    role_id = want.obj.spec.role_id
    if record and record.deleted_time:
        free = record.deleted_time + ID_TAKEN_FOR
        return Reason.CONFLICT, (
            f"Role {want.name} was deleted on {record.deleted_time:%Y-%m-%d} and can no longer be "
            f"undeleted, which Google allows for {UNDELETE_WITHIN.days} days; choose another roleID until "
            f"{free:%Y-%m-%d}"
        )
    since = next((each for each in want.obj.status.conditions if each.type == "Stalled"), None)
    latest = (since.last_transition_time if since else now) + ID_TAKEN_FOR
    return Reason.CONFLICT, (
        f"Role {want.name} was deleted by another user, and undeleting it would restore its old grants: "
        f"undelete it (gcloud iam roles undelete {role_id} --project {want.project_id}) and set "
        f"spec.adoption to Adopt, or choose another roleID; this one is free again on "
        f"{latest:%Y-%m-%d} at the latest"
    )


def asks_for_holders(want: RoleWant, seen: RoleSeen) -> bool:
    """Return whether the plan depends on who holds the role: before an existing role is adopted."""
    return (
        not want.deletes
        and want.obj.spec.adoption is Adoption.ADOPT
        and seen.role is not None
        and not seen.role.deleted
        and not seen.is_managed
    )


def is_as_declared(want: RoleWant, role: CustomRoleState, unsupported: frozenset[str]) -> bool:
    """Return whether a role is what the operator would have created."""
    return not role.deleted and not _changes(want, role, unsupported)


def leaves_role(policy: RoleDeletionPolicy, origin: Origin) -> bool:
    """Return whether the deletion of the object leaves the role in place."""
    match policy:
        case RoleDeletionPolicy.DELETE_IF_CREATED:
            return origin is not Origin.CREATED
        case RoleDeletionPolicy.DELETE:
            return False
        case RoleDeletionPolicy.ABANDON:
            return True
        case _:
            assert_never(policy)


def shown(names: Iterable[str]) -> str:
    """Return the first names and the count of the others, for a message."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"


def _plan_deletion(want: RoleWant, seen: RoleSeen) -> Plan[RoleAction]:
    resource, role = f"//iam.googleapis.com/{want.name}", seen.role
    if not seen.is_managed:
        return Plan()
    if want.abandon:
        return Plan((ForgetRole(resource),))
    if want.users:
        message = (
            f"Role {want.name} is not deleted while it is used by {shown(want.users)}; remove it from these "
            "objects, or delete them, first"
        )
        return Plan((Wait(Reason.IN_USE, message, IN_USE_RECHECK),))
    if role is None:
        return Plan((ForgetRole(resource),))
    if role.deleted:
        return Plan((RecordDeletion(resource),))
    deleted = (Change("role", "present", "deleted"),)
    return Plan((DeleteRole(resource, deleted), RecordDeletion(resource)))


def _guarded(
    want: RoleWant, seen: RoleSeen, changes: tuple[Change, ...], *actions: RoleAction
) -> Plan[RoleAction]:
    """Return the actions, unless a holder of the role may not have the permissions that it would gain."""
    refused = _refusal_to_expand(want, seen)
    return Plan((_refuse(refused, changes),)) if refused else Plan(actions)


def _refuse(refused: Refused, changes: tuple[Change, ...]) -> Refuse:
    return Refuse(refused.reason, refused.message, changes, refused.proposals)


def _refusal_to_expand(want: RoleWant, seen: RoleSeen) -> Refused | None:
    """Return why the role must not gain permissions, if an object that grants it may not grant them.

    A role that only loses permissions, or is only renamed, expands nothing. An object that requests the role
    later is checked against the new permissions too (`reconcile.grants.resolver`).
    """
    permissions, role = want.fields(seen.unsupported).permissions, seen.role
    if role and role.deleted:  # it is undeleted with its old permissions, and updated after that
        permissions |= role.permissions
    elif role and role.stage != RoleStage.DISABLED and permissions <= role.permissions:
        return None
    if want.project is None or want.facts is None:
        return None
    for grant, owner in want.holders():
        request = GrantRequest(
            owner.namespace, grant.target, grant.role, grant.member, permissions, condition=grant.condition
        )
        decision = decide(request, want.project, want.facts)
        if isinstance(decision, Denied):
            granted = f"{owner.kind} {owner.namespace}/{owner.name} grants the role already"
            return refusal(decision, f"spec.permissions: {granted}")
    return None


def _refusal_to_undelete(
    want: RoleWant, seen: RoleSeen, role: CustomRoleState, now: datetime
) -> Refused | None:
    record = seen.record
    if record is None:
        return Refused(*deleted_role_refusal(want, record, now))
    if record.owner.partition("/")[0] != want.obj.metadata.namespace:
        free = (record.deleted_time or now) + ID_TAKEN_FOR
        return Refused(
            Reason.CONFLICT,
            f"spec.roleID: role {record.role_id} belonged to another namespace and is deleted; "
            f"choose another roleID until {free:%Y-%m-%d}",
        )
    return _refusal_of_permissions(want, role, "spec.roleID")


def _refusal_to_adopt(want: RoleWant, seen: RoleSeen, role: CustomRoleState) -> Refused | None:
    if want.obj.spec.adoption is not Adoption.ADOPT:
        return Refused(
            Reason.CONFLICT,
            f"Role {role.name} exists already; set spec.adoption to Adopt to take it over, which "
            "guardrails.adoptableRoles must permit, or choose another roleID",
        )
    if isinstance(want.adoption, Denied):
        return refusal(want.adoption, "spec.adoption")
    if seen.operator_holds:
        return Refused(
            Reason.DENIED_BY_GUARDRAIL,
            f"spec.adoption: the operator acts as {seen.operator_holds}, which holds {role.name}; no "
            "guardrail admits the adoption of such a role; choose another roleID",
        )
    return _refusal_of_permissions(want, role, "spec.adoption")


def _refusal_of_permissions(want: RoleWant, role: CustomRoleState, path: str) -> Refused | None:
    """Return why the guardrails do not admit the role as it is now; `path` is the field that asks for it."""
    if want.project is None or want.facts is None:
        return None
    decision = may_define(want.project, want.obj.metadata.namespace, role.permissions, want.facts)
    if isinstance(decision, Denied):
        return refusal(decision, f"{path}: {role.name} has permissions that are not admitted")
    return None


def _changes(want: RoleWant, role: CustomRoleState, unsupported: frozenset[str]) -> tuple[Change, ...]:
    spec, wanted = want.obj.spec, want.fields(unsupported).permissions
    changes = [
        Change(field, actual, declared)
        for field, actual, declared in (
            ("title", role.title, spec.title),
            ("description", role.description, spec.description),
            ("stage", role.stage, spec.stage),
        )
        if declared is not None and declared != actual
    ]
    changes += [Change(f"permission {each}", "missing", "held") for each in sorted(wanted - role.permissions)]
    changes += [Change(f"permission {each}", "held", "removed") for each in sorted(role.permissions - wanted)]
    return tuple(changes)
