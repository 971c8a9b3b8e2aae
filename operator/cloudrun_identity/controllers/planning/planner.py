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
    ManagedProject,
    Origin,
    ProjectScopedResource,
    Reason,
    ReconciledResource,
    RoleState,
    TargetKind,
)
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords, Owner
from cloudrun_identity.controllers.gate import Passed, Stopped, pass_gate
from cloudrun_identity.controllers.grants.wishes import declaration
from cloudrun_identity.controllers.outcomes import InSync, Outcome, Paused, Waiting, outcome_of
from cloudrun_identity.controllers.reconcile.controller import Applied, Change, Controller
from cloudrun_identity.controllers.reconcile.report import status_object, with_fields
from cloudrun_identity.controllers.reconcile.tools import Tools
from cloudrun_identity.controllers.world import Key, account_key
from cloudrun_identity.gcp.errors import Fault, GoogleError, NotSent
from cloudrun_identity.gcp.policy_engine.policy_writer import PolicyPort
from cloudrun_identity.gcp.policy_engine.ports import LedgerPort
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.service_accounts import ServiceAccount, expected_email
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import AccountRecord, RoleRecord

from .plan import Obstacle, Plan, Step, obstacle, sign_of
from .policies import PlannedPolicies

NOT_YET = "0"
"""Stands for the unique id of an account that is still to be created."""


@dataclass(frozen=True, slots=True)
class _Look:
    """An object that may be worked on, and what is wanted for it."""

    obj: ReconciledResource
    gate: Passed
    want: Any


