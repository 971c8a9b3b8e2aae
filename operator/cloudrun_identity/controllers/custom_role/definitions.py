"""What is done to a custom role for the object that declares it, crash-safe by the project's ledger."""

from collections.abc import Callable
from datetime import datetime

from cloudrun_identity.api import (
    CustomRole,
    LedgerRole,
    Origin,
    Reason,
    RoleDeletionPolicy,
    RoleStage,
    RoleState,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, CustomRoles, CustomRoleState, RoleFields
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Refused

from .ownership import DeclaredRole, id_is_taken, objection_to_having
from .permission_expansion import Claims, denial_of_expansion

_TRIES = 3  # of a deletion, against others who change the role
_OVERTAKEN = frozenset({Fault.ABORTED, Fault.FAILED_PRECONDITION, Fault.NOT_FOUND})


class RoleDefinitions:
    """Creates, adopts, brings back, updates, deletes and forgets custom roles; raises GoogleError."""

    def __init__(
        self,
        roles: CustomRoles,
        expansions: Roles,
        ledgers: LedgerStore,
        desired_grants: Claims,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """`expansions` is told of every change that is made, `claims` is asked who would gain by it.

        `checkpoint(step)` is told after every step that a crash could follow.
        """
        self._roles = roles
        self._expansions = expansions
        self._ledgers = ledgers
        self._claims = desired_grants
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint

    async def bring_about(
        self, want: DeclaredRole, seen: CustomRoleState | None, fields: RoleFields
    ) -> tuple[Outcome, CustomRoleState | None]:
        """Take the role from what is `seen` to what is wanted; returns what it is after that."""
        refusal = objection_to_having(want, seen, self._wall_clock()) if seen else None
        if refusal:
            return refusal, seen
        if seen and not seen.deleted and _says(seen, fields):
            await self._take_on(want, seen)
            return InSync(), seen
        # Whoever claims the role from here on is judged by what is being written, and who did so before is
        # asked about: between the two nothing else happens.
        refusal = self._objection_to_permitting(want, seen, fields)
        if refusal:
            return refusal, seen
        permissions = fields.permissions | (seen.permissions if seen else frozenset())
        with self._expansions.updating(want.project.project_id, want.name, permissions):
            return await self._write(want, seen, fields)

    async def delete(self, obj: CustomRole, project_id: str, record: LedgerRole, *, abandon: bool) -> Outcome:
        """Delete the role and keep its record as deleted, or leave the role and forget its record."""
        leave = abandon or leaves_role(obj.spec.deletion_policy, record.origin)
        is_there = False if leave else await self._delete(project_id, record.role_id)
        gone = record.replace(state=RoleState.DELETED, deleted_time=self._wall_clock())
        await self._change(
            project_id,
            lambda ledger: ledger.with_role(gone) if is_there else ledger.without_role(record.role_id),
        )
        return InSync()

    async def _delete(self, project_id: str, role_id: str) -> bool:
        """Delete the role, if nobody else has; whether there is anything left that could be brought back.

        Who edits, deletes or brings back the role at the same moment changes its etag: it is looked at anew.
        """
        for tries_left in reversed(range(_TRIES)):
            role = await self._roles.role(project_id, role_id, 0.0)
            if role is None or role.deleted:
                break
            try:
                await self._roles.delete(project_id, role_id, role.etag)
            except GoogleError as error:
                if error.fault not in _OVERTAKEN or not tries_left:
                    raise
                continue
            log_mutation("delete", role.name, before="present", after="deleted")
            self._checkpoint("role deleted")
            return True
        return role is not None

    async def _write(
        self, want: DeclaredRole, seen: CustomRoleState | None, fields: RoleFields
    ) -> tuple[Outcome, CustomRoleState | None]:
        if seen is None:
            return await self._create(want, fields)
        if seen.deleted and want.record:
            return await self._bring_back(want, want.record, seen, fields)
        await self._take_on(want, seen)
        return InSync(), await self._update(want, seen, fields)

    async def _take_on(self, want: DeclaredRole, seen: CustomRoleState) -> None:
        """Record that a role which is there is ours, if that is news: adopted, or made before a crash."""
        if not want.is_ours:
            await self._record(want, Origin.ADOPTED, RoleState.PRESENT)
            log_mutation("adopt", seen.name, before="not ours", after="adopted")
        elif want.record and want.record.state is RoleState.CREATING:
            await self._record(want, want.record.origin, RoleState.PRESENT)

    async def _create(self, want: DeclaredRole, fields: RoleFields) -> tuple[Outcome, CustomRoleState | None]:
        """Record the intent, then create: after a crash in between, what exists is ours."""
        before, project_id = want.record, want.project.project_id
        await self._record(want, Origin.CREATED, RoleState.CREATING)
        self._checkpoint("role recorded")
        try:
            role = await self._roles.create(project_id, want.obj.spec.role_id, fields)
        except GoogleError as error:
            if error.fault is Fault.UNAVAILABLE:
                raise  # it may have happened: the intent stays
            await self._restore(want, before)
            if error.fault is not Fault.FAILED_PRECONDITION:
                raise
            return Refused(Reason.CONFLICT, id_is_taken(want, self._wall_clock())), None
        self._checkpoint("role created")
        log_mutation("create", role.name, before="absent", after=_said(role))
        await self._record(want, Origin.CREATED, RoleState.PRESENT)
        return InSync(), role

    async def _bring_back(
        self, want: DeclaredRole, record: LedgerRole, seen: CustomRoleState, fields: RoleFields
    ) -> tuple[Outcome, CustomRoleState | None]:
        """Undelete a role of ours, and bring it up to date."""
        await self._record(want, record.origin, RoleState.CREATING)
        self._checkpoint("role recorded")
        try:
            role = await self._roles.undelete(want.project.project_id, seen.role_id, seen.etag)
        except GoogleError as error:
            if error.fault is not Fault.UNAVAILABLE:
                await self._restore(want, record)
            if error.fault not in (Fault.FAILED_PRECONDITION, Fault.NOT_FOUND):
                raise
            return Refused(Reason.CONFLICT, id_is_taken(want, self._wall_clock())), seen
        log_mutation("undelete", role.name, before="deleted", after="present")
        self._checkpoint("role brought back")
        await self._record(want, record.origin, RoleState.PRESENT)
        return InSync(), await self._update(want, role, fields)

    async def _update(self, want: DeclaredRole, seen: CustomRoleState, fields: RoleFields) -> CustomRoleState:
        role = await self._roles.update(want.project.project_id, seen.role_id, fields, seen.etag)
        log_mutation("update", role.name, before=_said(seen), after=_said(role))
        return role

    def _objection_to_permitting(
        self, want: DeclaredRole, seen: CustomRoleState | None, fields: RoleFields
    ) -> Outcome | None:
        """Why the role must not come to permit what it does not now: for who has it already, or claims it.

        A role that is only narrowed, or renamed, is nobody's gain.
        """
        permissions = fields.permissions
        if seen and seen.deleted:  # it comes back as it was, and is brought up to date after that
            permissions |= seen.permissions
        elif seen and seen.stage != RoleStage.DISABLED and permissions <= seen.permissions:
            return None
        return denial_of_expansion(want.obj, want.project, permissions, want.cluster, self._claims)

    async def _record(self, want: DeclaredRole, origin: Origin, state: RoleState) -> None:
        metadata = want.obj.metadata
        record = LedgerRole(
            role_id=want.obj.spec.role_id,
            owner=f"{metadata.namespace}/{metadata.name}",
            owner_uid=metadata.uid,
            origin=origin,
            state=state,
        )
        await self._change(want.project.project_id, lambda ledger: ledger.with_role(record))

    async def _restore(self, want: DeclaredRole, before: LedgerRole | None) -> None:
        """Undo the intent: nothing was made."""
        role_id = want.obj.spec.role_id
        await self._change(
            want.project.project_id,
            lambda ledger: ledger.with_role(before) if before else ledger.without_role(role_id),
        )

    async def _change(self, project_id: str, change: Callable[[Ledger], Ledger]) -> None:
        """Persist a change, and forget the deleted roles whose ids are free again."""
        oldest = self._wall_clock() - ID_TAKEN_FOR

        def changed(ledger: Ledger) -> Ledger:
            for role in ledger.roles:
                if role.deleted_time and role.deleted_time < oldest:
                    ledger = ledger.without_role(role.role_id)
            return change(ledger)

        await self._ledgers.update(Target.project(project_id), changed)


def leaves_role(policy: RoleDeletionPolicy, origin: Origin) -> bool:
    """Return whether the role of a deleted object stays in Google Cloud."""
    match policy:
        case RoleDeletionPolicy.DELETE_IF_CREATED:
            return origin is Origin.ADOPTED
        case RoleDeletionPolicy.DELETE:
            return False
        case RoleDeletionPolicy.ABANDON:
            return True


def _says(role: CustomRoleState, fields: RoleFields) -> bool:
    """Whether the role is as the fields have it already; one that is left open fits any."""
    wanted = (fields.title, fields.description, fields.stage, fields.permissions)
    actual = (role.title, role.description, role.stage, role.permissions)
    return all(want is None or want == is_now for want, is_now in zip(wanted, actual, strict=True))


def _said(role: CustomRoleState) -> str:
    return f"{role.title!r}, {role.stage}, {', '.join(sorted(role.permissions))}"
