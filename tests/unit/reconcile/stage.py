"""One object under reconciliation: a scripted controller, fake lanes' ports and a fake API server."""

import copy
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cloudrun_identity.api import (
    FINALIZER,
    CloudRunIdentity,
    ConditionStatus,
    ConditionType,
    IAMBinding,
    ManagedProject,
    Reason,
    TargetKind,
)
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.grants.members import Holder
from cloudrun_identity.reconcile.grants.release import Releaser
from cloudrun_identity.reconcile.grants.resolver import GrantResolver, RequestedGrant
from cloudrun_identity.reconcile.interfaces import Applied, Change, Summary
from cloudrun_identity.reconcile.outcomes import InSync, Outcome, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from cloudrun_identity.reconcile.reconciler import Reconciler
from cloudrun_identity.reconcile.requeue import Requeue
from tests.unit.controllers.cluster_state import IDENTITY, FakeWorld, parsed, project
from tests.unit.gcp.fakes import FakeLedgers, SyncerEnvironment
from tests.unit.reconcile.grants.test_resolver import FakeRoles
from tests.unit.reconcile.kstatus import violations

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
ANN = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
BOB = Grant(HOME, "roles/cloudsql.client", "user:bob@example.com")
KEY = ObjectKey("CloudRunIdentity", "payments", "checkout")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_WORKLOADS: Any = None
DRIFT = (Change("disabled", "true", "false"),)


class Script:
    """A controller that sees what it is told, and wishes for what it is told."""

    kind = CloudRunIdentity

    def __init__(self, releaser: Releaser) -> None:
        self._releaser = releaser
        self.changes: list[tuple[Change, ...]] = []
        self.applied: Outcome = InSync()
        self.wanted: tuple[Grant, ...] = (ANN,)
        self.error: Exception | None = None
        self.in_use = False
        self.reads: list[float] = []
        self.applies = 0

    def references(self, obj: CloudRunIdentity) -> frozenset[ObjectKey]:
        return frozenset()

    def declares(self, obj: CloudRunIdentity) -> str:
        return ""

    def resolve(
        self, obj: CloudRunIdentity, allowed: Allowed, cluster: ClusterState
    ) -> CloudRunIdentity | Blocked:
        return obj

    async def observe(self, want: CloudRunIdentity, max_age: float) -> tuple[Change, ...]:
        self.reads.append(max_age)
        if self.error:
            raise self.error
        return self.changes.pop(0) if self.changes else ()

    def diff(self, want: CloudRunIdentity, seen: tuple[Change, ...]) -> tuple[Change, ...]:
        return seen

    async def apply(
        self, want: CloudRunIdentity, seen: tuple[Change, ...], changes: tuple[Change, ...]
    ) -> Applied[tuple[Change, ...]]:
        self.applies += 1
        return Applied(self.applied, seen)

    def requested_grants(self, want: CloudRunIdentity, cluster: ClusterState) -> tuple[RequestedGrant, ...]:
        return tuple(
            RequestedGrant(f"spec.roles[{index}]", grant.target, grant.role, Holder(grant.member))
            for index, grant in enumerate(self.wanted)
        )

    def summarize(self, want: CloudRunIdentity, seen: tuple[Change, ...]) -> Summary:
        return Summary({})

    async def delete(self, obj: CloudRunIdentity, cluster: ClusterState, *, abandon: bool) -> Outcome:
        if self.error:
            raise self.error
        if self.in_use:
            return Waiting(Reason.IN_USE, "in use", 15.0)
        return await self._releaser.release(obj, abandon=abandon)


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

    def raw(self, key: ObjectKey) -> Object | None:
        return copy.deepcopy(self.raws.get(key))

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

    async def kind_is_leaving(self, kind: str) -> bool:
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
        self.scene = SyncerEnvironment()
        self.scene.policies.create(HOME)
        self.projects_abandoned: list[bool] = []
        self.api_server, self.told = Cluster(self.scene.ledgers), Silence()
        self.start()

    def start(self) -> None:
        """A new process."""
        self.syncers = PolicySyncers(self.scene.ports)
        self.script = Script(Releaser(self.syncers, slot_released))
        deps = Dependencies(
            store=self.api_server,
            kube=self.api_server,
            syncers=self.syncers,
            resolve_grants=GrantResolver(FakeRoles()),
            event_reporter=EventReporter(self.told, self.told),
            wall_clock=lambda: NOON,
            slot_released=slot_released,
        )
        binding = IAMBindingController(Releaser(self.syncers, slot_released), NO_WORKLOADS)
        controllers: dict[str, Any] = {
            KEY.kind: self.script,
            IAMBinding.__name__: binding,
            ManagedProject.__name__: SimpleNamespace(kind=ManagedProject, delete=self._let_project_go),
        }
        self.reconciler = Reconciler(controllers, deps)

    async def _let_project_go(self, obj: ManagedProject, cluster: ClusterState, *, abandon: bool) -> Outcome:
        self.projects_abandoned.append(abandon)
        return InSync()

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