class Planner:
    """Works out one plan. What it makes of Google's faults are obstacles."""

    def __init__(
        self,
        controllers: Mapping[str, Controller[Any, Any, Any]],
        tools: Tools,
        ledgers: LedgerPort,
        records: AccountRecords,
        roles: Roles,
        policies: PolicyPort,
        is_spared: Callable[[str], bool],
    ) -> None:
        """The clients behind all of these must refuse to write; what is kept in Kubernetes is kept in vain.

        `is_spared(member)`: never removed by an exclusive binding.
        """
        self._controllers = controllers
        self._tools = tools
        self._ledgers = ledgers
        self._records = records
        self._roles = roles
        self._changing: set[Key] = set()  # identities, and their accounts, of which there are steps
        self._steps: list[Step] = []
        self._obstacles: list[Obstacle] = []
        self._policies = PlannedPolicies(ledgers, policies, is_spared)

    async def plan(self, keys: Iterable[Key]) -> Plan:
        """The plan for these objects, which are all there are."""
        looks = [await self._look(key) for key in sorted(keys, key=_order)]
        for look in looks:
            if look and isinstance(look.obj, ProjectScopedResource):
                await self._declare(look.obj, look.gate, look.want)
        steps, obstacles = await self._policies.planned()
        self._steps += steps
        self._obstacles += obstacles
        return Plan(tuple(self._steps), tuple(sorted(self._obstacles, key=lambda each: _order(each.object))))

    async def _look(self, key: Key) -> _Look | None:
        """Plan what is to be done for an object beside its grants; None if nothing may be done at all."""
        raw = self._tools.store.raw(key)
        controller = self._controllers.get(key.kind)
        if raw is None or controller is None:
            return None
        obj = controller.kind.model_validate(raw)
        gate = pass_gate(obj, self._tools.store)
        want = controller.desired(obj, gate, self._tools.store) if isinstance(gate, Passed) else gate
        if isinstance(gate, Stopped) or isinstance(want, Stopped):
            self._tell(key, gate.outcome if isinstance(gate, Stopped) else want.outcome)
            return None
        look = _Look(obj, gate, want)
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

    async def _compare(self, key: Key, controller: Controller[Any, Any, Any], look: _Look) -> _Look | None:
        seen = await controller.observe(look.want, 0.0)
        changes = controller.diff(look.want, seen)
        if look.gate.observe:
            if changes:
                self._tell(key, Paused(Reason.DRIFT_DETECTED, f"observed only: {_listed(changes)}"))
            return look
        outcome, writes = await self._attempt(controller, look, seen, changes)
        may_be = writes or isinstance(outcome, InSync)
        if may_be and any(change.after == _ADOPTED for change in changes):
            look = replace(look, want=controller.desired(look.obj, look.gate, self._tools.store))
            if isinstance(look.want, Stopped):
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

    def _waits_for_the_plan(self, outcome: Outcome, references: frozenset[Key]) -> bool:
        """Whether applying waits for nothing but what another step of the plan would bring about."""
        waits = isinstance(outcome, Waiting) and outcome.reason is Reason.DEPENDENCY_NOT_READY
        return waits and not references.isdisjoint(self._changing)

    def _add_steps(self, key: Key, look: _Look, changes: tuple[Change, ...]) -> None:
        obj, resource = look.obj, _resource(look.obj, look.gate)
        self._steps += [Step(resource, sign_of(change), str(change), key) for change in changes]
        if changes and isinstance(obj, CloudRunIdentity):
            self._changing |= {key, account_key(expected_email(look.gate.project_id, obj.account_id))}

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
        obj, project_id = look.obj, look.gate.project_id
        match obj:
            case CloudRunIdentity():
                await self._assume_account(Owner(obj, project_id))
            case CustomRole():
                self._roles.assume(project_id, obj.name_in(project_id), frozenset(obj.spec.permissions))
                await self._assume_role(obj, project_id)
            case _:
                pass

    async def _assume_account(self, owner: Owner) -> None:
        email = expected_email(owner.project_id, owner.obj.account_id)
        known = self._records.of(owner, email)
        if known is None or not known.unique_id:
            record = AccountRecord(email, owner.name, owner.obj.metadata.uid, origin=Origin.CREATED)
            account = ServiceAccount(owner.project_id, email, NOT_YET)
            await self._records.settle(owner, record, account)
            self._policies.begin(owner.target(email))

    async def _assume_role(self, role: CustomRole, project_id: str) -> None:
        owner = f"{role.metadata.namespace}/{role.metadata.name}"
        record = RoleRecord(role.spec.role_id, owner, role.metadata.uid, Origin.CREATED, RoleState.PRESENT)
        target = Target(TargetKind.PROJECT, project_id)
        await self._ledgers.update(target, lambda ledger: ledger.with_role(record))

    async def _take_down(self, look: _Look, fields: Mapping[str, Any]) -> None:
        """Keep in the object's status what others go by."""
        raw = self._tools.store.raw(Key.of(look.obj))
        if raw is not None:
            status = status_object(with_fields(look.obj.status, fields))
            stored = await self._tools.kube.write_status(raw, status)
            if stored is not None:
                self._tools.store.absorb(stored)

    async def _declare(self, obj: ProjectScopedResource, gate: Passed, want: Any) -> None:
        """Have the object's grants judged, and those that pass planned."""
        tools, key = self._tools, Key.of(obj)
        listed = self._controllers[key.kind].wishes(want, tools.store)
        wishes = await tools.judge.judge(listed, obj.metadata.namespace, gate.project, tools.store, 0.0)
        for each in wishes.obstacles:
            self._tell(key, each.outcome)
        self._policies.declare(
            key,
            declaration(obj, listed, wishes, writable=not gate.observe),
        )

    def _tell(self, key: Key, outcome: Outcome) -> None:
        found = obstacle(key, outcome)
        if found and found not in self._obstacles:
            self._obstacles.append(found)


def _resource(obj: ReconciledResource, gate: Passed) -> str:
    """What of Google Cloud the object is about."""
    match obj:
        case ManagedProject():
            return f"Project {obj.project_id}"
        case CloudRunIdentity():
            return f"ServiceAccount {expected_email(gate.project_id, obj.account_id)}"
        case CustomRole():
            return f"CustomRole {obj.name_in(gate.project_id)}"
        case IdentityAttachment():
            return f"{obj.spec.workload} of project {gate.project_id}"
        case _:
            return str(Key.of(obj))


def _order(key: Key) -> tuple[int, Key]:
    """First what others refer to."""
    first = (ManagedProject.__name__, CustomRole.__name__, CloudRunIdentity.__name__)
    return (first.index(key.kind) if key.kind in first else len(first), key)


def _listed(changes: Iterable[Change]) -> str:
    return ", ".join(map(str, changes))


_ADOPTED = "adopted"
