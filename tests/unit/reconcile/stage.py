"""One object under reconciliation: a scripted controller, fake lanes' ports and a fake API server."""

import asyncio
import copy
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from cloudrun_identity.api import (
    FINALIZER,
    KINDS,
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    IAMBinding,
    ManagedProject,
    Reason,
    TargetKind,
)
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.managed_project.plan import ProjectWant
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey, StoredObject
from cloudrun_identity.reconcile.deadline import Deadline
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.finish import Finisher
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant
from cloudrun_identity.reconcile.interfaces import Executed, Summary
from cloudrun_identity.reconcile.kind_reconciler import KindReconciler
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler, Reconciler
from cloudrun_identity.reconcile.requeue import Requeue
from cloudrun_identity.reconcile.steps import Action, Change, Fail, Plan, ReleaseGrants, Wait
from tests.unit.controllers.cluster_state import IDENTITY, FakeWorld, parsed, project
from tests.unit.policy.fakes import FakeLedgers, Scene
from tests.unit.reconcile.grants.test_resolver import FakeRoles
from tests.unit.reconcile.kstatus import violations

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
ANN = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
BOB = Grant(HOME, "roles/cloudsql.client", "user:bob@example.com")
KEY = ObjectKey("CloudRunIdentity", "payments", "checkout")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_WORKLOADS: Any = None
DRIFT = (Change("disabled", "true", "false"),)


@dataclass(frozen=True)
class Want:
    """The object, or its deletion."""

    obj: CloudRunIdentity
    deletes: bool = False
    abandon: bool = False


@dataclass(frozen=True, slots=True)
class Fix(Action):
    """Remove every difference."""


