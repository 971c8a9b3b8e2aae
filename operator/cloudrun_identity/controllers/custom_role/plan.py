"""The plan for a custom role: pure, from the declared role, the role as read and its record in the ledger."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import (
    Adoption,
    LedgerRole,
    Origin,
    Reason,
    RoleDeletionPolicy,
    RoleState,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, UNDELETE_WITHIN, CustomRoleState
from cloudrun_identity.iam.admission import Denied, GuardrailFacts
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.permission_forms import lacking
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.iam.wording import some
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.steps import Change, Fail, Plan, Refuse, Wait

from .actions import (
    AdoptRole,
    ConfirmRole,
    CreateRole,
    DeleteRole,
    ForgetRole,
    LeaveRole,
    RecordDeletion,
    RoleAction,
    TakeBackRole,
    UndeleteRole,
    UpdateRole,
)
from .expansion import expands, refusal_to_expand
from .holders import RoleHolders, grants_left_in, left_grants
from .role import RoleSeen, RoleWant

IN_USE_RECHECK = 15.0
"""Seconds until a role in use is looked at again: an object that stops using it does not wake its role."""


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
        takes_back = seen.record is not None and seen.record.is_left_by(want.owner)
        adopted = (Change("role", "exists already", "taken back" if takes_back else "adopted"),)
        refused = _refusal_to_adopt(want, role, takes_back=takes_back)
        if refused:
            return Plan((_refuse(refused, adopted),))
        obstacle = refusal_to_expand(want, seen) or _refusal_by_holders(want, seen)
        if obstacle:
            return Plan((_refuse(obstacle, (*adopted, *changes)),))
        adopt = TakeBackRole(resource, adopted) if takes_back else AdoptRole(resource, adopted)
        return Plan((adopt, *update))
    if seen.record and seen.record.state is RoleState.CREATING:
        return _guarded(want, seen, changes, ConfirmRole(resource), *update)
    return _guarded(want, seen, changes, *update) if update else Plan()


def deleted_role_refusal(want: RoleWant, record: LedgerRole | None, now: datetime) -> Refused:
    """Return why a role id that belongs to a deleted role cannot be used, and until when.

    Google does not report when a role was deleted. A role that another user deleted is free at the latest so
    many days after it was first refused, which is when the object became Stalled.
    """
    role_id = want.obj.spec.role_id
    if record and record.deleted_time:
        free = record.deleted_time + ID_TAKEN_FOR
        return Refused(
            Reason.CONFLICT,
            f"Role {want.name} was deleted on {record.deleted_time:%Y-%m-%d} and can no longer be "
            f"undeleted, which Google allows for {UNDELETE_WITHIN.days} days; choose another roleID until "
            f"{free:%Y-%m-%d}",
        )
    since = next((each for each in want.obj.status.conditions if each.type == "Stalled"), None)
    latest = (since.last_transition_time if since else now) + ID_TAKEN_FOR
    return Refused(
        Reason.CONFLICT,
        f"Role {want.name} was deleted by another user, and undeleting it would restore its old grants: "
        f"undelete it (gcloud iam roles undelete {role_id} --project {want.project_id}) and set "
        f"spec.adoption to Adopt, or choose another roleID; this one is free again on "
        f"{latest:%Y-%m-%d} at the latest",
    )


def is_as_declared(want: RoleWant, role: CustomRoleState, unsupported: frozenset[str]) -> bool:
    """Return whether a role is what the operator would have created."""
    return not role.deleted and not _changes(want, role, unsupported)


def asks_for_holders(want: RoleWant, seen: RoleSeen, now: datetime) -> bool:
    """Return whether the plan depends on the holders of the role: before it is adopted or gains permissions.

    A plan that refuses the role in any case does not depend on the holders.
    """
    if want.deletes:
        return False
    adopts = seen.role is not None and not seen.role.deleted and not seen.is_managed
    if not adopts and not expands(want, seen):
        return False
    unread = RoleHolders(left_before=left_grants(want.ledgers(), want.name))
    unheld = plan(want, replace(seen, holders=unread), now)
    return not any(isinstance(step, Refuse) for step in unheld.steps)


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


def _plan_deletion(want: RoleWant, seen: RoleSeen) -> Plan[RoleAction]:
    resource, role = f"//iam.googleapis.com/{want.name}", seen.role
    if not seen.is_managed:
        return Plan()
    leave = LeaveRole if seen.record and seen.record.origin is Origin.CREATED else ForgetRole
    if want.abandon:
        return Plan((leave(resource),))
    if want.users:
        message = (
            f"Role {want.name} is not deleted while it is used by {some(want.users)}; remove it from these "
            "objects, or delete them, first"
        )
        return Plan((Wait(Reason.IN_USE, message, IN_USE_RECHECK),))
    if role is None:
        return Plan((ForgetRole(resource),))
    if role.deleted:
        return Plan((RecordDeletion(resource),))
    if seen.holders and seen.holders.unreadable:
        return Plan((Fail(seen.holders.unreadable),))
    if kept := left_holders(want) & (seen.holders.grants if seen.holders else frozenset()):
        reason = (
            f"Role {want.name} is left: deleted objects left it granted to "
            f"{some(sorted(f'{grant.member} on {grant.target}' for grant in kept))}; when they do not need "
            f"it any more, delete it with gcloud, or declare it again, remove the grants and delete it"
        )
        return Plan((leave(resource, reason=reason),))
    deleted = (Change("role", "present", "deleted"),)
    return Plan((DeleteRole(resource, deleted), RecordDeletion(resource)))


def left_holders(want: RoleWant) -> frozenset[Grant]:
    """Return the grants of the role that objects of its namespace left, such as those of an account in use.

    As with objects that use the role, those of other namespaces do not count.
    """
    return grants_left_in(want.ledgers(), want.name, want.obj.metadata.namespace)


def _guarded(
    want: RoleWant, seen: RoleSeen, changes: tuple[Change, ...], *actions: RoleAction
) -> Plan[RoleAction]:
    """Return the actions, unless a holder of the role may not have the permissions that it would gain."""
    refused = refusal_to_expand(want, seen)
    return Plan((_refuse(refused, changes),)) if refused else Plan(actions)


def _refuse(outcome: Outcome, changes: tuple[Change, ...]) -> Refuse | Fail:
    if isinstance(outcome, Refused):
        return Refuse.of(outcome, *changes)
    return Fail(outcome, changes)


def _refusal_to_undelete(
    want: RoleWant, seen: RoleSeen, role: CustomRoleState, now: datetime
) -> Refused | None:
    record = seen.record
    if record is None or record.state is RoleState.ABANDONED:
        return deleted_role_refusal(want, record, now)
    if record.owner.partition("/")[0] != want.obj.metadata.namespace:
        free = (record.deleted_time or now) + ID_TAKEN_FOR
        return Refused(
            Reason.CONFLICT,
            f"spec.roleID: role {record.role_id} belonged to another namespace and is deleted; "
            f"choose another roleID until {free:%Y-%m-%d}",
        )
    return _refusal_of_permissions(want, role, "spec.roleID")


def _refusal_to_adopt(want: RoleWant, role: CustomRoleState, *, takes_back: bool) -> Refused | None:
    """Return why the object must not manage an existing role; None if it may adopt it or take it back."""
    if not takes_back and want.obj.spec.adoption is not Adoption.ADOPT:
        return Refused(
            Reason.CONFLICT,
            f"Role {role.name} exists already; set spec.adoption to Adopt to take it over, which "
            "guardrails.adoptableRoles must permit, or choose another roleID",
        )
    if not takes_back and isinstance(want.adoption, Denied):
        return refusal(want.adoption, "spec.adoption")
    return _refusal_of_permissions(want, role, "spec.roleID" if takes_back else "spec.adoption")


def _refusal_by_holders(want: RoleWant, seen: RoleSeen) -> Outcome | None:
    """Return why a role must not be adopted: the operator itself depends on it."""
    holders = seen.known_holders
    operator = _operator_account_in(holders, want.facts)
    if not operator:
        return holders.unreadable
    return Refused(
        Reason.DENIED_BY_GUARDRAIL,
        f"spec.roleID: the operator acts as {operator}, which holds {want.name}; no guardrail admits the "
        "adoption of such a role; choose another roleID",
    )


def _operator_account_in(holders: RoleHolders, facts: GuardrailFacts | None) -> str:
    """Return an account that the operator acts as and that holds the role; empty if none does."""
    accounts = facts.credential_accounts if facts else frozenset()
    held = sorted(email(grant.member) for grant in holders.grants)
    return next((each for each in held if lower_email(each) in accounts), "")


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
    added, removed = lacking(wanted, role.permissions), lacking(role.permissions, wanted)
    changes += [Change(f"permission {each}", "missing", "held") for each in sorted(added)]
    changes += [Change(f"permission {each}", "held", "removed") for each in sorted(removed)]
    return tuple(changes)
