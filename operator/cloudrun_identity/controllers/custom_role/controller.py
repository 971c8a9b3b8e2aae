"""CustomRole: a custom role of a project, from its creation to its deletion.

The record of the role in the ledger of the project's policy decides whether the role is managed. It is
written before the role is created, and kept after the role is deleted, so that the operator knows which
deleted role it may undelete.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from cloudrun_identity.api import (
    Adoption,
    CustomRole,
    LedgerRole,
    Reason,
    RoleState,
)
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.iam.admission import Denied, may_adopt_role, may_have_role_id
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.permission_forms import lacking
from cloudrun_identity.iam.role_permissions import may_define
from cloudrun_identity.iam.wording import some
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.ports import PolicyReader
from cloudrun_identity.reconcile.budgets import roles_of
from cloudrun_identity.reconcile.cluster_state import (
    ClusterState,
    ObjectKey,
    custom_role_key,
    project_key,
    role_key,
)
from cloudrun_identity.reconcile.guardrail_checks import guardrail_facts
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.refusals import refusal
from cloudrun_identity.reconcile.rivals import belongs_to
from cloudrun_identity.reconcile.steps import Plan

from .actions import RoleAction
from .execution import RoleExecution
from .holders import RoleHolders, read_holders
from .plan import asks_for_holders, leaves_role, left_holders, plan
from .role import RoleSeen, RoleWant
from .role_records import RoleRecords


class RegisteredGrants(Protocol):
    """The grants that objects have registered: `policy.syncers.PolicySyncers`."""

    def about_to_hold(self, role: str, project_id: str) -> Iterable[tuple[Grant, str]]:
        """Return every grant of the role that objects have registered in the project, with its owner."""
        ...


SHARE_RECHECK = 300.0
"""Seconds until the operator tries again to create a role beyond its namespace's share."""


class CustomRoleController:
    """The kind CustomRole."""

    kind = CustomRole

    def __init__(
        self,
        roles: CustomRoles,
        records: RoleRecords,
        execution: RoleExecution,
        registered: RegisteredGrants,
        policies: PolicyReader,
        wall_clock: Callable[[], datetime],
    ) -> None:
        self._roles = roles
        self._records = records
        self._execution = execution
        self._registered = registered
        self._policies = policies
        self._wall_clock = wall_clock

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
        own = f"{namespace}/{obj.metadata.name}"
        unmanaged = record is None or (record.state is RoleState.ABANDONED and not record.is_left_by(own))
        adopts = obj.spec.adoption is Adoption.ADOPT and unmanaged
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
            _ledgers(project.project_id, cluster),
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
            ledgers=_ledgers(project_id, cluster),
            users=() if leave else tuple(_users(obj, project_id, cluster, holders())),
            deletes=True,
            abandon=leave,
        )

    def depends_on_policies_alone(self, obj: CustomRole) -> bool:
        """Return False: the role is read."""
        return False

    async def observe(self, want: RoleWant, max_age: float) -> RoleSeen:
        """Return the role and its record, and the declared permissions that custom roles cannot hold."""
        project_id, spec = want.project_id, want.obj.spec
        record = self._records.of(want)
        if want.deletes and (want.abandon or want.users):
            return RoleSeen(None, record)
        role = await self._roles.role(project_id, spec.role_id, max_age if record else 0.0)
        if want.deletes:
            return RoleSeen(role, record, holders=await self._left_holders(want))
        missing = lacking(spec.permissions, role.permissions if role else frozenset())
        unsupported = await self._roles.unsupported(project_id, missing) if missing else frozenset()
        seen = RoleSeen(role, record, unsupported)
        if asks_for_holders(want, seen, self._wall_clock()):
            return replace(seen, holders=await read_holders(self._policies, want.ledgers(), want.name))
        return seen

    async def _left_holders(self, want: RoleWant) -> RoleHolders | None:
        """Return the holders of a role to delete, if objects of its namespace left grants of it."""
        if not left_holders(want):
            return None
        return await read_holders(self._policies, want.ledgers(), want.name)

    def plan(self, want: RoleWant, seen: RoleSeen, now: datetime) -> Plan[RoleAction]:
        """Return the steps that take the role from `seen` to `want`."""
        return plan(want, seen, now)

    async def execute(self, action: RoleAction, want: RoleWant, seen: RoleSeen) -> Executed[RoleSeen]:
        """Execute one action; raises GoogleError."""
        return await self._execution.execute(action, want, seen)

    async def assume(self, action: RoleAction, want: RoleWant, seen: RoleSeen) -> RoleSeen:
        """Return what `execute` would leave behind, without a call to Google Cloud."""
        return await self._execution.assume(action, want, seen)

    def summarize(self, want: RoleWant, seen: RoleSeen) -> Summary:
        """Return the role, and the declared permissions that it cannot hold."""
        record, role, unsupported = self._records.of(want), seen.role, sorted(seen.unsupported)
        issues = (
            (f"spec.permissions: custom roles cannot hold {some(unsupported)}; they are left out",)
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


def _ledger_of(want: RoleWant) -> Target:
    return Target.project(want.project_id)


def _owned_by_another(obj: CustomRole, record: LedgerRole | None, cluster: ClusterState) -> Refused | None:
    """Return why the object cannot manage a role that another object manages."""
    own = f"{obj.metadata.namespace}/{obj.metadata.name}"
    if record is None or record.owner == own or not record.is_managed:
        return None
    owner = custom_role_key(*record.owner.split("/", 1))
    return Refused(
        Reason.CONFLICT,
        f"spec.roleID: role {record.role_id} is {belongs_to(owner, obj.metadata.namespace, cluster)}, "
        "or choose another roleID",
    )


def _ledgers(project_id: str, cluster: ClusterState) -> Callable[[], Iterable[Ledger]]:
    """Return the ledgers of the project, with that of its own policy even if it is empty."""
    own = Target.project(project_id)

    def ledgers() -> Iterable[Ledger]:
        yield cluster.ledger(own)
        yield from (ledger for ledger in cluster.ledgers(project_id) if ledger.target != own)

    return ledgers


def _users(
    obj: CustomRole, project_id: str, cluster: ClusterState, holders: Iterable[tuple[Grant, Owner]]
) -> list[str]:
    """Return the objects of the namespace that name the role, and those that hold it or are about to.

    An object of another namespace that names the role in full does not count: it must not be able to keep the
    owner of the role from deleting it. Its grant ends with the role, which its own status reports.
    """
    naming = {
        *cluster.referrers(ObjectKey.of(obj)),
        *cluster.referrers(role_key(obj.name_in(project_id))),
    }
    holding = {ObjectKey(owner.kind, owner.namespace, owner.name) for _, owner in holders}
    return sorted(str(key) for key in naming | holding if key.namespace == obj.metadata.namespace)


def _share_message(obj: CustomRole) -> str:
    return (
        f"spec.roleID: role {obj.spec.role_id} is not created: namespace {obj.metadata.namespace} has "
        "used its share of the custom roles of the project, deleted ones included; delete roles that are not "
        "in use, or ask the administrators of the project (guardrails.sharing)"
    )
