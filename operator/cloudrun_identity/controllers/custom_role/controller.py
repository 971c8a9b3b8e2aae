"""CustomRole: a custom role of a project, from its creation to its deletion.

The record of the role in the ledger of the project's policy decides whether the role is managed. It is
written before the role is created, and kept after the role is deleted, so that the operator knows which
deleted role it may undelete.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol, assert_never

from cloudrun_identity.api import (
    Adoption,
    CustomRole,
    LedgerRole,
    Origin,
    Reason,
    RoleState,
)
from cloudrun_identity.gcp.custom_roles import ID_TAKEN_FOR, CustomRoles, CustomRoleState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.unknown_outcomes import written_or_found
from cloudrun_identity.iam.admission import Denied, may_adopt_role, may_have_role_id
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.merge import grants_in
from cloudrun_identity.policy.ports import PolicyPort
from cloudrun_identity.reconcile.budgets import roles_of
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    custom_role_key,
    project_key,
    role_key,
)
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import Failing, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, belongs_to, guardrail_facts
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.steps import Plan

from .plan import (
    AdoptRole,
    ConfirmRole,
    CreateRole,
    DeleteRole,
    ForgetRole,
    RecordDeletion,
    RoleAction,
    RoleSeen,
    RoleWant,
    UndeleteRole,
    UpdateRole,
    asks_for_holders,
    deleted_role_refusal,
    is_as_declared,
    leaves_role,
    plan,
    shown,
)

_MAX_CONFLICTS = 3  # of a deletion, with other writers of the role
_CONFLICTS = frozenset({Fault.ABORTED, Fault.FAILED_PRECONDITION, Fault.NOT_FOUND})


class RegisteredGrants(Protocol):
    """The grants that objects have registered: `policy.syncers.PolicySyncers`."""

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        """Return every grant of the role that objects have registered in the project, with its owner."""
        ...


SHARE_RECHECK = 300.0
"""Seconds until a role without room in its namespace's share is tried again."""


