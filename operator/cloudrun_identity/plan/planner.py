"""Works out what the controllers would do, by the differences that they go by, and does none of it.

Every object passes its gate, is resolved, looked at and compared as in a reconcile. Then it is applied with
clients that send no write: a refusal is what the object would be told, and the attempt to write is what makes
a difference a step of the plan. What a step would bring into being is taken for there by all that refer to
it. Grants are judged as in a reconcile, and planned and merged as in their lanes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudrun_identity.api import (
    CloudRunIdentity,
    CustomRole,
    IdentityAttachment,
    LedgerAccount,
    LedgerRole,
    ManagedProject,
    Origin,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
    RoleState,
)
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountOwner, AccountRecords
from cloudrun_identity.gcp.errors import Fault, GoogleError, NotSent
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.interface import LedgerStore
from cloudrun_identity.policy.ports import PolicyPort
from cloudrun_identity.reconcile.cluster_state import ObjectKey, account_key
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.grants.resolver import desired_grants_of
from cloudrun_identity.reconcile.interfaces import Applied, Change, Controller
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Paused, Waiting, outcome_of
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked, check_preconditions
from cloudrun_identity.reconcile.status import status_object, with_fields

from .model import Plan, PlanBlocker, Step, blocker, sign_of
from .policies import PlannedPolicies

NOT_YET = "0"
"""Stands for the unique id of an account that is still to be created."""


@dataclass(frozen=True, slots=True)
class _Look:
    """An object that may be worked on, and what is wanted for it."""

    obj: ReconciledResource
    allowed: Allowed
    want: Any


class Planner:
    """Works out one plan. What it makes of Google's faults are obstacles."""

    def __init__(
        self,
        controllers: Mapping[str, Controller[Any, Any, Any]],
        deps: Dependencies,
        ledgers: LedgerStore,
        records: AccountRecords,
        roles: Roles,
        policies: PolicyPort,
        is_protected: Callable[[str], bool],
    ) -> None:
        """The clients behind all of these must refuse to write; what is kept in Kubernetes is kept in vain.

        `is_spared(member)`: never removed by an exclusive binding.
        """
        self._controllers = controllers
        self._deps = deps
        self._ledgers = ledgers
        self._records = records
        self._roles = roles
        self._changing: set[ObjectKey] = set()  # identities, and their accounts, of which there are steps
        self._steps: list[Step] = []
        self._blockers: list[PlanBlocker] = []
        self._policies = PlannedPolicies(ledgers, policies, is_protected)

    async def plan(self, keys: Iterable[ObjectKey]) -> Plan:
        """The plan for these objects, which are all there are."""
        looks = [await self._look(key) for key in sorted(keys, key=_order)]
        for look in looks:
            if look and isinstance(look.obj, ProjectScopedResource):
                await self._declare(look.obj, look.allowed, look.want)
        steps, blockers = await self._policies.planned()
        self._steps += steps
        self._blockers += blockers
        return Plan(tuple(self._steps), tuple(sorted(self._blockers, key=lambda each: _order(each.object))))

    async def _look(self, key: ObjectKey) -> _Look | None:
        """Plan what is to be done for an object beside its grants; None if nothing may be done at all."""
        raw = self._deps.store.raw(key)
        controller = self._controllers.get(key.kind)
        if raw is None or controller is None:
            return None
        obj = controller.kind.model_validate(raw)
        allowed = check_preconditions(obj, self._deps.store)
        want = controller.resolve(obj, allowed, self._deps.store) if isinstance(allowed, Allowed) else allowed
        if isinstance(allowed, Blocked) or isinstance(want, Blocked):
            self._tell(key, allowed.outcome if isinstance(allowed, Blocked) else want.outcome)
            return None
        look = _Look(obj, allowed, want)
        try:
            return await self._compare(key, controller, look)
        except GoogleError as error:
            to_come = sorted(controller.references(obj) & self._changing)
            if error.fault is Fault.NOT_FOUND and to_come:
                message = f"it cannot be looked into before {to_come[0]} is there"
                self._tell(key, Waiting(Reason.DEPENDENCY_NOT_READY, message))
            else:
                self._tell(key, outcome_of(error, str(key)))
            return None

    async def _compare(
        self, key: ObjectKey, controller: Controller[Any, Any, Any], look: _Look
    ) -> _Look | None:
        seen = await controller.observe(look.want, 0.0)
        changes = controller.diff(look.want, seen)
        if look.allowed.observe:
            if changes:
                self._tell(key, Paused(Reason.DRIFT_DETECTED, f"observed only: {_listed(changes)}"))
            return look
        outcome, writes = await self._attempt(controller, look, seen, changes)
        may_be = writes or isinstance(outcome, InSync)
        if may_be and any(change.after == _ADOPTED for change in changes):
            look = replace(look, want=controller.resolve(look.obj, look.allowed, self._deps.store))
            if isinstance(look.want, Blocked):
                self._tell(key, look.want.outcome)
                return None
            changes = controller.diff(look.want, await controller.observe(look.want, 0.0))
        if writes or self._waits_for_the_plan(outcome, controller.references(look.obj)):
            self._add_steps(key, look, changes)
        else:
            self._tell(key, outcome)
        if not may_be and not isinstance(outcome, Waiting):
            return None
        await self._assume(look)
        await self._take_down(look, controller.summarize(look.want, seen).fields)
        return look

    def _waits_for_the_plan(self, outcome: Outcome, references: frozenset[ObjectKey]) -> bool:
        """Whether applying waits for nothing but what another step of the plan would bring about."""
        waits = isinstance(outcome, Waiting) and outcome.reason is Reason.DEPENDENCY_NOT_READY
        return waits and not references.isdisjoint(self._changing)

    def _add_steps(self, key: ObjectKey, look: _Look, changes: tuple[Change, ...]) -> None:
        obj, resource = look.obj, _resource(look.obj, look.allowed)
        self._steps += [Step(resource, sign_of(change), str(change), key) for change in changes]
        if changes and isinstance(obj, CloudRunIdentity):
            self._changing |= {key, account_key(expected_email(look.allowed.project_id, obj.account_id))}

    async def _attempt(
        self, controller: Controller[Any, Any, Any], look: _Look, seen: Any, changes: tuple[Change, ...]
    ) -> tuple[Outcome, bool]:
        """How applying ends, and whether it comes to a write."""
        try:
            applied: Applied[Any] = await controller.apply(look.want, seen, changes)
        except NotSent:
            return InSync(), True
        return applied.outcome, False

    async def _assume(self, look: _Look) -> None:
        """Take what the object would bring into being for there."""
        obj, project_id = look.obj, look.allowed.project_id
        match obj:
            case CloudRunIdentity():
                await self._assume_account(AccountOwner(obj, project_id))
            case CustomRole():
                self._roles.assume(project_id, obj.name_in(project_id), frozenset(obj.spec.permissions))
                await self._assume_role(obj, project_id)
            case _:
                pass

    async def _assume_account(self, owner: AccountOwner) -> None:
        email = expected_email(owner.project_id, owner.obj.account_id)
        known = self._records.of(owner, email)
        if known is None or not known.unique_id:
            record = LedgerAccount(
                email=email, owner=owner.name, owner_uid=owner.obj.metadata.uid, origin=Origin.CREATED
            )
            account = ServiceAccount(owner.project_id, email, NOT_YET)
            await self._records.settle(owner, record, account)
            self._policies.begin(owner.target(email))

    async def _assume_role(self, role: CustomRole, project_id: str) -> None:
        owner = f"{role.metadata.namespace}/{role.metadata.name}"
        record = LedgerRole(
            role_id=role.spec.role_id,
            owner=owner,
            owner_uid=role.metadata.uid,
            origin=Origin.CREATED,
            state=RoleState.PRESENT,
        )
        target = Target.project(project_id)
        await self._ledgers.update(target, lambda ledger: ledger.with_role(record))

    async def _take_down(self, look: _Look, fields: Mapping[str, Any]) -> None:
        """Keep in the object's status what others go by."""
        raw = self._deps.store.raw(ObjectKey.of(look.obj))
        if raw is not None:
            status = status_object(with_fields(look.obj.status, fields))
            stored = await self._deps.kube.write_status(raw, status)
            if stored is not None:
                self._deps.store.absorb(stored)

    async def _declare(self, obj: ProjectScopedResource, allowed: Allowed, want: Any) -> None:
        """Have the object's grants judged, and those that pass planned."""
        deps, key = self._deps, ObjectKey.of(obj)
        listed = self._controllers[key.kind].requested_grants(want, deps.store)
        requested_grants = await deps.resolve_grants.resolve_grants(
            listed, obj.metadata.namespace, allowed.project, deps.store, 0.0
        )
        for each in requested_grants.failures:
            self._tell(key, each.outcome)
        self._policies.declare(
            key,
            desired_grants_of(obj, listed, requested_grants, writable=not allowed.observe),
        )

    def _tell(self, key: ObjectKey, outcome: Outcome) -> None:
        found = blocker(key, outcome)
        if found and found not in self._blockers:
            self._blockers.append(found)


def _resource(obj: ReconciledResource, allowed: Allowed) -> str:
    """What of Google Cloud the object is about."""
    match obj:
        case ManagedProject():
            return f"Project {obj.project_id}"
        case CloudRunIdentity():
            return f"ServiceAccount {expected_email(allowed.project_id, obj.account_id)}"
        case CustomRole():
            return f"CustomRole {obj.name_in(allowed.project_id)}"
        case IdentityAttachment():
            return f"{obj.spec.workload} of project {allowed.project_id}"
        case _:
            return str(ObjectKey.of(obj))


def _order(key: ObjectKey) -> tuple[int, ObjectKey]:
    """First what others refer to."""
    first = (ManagedProject.__name__, CustomRole.__name__, CloudRunIdentity.__name__)
    return (first.index(key.kind) if key.kind in first else len(first), key)


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(map(str, changes))


_ADOPTED = "adopted"
