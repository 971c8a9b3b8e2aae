"""What is done to a custom role for the object that declares it, crash-safe by the project's ledger."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from cloudrun_identity.api import (
    Adoption,
    CustomRole,
    ManagedProject,
    Origin,
    Reason,
    RoleDeletionPolicy,
    RoleState,
    TargetKind,
)
from cloudrun_identity.controllers.gate import surroundings
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Refused
from cloudrun_identity.controllers.world import World
from cloudrun_identity.gcp.custom_roles import (
    ID_TAKEN_FOR,
    UNDELETE_WITHIN,
    CustomRoles,
    CustomRoleState,
    RoleFields,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.mutations import mutated
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.custom_roles import may_define
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import Ledger, RoleRecord


class RoleLedgers(Protocol):
    """Where records are kept: `kube.ledger.Ledgers`."""

    async def update(self, target: Target, change: Callable[[Ledger], Ledger]) -> Ledger:
        """Persist `change` of the newest ledger of the project's policy."""
        ...


@dataclass(frozen=True, slots=True)
class DeclaredRole:
    """The role as declared, and what is recorded of it."""

    obj: CustomRole
    project: ManagedProject
    world: World
    record: RoleRecord | None

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


class RoleDefinitions:
    """Creates, adopts, brings back, updates, deletes and forgets custom roles; raises GoogleError."""

    def __init__(
        self,
        roles: CustomRoles,
        expansions: Roles,
        ledgers: RoleLedgers,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """`expansions` is told of every change.

        `checkpoint(step)` is told after every step that a crash could follow.
        """
        self._roles = roles
        self._expansions = expansions
        self._ledgers = ledgers
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint

    async def bring_about(
        self, want: DeclaredRole, seen: CustomRoleState | None, fields: RoleFields, *, differs: bool
    ) -> tuple[Outcome, CustomRoleState | None]:
        """Take the role from what is `seen` to what is wanted; returns what it is after that."""
        if seen is None:
            return await self._create(want, fields)
        if seen.deleted:
            return await self._bring_back(want, seen, fields)
        if not want.is_ours:
            refusal = _objection_to_adopting(want, seen)
            if refusal:
                return refusal, seen
            await self._record(want, Origin.ADOPTED, RoleState.PRESENT)
            mutated("adopt", seen.name, before="not ours", after="adopted")
            differs = not _says(seen, fields)
        elif want.record and want.record.state is RoleState.CREATING:
            await self._record(want, want.record.origin, RoleState.PRESENT)
        return InSync(), await self._update(want, seen, fields) if differs else seen

    async def delete(self, obj: CustomRole, project_id: str, record: RoleRecord, *, abandon: bool) -> Outcome:
        """Delete the role and remember that it was us, or leave it and forget it."""
        abandon = abandon or obj.spec.deletion_policy is RoleDeletionPolicy.ABANDON
        role = None if abandon else await self._roles.role(project_id, record.role_id, 0.0)
        if role is None:
            await self._change(project_id, lambda ledger: ledger.without_role(record.role_id))
            return InSync()
        if not role.deleted:
            await self._roles.delete(project_id, record.role_id, role.etag)
            self._changed(role.name, "delete", before="present", after="deleted")
            self._checkpoint("role deleted")
        gone = replace(record, state=RoleState.DELETED, deleted_time=self._wall_clock())
        await self._change(project_id, lambda ledger: ledger.with_role(gone))
        return InSync()

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
            return Refused(Reason.CONFLICT, _id_is_taken(want, self._wall_clock())), None
        self._checkpoint("role created")
        self._changed(role.name, "create", before="absent", after=_said(role))
        await self._record(want, Origin.CREATED, RoleState.PRESENT)
        return InSync(), role

    async def _bring_back(
        self, want: DeclaredRole, seen: CustomRoleState, fields: RoleFields
    ) -> tuple[Outcome, CustomRoleState | None]:
        """Undelete a role of ours, and bring it up to date."""
        if want.record is None:
            return Refused(Reason.CONFLICT, _id_is_taken(want, self._wall_clock())), seen
        # It comes back with what it permitted when it was deleted, and only then can it be changed.
        refusal = _permits_too_much(want, seen, "spec.roleID")
        if refusal:
            return refusal, seen
        await self._record(want, want.record.origin, RoleState.CREATING)
        self._checkpoint("role recorded")
        try:
            role = await self._roles.undelete(want.project.project_id, seen.role_id, seen.etag)
        except GoogleError as error:
            if error.fault is not Fault.UNAVAILABLE:
                await self._restore(want, want.record)
            if error.fault not in (Fault.FAILED_PRECONDITION, Fault.NOT_FOUND):
                raise
            return Refused(Reason.CONFLICT, _id_is_taken(want, self._wall_clock())), seen
        self._changed(role.name, "undelete", before="deleted", after="present")
        self._checkpoint("role brought back")
        await self._record(want, want.record.origin, RoleState.PRESENT)
        return InSync(), await self._update(want, role, fields)

    async def _update(self, want: DeclaredRole, seen: CustomRoleState, fields: RoleFields) -> CustomRoleState:
        role = await self._roles.update(want.project.project_id, seen.role_id, fields, seen.etag)
        self._changed(role.name, "update", before=_said(seen), after=_said(role))
        return role

    def _changed(self, name: str, verb: str, *, before: str, after: str) -> None:
        self._expansions.forget(name.split("/")[1], name)
        mutated(verb, name, before=before, after=after)

    async def _record(self, want: DeclaredRole, origin: Origin, state: RoleState) -> None:
        metadata = want.obj.metadata
        record = RoleRecord(
            want.obj.spec.role_id, f"{metadata.namespace}/{metadata.name}", metadata.uid, origin, state
        )
        await self._change(want.project.project_id, lambda ledger: ledger.with_role(record))

    async def _restore(self, want: DeclaredRole, before: RoleRecord | None) -> None:
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
            for role in ledger.roles.values():
                if role.deleted_time and role.deleted_time < oldest:
                    ledger = ledger.without_role(role.role_id)
            return change(ledger)

        await self._ledgers.update(Target(TargetKind.PROJECT, project_id), changed)


def _says(role: CustomRoleState, fields: RoleFields) -> bool:
    """Whether the role is as the fields have it already; one that is left open fits any."""
    wanted = (fields.title, fields.description, fields.stage, fields.permissions)
    actual = (role.title, role.description, role.stage, role.permissions)
    return all(want is None or want == is_now for want, is_now in zip(wanted, actual, strict=True))


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
    facts = surroundings(want.project, want.world)
    decision = may_define(want.project, want.obj.metadata.namespace, seen.permissions, facts)
    if isinstance(decision, Denied):
        return Refused(
            Reason.DENIED_BY_GUARDRAIL, f"{path}: {seen.name} permits too much now: {decision.reason}"
        )
    return None


def _id_is_taken(want: DeclaredRole, now: datetime) -> str:
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


def _said(role: CustomRoleState) -> str:
    return f"{role.title!r}, {role.stage}, {', '.join(sorted(role.permissions))}"
