"""Execute the actions of a role's plan. Each step is recorded, so that a crash loses nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import LedgerRole, Origin, Reason, RoleState
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.unknown_outcomes import written_or_found
from cloudrun_identity.reconcile.interfaces import Executed
from cloudrun_identity.reconcile.outcomes import Failing

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
from .plan import deleted_role_refusal, is_as_declared
from .role import RoleSeen, RoleWant
from .role_records import RoleRecords

_MAX_CONFLICTS = 3  # of a deletion, with other writers of the role
_CONFLICTS = frozenset({Fault.ABORTED, Fault.FAILED_PRECONDITION, Fault.NOT_FOUND})


class RoleExecution:
    """Execute the actions that the plan decided, and report the outcome of each write."""

    def __init__(
        self,
        roles: CustomRoles,
        expansions: Roles,
        records: RoleRecords,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """Initialize the executor. `expansions` is notified of every change of a role before it is written.

        `checkpoint(step)` is called after every step that a crash could follow.
        """
        self._roles = roles
        self._expansions = expansions
        self._records = records
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint

    async def execute(self, action: RoleAction, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        """Execute one action; raises GoogleError."""
        if isinstance(action, CreateRole | UndeleteRole | UpdateRole):
            # A grant that is registered from here on is checked against the permissions that are being
            # written. Those registered before were checked by the plan; nothing else runs in between.
            held = seen.role.permissions if seen.role else frozenset()
            permissions = want.fields(seen.unsupported).permissions | held
            with self._expansions.updating(want.project_id, want.name, permissions):
                if seen.holders is not None:
                    await self._records.forget_left(seen.holders)
                return await self._write(action, want, seen)
        match action:
            case DeleteRole():
                return await self._delete(want, seen)
            case AdoptRole():
                return Executed(await self._recorded(want, seen, Origin.ADOPTED, RoleState.PRESENT))
            case TakeBackRole() | ConfirmRole():
                origin = seen.record.origin if seen.record else Origin.CREATED
                return Executed(await self._recorded(want, seen, origin, RoleState.PRESENT))
            case RecordDeletion():
                return Executed(await self._record(want, seen, RoleState.DELETED, self._wall_clock()))
            case LeaveRole():
                return Executed(await self._record(want, seen, RoleState.ABANDONED))
            case ForgetRole():
                return Executed(replace(seen, record=await self._records.keep(want, None)))
            case _:
                assert_never(action)

    async def assume(self, action: RoleAction, want: RoleWant, seen: RoleSeen) -> RoleSeen:
        """Return what `execute` would leave behind, without a call to Google Cloud."""
        fields = want.fields(seen.unsupported)
        written = CustomRoleState(
            want.name,
            fields.title or (seen.role.title if seen.role else ""),
            fields.description or (seen.role.description if seen.role else ""),
            fields.stage,
            fields.permissions,
            etag=b"",
        )
        match action:
            case CreateRole():
                self._expansions.assume(want.project_id, want.name, fields.permissions)
                seen = replace(seen, role=written)
                return await self._recorded(want, seen, Origin.CREATED, RoleState.PRESENT)
            case UndeleteRole():
                return await self._assumed(want, seen, replace(_present(seen), deleted=False))
            case UpdateRole():
                return await self._assumed(want, seen, written)
            case DeleteRole():
                return replace(seen, role=replace(seen.role, deleted=True) if seen.role else None)
            case AdoptRole() | TakeBackRole() | ConfirmRole() | RecordDeletion() | LeaveRole() | ForgetRole():
                return (await self.execute(action, want, seen)).seen
            case _:
                assert_never(action)

    async def _assumed(self, want: RoleWant, seen: RoleSeen, role: CustomRoleState) -> RoleSeen:
        self._expansions.assume(want.project_id, want.name, role.permissions)
        origin = seen.record.origin if seen.record else Origin.CREATED
        return await self._recorded(want, replace(seen, role=role), origin, RoleState.PRESENT)

    async def _write(
        self, action: CreateRole | UndeleteRole | UpdateRole, want: RoleWant, seen: RoleSeen
    ) -> Executed[RoleSeen]:
        match action:
            case CreateRole():
                return await self._create(want, seen)
            case UndeleteRole():
                return await self._undelete(want, seen)
            case UpdateRole():
                role = _present(seen)
                fields = want.fields(seen.unsupported)
                written = await self._roles.update(want.project_id, role.role_id, fields, role.etag)
                return Executed(replace(seen, role=written))

    async def _create(self, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        """Record the intent, then create the role: after a crash in between, an existing role is managed."""
        before, unsupported = seen.record, seen.unsupported
        seen = await self._recorded(want, seen, Origin.CREATED, RoleState.CREATING)
        self._checkpoint("role recorded")

        async def create() -> CustomRoleState:
            return await self._roles.create(want.project_id, want.obj.spec.role_id, want.fields(unsupported))

        async def find() -> CustomRoleState | None:
            found = await self._read(want)
            return found if found and is_as_declared(want, found, unsupported) else None

        try:
            role = await written_or_found(create, find)
        except GoogleError as error:
            if error.undecided:
                raise  # the role may have been created: the intent stays recorded
            if error.fault is Fault.ALREADY_EXISTS:
                return await self._existing(want, seen, before)
            seen = replace(seen, record=await self._records.keep(want, before))
            if error.fault is not Fault.FAILED_PRECONDITION:
                raise
            return Executed(seen, deleted_role_refusal(want, before, self._wall_clock()))
        self._checkpoint("role created")
        seen = replace(seen, role=role)
        return Executed(await self._recorded(want, seen, Origin.CREATED, RoleState.PRESENT))

    async def _existing(
        self, want: RoleWant, seen: RoleSeen, before: LedgerRole | None
    ) -> Executed[RoleSeen]:
        """Plan again for a role that exists already: an earlier create made it, or another user did.

        The record shows an earlier create with an unknown outcome.
        """
        if before is None or before.state is not RoleState.CREATING:
            seen = replace(seen, record=await self._records.keep(want, before))
        role = await self._read(want)
        if role is not None:
            return Executed(replace(seen, role=role), written=False)
        message = f"Role {want.name} exists, and cannot be read yet; the operator reads it again"
        return Executed(seen, Failing(Reason.UPDATING, message), written=False)

    async def _read(self, want: RoleWant) -> CustomRoleState | None:
        return await self._roles.role(want.project_id, want.obj.spec.role_id, 0.0)

    async def _undelete(self, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        role, before = _present(seen), seen.record
        origin = before.origin if before else Origin.CREATED
        seen = await self._recorded(want, seen, origin, RoleState.CREATING)
        self._checkpoint("role recorded")

        async def undelete() -> CustomRoleState:
            return await self._roles.undelete(want.project_id, role.role_id, role.etag)

        async def find() -> CustomRoleState | None:
            found = await self._read(want)
            return found if found and not found.deleted else None

        try:
            undeleted = await written_or_found(undelete, find)
        except GoogleError as error:
            if error.undecided:
                raise  # the role may have been undeleted: the intent stays recorded
            seen = replace(seen, record=await self._records.keep(want, before))
            if error.fault not in (Fault.FAILED_PRECONDITION, Fault.NOT_FOUND):
                raise
            return Executed(seen, deleted_role_refusal(want, before, self._wall_clock()))
        self._checkpoint("role brought back")
        seen = replace(seen, role=undeleted)
        return Executed(await self._recorded(want, seen, origin, RoleState.PRESENT))

    async def _delete(self, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        """Delete the role as it was read; after a conflict with another writer, read it again."""
        role = _present(seen)
        try:
            await self._roles.delete(want.project_id, role.role_id, role.etag)
        except GoogleError as error:
            if error.fault not in _CONFLICTS or seen.conflicts + 1 >= _MAX_CONFLICTS:
                raise
            newest = await self._roles.role(want.project_id, role.role_id, 0.0)
            return Executed(replace(seen, role=newest, conflicts=seen.conflicts + 1), written=False)
        self._checkpoint("role deleted")
        return Executed(replace(seen, role=replace(role, deleted=True)))

    async def _recorded(self, want: RoleWant, seen: RoleSeen, origin: Origin, state: RoleState) -> RoleSeen:
        return replace(seen, record=await self._records.put(want, origin, state))

    async def _record(
        self, want: RoleWant, seen: RoleSeen, state: RoleState, deleted_time: datetime | None = None
    ) -> RoleSeen:
        """Change the state of the record."""
        if seen.record is None:
            return seen
        record = seen.record.replace(state=state, deleted_time=deleted_time)
        return replace(seen, record=await self._records.keep(want, record))


def _present(seen: RoleSeen) -> CustomRoleState:
    if seen.role is None:
        raise ValueError("the action needs a role that exists")
    return seen.role