class Script:
    """A kind that sees the differences, and requests the grants, that a test sets."""

    kind = CloudRunIdentity

    def __init__(self) -> None:
        self.changes: list[tuple[Change, ...]] = []
        self.applied: Outcome = InSync()
        self.wanted: tuple[Grant, ...] = (ANN,)
        self.error: Exception | None = None
        self.in_use = False
        self.hangs = False
        self.reads: list[float] = []
        self.applies = 0

    def references(self, obj: CloudRunIdentity) -> frozenset[ObjectKey]:
        return frozenset()

    def declares(self, obj: CloudRunIdentity) -> str:
        return ""

    def resolve(self, obj: CloudRunIdentity, allowed: Allowed, cluster: ClusterState) -> Want | Blocked:
        return Want(obj)

    async def observe(self, want: Want, max_age: float) -> tuple[Change, ...]:
        self.reads.append(max_age)
        if self.hangs:
            await asyncio.sleep(3600.0)
        if self.error:
            raise self.error
        return self.changes.pop(0) if self.changes else ()

    def describe(self, want: Want) -> str:
        return "ServiceAccount"

    def plan(self, want: Want, seen: tuple[Change, ...], now: datetime) -> Plan[Fix]:
        if want.deletes:
            if self.in_use:
                return Plan((Wait(Reason.IN_USE, "in use", 15.0),))
            return Plan((ReleaseGrants("account", abandon=want.abandon),))
        ending = () if isinstance(self.applied, InSync) else (Fail(self.applied),)
        return Plan((Fix("account", seen), *ending)) if seen else Plan(ending)

    async def execute(
        self, action: Fix, want: Want, seen: tuple[Change, ...]
    ) -> Executed[tuple[Change, ...]]:
        self.applies += 1
        return Executed(())

    async def assume(self, action: Fix, want: Want, seen: tuple[Change, ...]) -> tuple[Change, ...]:
        return ()

    def requested_grants(self, want: Want, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        return tuple(
            RequestedGrant(f"spec.roles[{index}]", grant.target, grant.role, GrantMember(grant.member))
            for index, grant in enumerate(self.wanted)
        )

    def summarize(self, want: Want, seen: tuple[Change, ...]) -> Summary:
        return Summary({})

    def resolve_deletion(self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool) -> Want:
        if self.error:
            raise self.error
        return Want(obj, deletes=True, abandon=abandon)

    def abandons(self, obj: CloudRunIdentity) -> bool:
        return False


class ProjectKind(ManagedProjectController):
    """The kind ManagedProject without Google Cloud, which notes how it is deleted."""

    def __init__(self, abandoned: list[bool]) -> None:
        self._abandoned = abandoned

    def resolve_deletion(
        self, obj: ManagedProject, cluster: ClusterState, *, abandon: bool
    ) -> ProjectWant | None:
        self._abandoned.append(abandon)
        return None


class Cluster(FakeWorld):
    """The API server and the cache before it, in one."""

    def __init__(self, ledgers: FakeLedgers) -> None:
        super().__init__(project())
        self._ledgers = ledgers
        self.raws: dict[ObjectKey, Object] = {}
        self.writes: list[str] = []
        self.status_written: Object = {}
        self.leaving = False
        self.edited_under_us = False
        self.number: str | None = "417203958816"
        self.lend()
        self.apply()

    def lend(self, **spec: Any) -> None:
        delegated = project(**spec)
        delegated = delegated.model_copy(
            update={"status": delegated.status.model_copy(update={"project_number": self.number})}
        )
        self.add(delegated)

    def add(self, delegated: ManagedProject) -> None:
        self._objects[ObjectKey.of(delegated)] = delegated

    def apply(self, **spec: Any) -> None:
        known = self.raws.get(KEY)
        self.raws[KEY] = parsed(IDENTITY, **spec).to_dict()
        if known:
            self.raws[KEY]["metadata"] = known["metadata"]
            self.raws[KEY]["metadata"]["generation"] += 1
            self.raws[KEY]["status"] = known.get("status", {})

    def delete(self) -> None:
        self.raws[KEY]["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"

    @property
    def status(self) -> Any:
        return CloudRunIdentity.model_validate(self.raws[KEY]).status

    def ledger(self, target: Target) -> Ledger:
        return self._ledgers.ledger(target)

    def stored(self, key: ObjectKey) -> StoredObject | None:
        raw = copy.deepcopy(self.raws.get(key))
        if raw is None:
            return None
        try:
            return StoredObject(raw, KINDS[key.kind].model_validate(raw))
        except ValidationError:
            return StoredObject(raw, None)

    def absorb(self, raw: Object) -> None:
        self.raws[_key(raw)] = copy.deepcopy(raw)

    def drop(self, raw: Object) -> None:
        self.raws.pop(_key(raw))

    async def add_finalizer(self, raw: Object) -> Object | None:
        self.writes.append("finalizer")
        raw["metadata"]["finalizers"] = [FINALIZER]
        return raw if _key(raw) in self.raws else None

    async def remove_finalizer(self, raw: Object) -> None:
        self.writes.append("no finalizer")
        del self.raws[_key(raw)]

    async def write_status(self, raw: Object, status: Object) -> Object | None:
        if self.edited_under_us:
            return self.raws[_key(raw)]
        self.status_written = status
        if raw.get("status", {}) != status:
            self.writes.append("status")
        return {**raw, "status": status}

    async def is_uninstalled(self, kind: str) -> bool:
        return self.leaving


class Silence:
    """Takes events and counts, and keeps them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.messages: list[str] = []

    def record(self, obj: Object, event_type: object, reason: str, message: str) -> None:
        self.events.append(reason)
        self.messages.append(message)

    def drift_detected(self, kind: str, count: int = 1) -> None:
        pass

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        pass


class Stage:
    """One object under reconciliation."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.scene.policies.create(HOME)
        self.projects_abandoned: list[bool] = []
        self.api_server, self.told = Cluster(self.scene.ledgers), Silence()
        self.start()

    def start(self) -> None:
        """A new process."""
        self.syncers = PolicySyncers(self.scene.ports)
        self.script = Script()
        deps = Dependencies(
            store=self.api_server,
            kube=self.api_server,
            syncers=self.syncers,
            resolver=GrantResolver(FakeRoles()),
            event_reporter=EventReporter(self.told, self.told),
            wall_clock=lambda: NOON,
            slot_released=slot_released,
        )
        executor, finisher = CloudExecutor(deps.event_reporter), Finisher(deps)
        binding, project_kind = IAMBindingController(NO_WORKLOADS), ProjectKind(self.projects_abandoned)
        kinds: dict[str, AnyKindReconciler] = {
            KEY.kind: KindReconciler(
                self.script, deps, executor, finisher, resource=self.script, grants=self.script
            ),
            IAMBinding.__name__: KindReconciler(binding, deps, executor, finisher, grants=binding),
            ManagedProject.__name__: KindReconciler(
                project_kind, deps, executor, finisher, resource=project_kind
            ),
        }
        self.reconciler = Reconciler(kinds, deps, finisher, Deadline())

    async def passes(self, max_age: float = 0.0) -> Requeue:
        requeue_after, _ = await self.reconciler.reconcile(KEY, max_age=max_age)
        if KEY in self.api_server.raws:
            generation = self.api_server.raws[KEY]["metadata"]["generation"]
            assert violations(self.api_server.status, generation) == []
        return requeue_after

    @property
    def ready(self) -> tuple[ConditionStatus, str]:
        condition = self.api_server.status.condition(ConditionType.READY)
        return condition.status, condition.reason

    @property
    def present(self) -> frozenset[Grant]:
        return self.scene.policies.present(HOME)


def _key(raw: Object) -> ObjectKey:
    return ObjectKey(raw["kind"], raw["metadata"].get("namespace", ""), raw["metadata"]["name"])


@asynccontextmanager
async def slot_released() -> Any:
    yield


@pytest.fixture
def stage() -> Stage:
    return Stage()