class CustomRoleController:
    """The kind CustomRole."""

    kind = CustomRole

    def __init__(
        self,
        roles: CustomRoles,
        expansions: Roles,
        ledgers: LedgerStore,
        registered: RegisteredGrants,
        policies: PolicyPort,
        wall_clock: Callable[[], datetime],
        checkpoint: Callable[[str], None],
    ) -> None:
        """`expansions` learns of every change of a role before it is written.

        `checkpoint(step)` is called after every step that a crash could follow.
        """
        self._roles = roles
        self._expansions = expansions
        self._ledgers = ledgers
        self._registered = registered
        self._policies = policies
        self._wall_clock = wall_clock
        self._checkpoint = checkpoint

    def references(self, obj: CustomRole) -> frozenset[ObjectKey]:
        """Return its project."""
        return frozenset({project_key(obj.spec.project_ref.name)})

    def declares(self, obj: CustomRole) -> str:
        """Return the role: only the older of two objects manages it."""
        return f"{obj.spec.project_ref.name}/{obj.spec.role_id}"

    def describe(self, want: RoleWant) -> str:
        """Return the name of the role as plans show it."""
        return f"CustomRole {want.name}"

    def resolve(self, obj: CustomRole, allowed: Allowed, cluster: ClusterState) -> RoleWant | Blocked:
        """Return the role as declared, if the guardrails admit all of its permissions."""
        project, facts = allowed.project, guardrail_facts(allowed.project, cluster)
        record = cluster.role(project.project_id, obj.spec.role_id)
        owned = _owned_by_another(obj, record, cluster)
        if owned:
            return Blocked(owned)
        permissions = frozenset(obj.spec.permissions)
        namespace = obj.metadata.namespace
        definition = may_define(project, namespace, permissions, facts)
        adoption = may_adopt_role(project, namespace, obj.spec.role_id)
        adopts = obj.spec.adoption is Adoption.ADOPT and record is None
        naming = may_have_role_id(project, obj.spec.role_id)
        refused = [
            refusal(decision, path)
            for decision, path, applies in (
                (naming, "", record is None),
                (definition, "spec.permissions", True),
                (adoption, "spec.adoption", adopts),
            )
            if isinstance(decision, Denied) and applies
        ]
        if refused:
            return Blocked(refused[0], others=tuple(refused[1:]))
        if record is None and not roles_of(project, cluster).admits(namespace):
            return Blocked(Waiting(Reason.QUOTA_EXCEEDED, _share_message(obj), SHARE_RECHECK))
        return RoleWant(
            obj,
            project.project_id,
            project,
            facts,
            self._holders(obj, project.project_id, cluster),
            adoption=adoption,
        )

    def resolve_deletion(self, obj: CustomRole, cluster: ClusterState, *, abandon: bool) -> RoleWant | None:
        """Return the deletion of the role; None if the object manages none."""
        home = cluster.role_home(obj)
        if home is None:
            return None
        project_id, record = home
        leave = abandon or leaves_role(obj.spec.deletion_policy, record.origin)
        holders = self._holders(obj, project_id, cluster)
        obj = obj.model_copy(update={"spec": obj.spec.model_copy(update={"role_id": record.role_id})})
        return RoleWant(
            obj,
            project_id,
            project=None,
            facts=None,
            holders=holders,
            users=() if leave else tuple(_users(obj, project_id, cluster, holders())),
            deletes=True,
            abandon=leave,
        )

    async def observe(self, want: RoleWant, max_age: float) -> RoleSeen:
        """Return the role and its record, and the declared permissions that custom roles cannot hold."""
        project_id, spec = want.project_id, want.obj.spec
        record = self._record_of(want)
        if want.deletes and (want.abandon or want.users):
            return RoleSeen(None, record)
        role = await self._roles.role(project_id, spec.role_id, max_age if record else 0.0)
        if want.deletes:
            return RoleSeen(role, record)
        missing = frozenset(spec.permissions) - (role.permissions if role else frozenset())
        unsupported = await self._roles.unsupported(project_id, missing) if missing else frozenset()
        seen = RoleSeen(role, record, unsupported)
        if asks_for_holders(want, seen):
            return replace(seen, operator_holds=await self._operator_holds(want))
        return seen

    async def _operator_holds(self, want: RoleWant) -> str:
        """Return an account that the operator acts as and that holds the role; empty if none does."""
        project = _ledger_of(want)
        accounts = want.facts.credential_accounts if want.facts else frozenset()
        for grant in grants_in(await self._policies.get(project), project):
            if grant.role == want.name and lower_email(email(grant.member)) in accounts:
                return email(grant.member)
        return ""

    def plan(self, want: RoleWant, seen: RoleSeen, now: datetime) -> Plan[RoleAction]:
        """Return the steps that take the role from `seen` to `want`."""
        return plan(want, seen, now)

    async def execute(self, action: RoleAction, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        """Execute one action; raises GoogleError."""
        if isinstance(action, CreateRole | UndeleteRole | UpdateRole):
            # A grant that is registered from here on is checked against the permissions that are being
            # written. Those registered before were checked by the plan; nothing else runs in between.
            held = seen.role.permissions if seen.role else frozenset()
            permissions = want.fields(seen.unsupported).permissions | held
            with self._expansions.updating(want.project_id, want.name, permissions):
                return await self._write(action, want, seen)
        match action:
            case DeleteRole():
                return await self._delete(want, seen)
            case AdoptRole():
                return Executed(await self._recorded(want, seen, Origin.ADOPTED, RoleState.PRESENT))
            case ConfirmRole():
                origin = seen.record.origin if seen.record else Origin.CREATED
                return Executed(await self._recorded(want, seen, origin, RoleState.PRESENT))
            case RecordDeletion():
                return Executed(await self._record_deletion(want, seen))
            case ForgetRole():
                return Executed(await self._keep(want, seen, None))
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
            case AdoptRole() | ConfirmRole() | RecordDeletion() | ForgetRole():
                return (await self.execute(action, want, seen)).seen
            case _:
                assert_never(action)

    async def _assumed(self, want: RoleWant, seen: RoleSeen, role: CustomRoleState) -> RoleSeen:
        self._expansions.assume(want.project_id, want.name, role.permissions)
        origin = seen.record.origin if seen.record else Origin.CREATED
        return await self._recorded(want, replace(seen, role=role), origin, RoleState.PRESENT)

    def summarize(self, want: RoleWant, seen: RoleSeen) -> Summary:
        """Return the role, and the declared permissions that it cannot hold."""
        record, role, unsupported = self._record_of(want), seen.role, sorted(seen.unsupported)
        issues = (
            (f"spec.permissions: custom roles cannot hold {shown(unsupported)}; they are left out",)
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

    # Actions

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
            seen = await self._keep(want, seen, before)
            if error.fault is not Fault.FAILED_PRECONDITION:
                raise
            return Executed(seen, Refused(*deleted_role_refusal(want, before, self._wall_clock())))
        self._checkpoint("role created")
        seen = replace(seen, role=role)
        return Executed(await self._recorded(want, seen, Origin.CREATED, RoleState.PRESENT))

    async def _existing(
        self, want: RoleWant, seen: RoleSeen, before: LedgerRole | None
    ) -> Executed[RoleSeen]:
        """Plan again for a role that exists already: an earlier create made it, or another user did.

        An earlier create whose outcome was unknown is still recorded.
        """
        if before is None or before.state is not RoleState.CREATING:
            seen = await self._keep(want, seen, before)
        role = await self._read(want)
        if role is not None:
            return Executed(replace(seen, role=role), written=False)
        message = f"Role {want.name} exists, and cannot be read yet; looking at it again"
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
            seen = await self._keep(want, seen, before)
            if error.fault not in (Fault.FAILED_PRECONDITION, Fault.NOT_FOUND):
                raise
            return Executed(seen, Refused(*deleted_role_refusal(want, before, self._wall_clock())))
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

    # Records

    def _record_of(self, want: RoleWant) -> LedgerRole | None:
        return self._ledgers.ledger(_ledger_of(want)).role(want.obj.spec.role_id)

    async def _recorded(self, want: RoleWant, seen: RoleSeen, origin: Origin, state: RoleState) -> RoleSeen:
        uid = want.obj.metadata.uid
        record = LedgerRole(
            role_id=want.obj.spec.role_id, owner=want.owner, owner_uid=uid, origin=origin, state=state
        )
        return await self._keep(want, seen, record)

    async def _record_deletion(self, want: RoleWant, seen: RoleSeen) -> RoleSeen:
        if seen.record is None:
            return seen
        record = seen.record.replace(state=RoleState.DELETED, deleted_time=self._wall_clock())
        return await self._keep(want, seen, record)

    async def _keep(self, want: RoleWant, seen: RoleSeen, record: LedgerRole | None) -> RoleSeen:
        """Persist the record, or its removal, and remove the records of deleted roles with free ids."""
        role_id, oldest = want.obj.spec.role_id, self._wall_clock() - ID_TAKEN_FOR

        def changed(ledger: Ledger) -> Ledger:
            for role in ledger.roles:
                if role.deleted_time and role.deleted_time < oldest:
                    ledger = ledger.without_role(role.role_id)
            return ledger.with_role(record) if record else ledger.without_role(role_id)

        await self._ledgers.update(_ledger_of(want), changed)
        return replace(seen, record=record)

    def _holders(
        self, obj: CustomRole, project_id: str, cluster: ClusterState
    ) -> Callable[[], Iterable[tuple[Grant, Owner]]]:
        name = obj.name_in(project_id)

        def holders() -> Iterable[tuple[Grant, Owner]]:
            for grant, entry in cluster.held_by_role(name):
                yield from ((grant, Owner.parse(each)) for each in sorted(entry.owners))
            for grant, owner in self._registered.about_to_hold(name, project_id):
                yield grant, Owner.parse(owner)

        return holders


def _present(seen: RoleSeen) -> CustomRoleState:
    if seen.role is None:
        raise ValueError("the action needs a role that exists")
    return seen.role


def _ledger_of(want: RoleWant) -> Target:
    return Target.project(want.project_id)


def _owned_by_another(obj: CustomRole, record: LedgerRole | None, cluster: ClusterState) -> Refused | None:
    """Return why the object cannot manage a role that another object manages."""
    own = f"{obj.metadata.namespace}/{obj.metadata.name}"
    if record is None or record.owner == own or record.state is RoleState.DELETED:
        return None
    owner = custom_role_key(*record.owner.split("/", 1))
    return Refused(
        Reason.CONFLICT,
        f"spec.roleID: role {record.role_id} is {belongs_to(owner, obj.metadata.namespace, cluster)}, "
        "or choose another roleID",
    )


def _users(
    obj: CustomRole, project_id: str, cluster: ClusterState, holders: Iterable[tuple[Grant, Owner]]
) -> list[str]:
    """Return the objects that name the role, and those that hold it or are about to.

    An object of another namespace that names the role in full, and was granted nothing, does not count.
    """
    naming = {
        *cluster.referrers(ObjectKey.of(obj)),
        *cluster.referrers(role_key(obj.name_in(project_id))),
    }
    declaring = {str(key) for key in naming if key.namespace == obj.metadata.namespace}
    holding = {f"{owner.kind} {owner.namespace}/{owner.name}" for _, owner in holders}
    return sorted(declaring | holding)


def _share_message(obj: CustomRole) -> str:
    return (
        f"spec.roleID: role {obj.spec.role_id} is not created: namespace {obj.metadata.namespace} has its "
        "share of the custom roles of the project, deleted ones included; delete roles that are not in use, "
        "or ask the administrators of the project (guardrails.sharing)"
    )
