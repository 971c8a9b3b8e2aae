"""One object under reconciliation: a scripted kind, the fakes of policy syncers and a fake API server."""

import time
from datetime import UTC, datetime
from typing import Any

from cloudrun_identity.api import ConditionStatus, ConditionType, IAMBinding, ManagedProject
from cloudrun_identity.controllers.iam_binding import IAMBindingController
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.managed_project.plan import ProjectWant
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.deadline import Deadline
from cloudrun_identity.reconcile.dependencies import Dependencies
from cloudrun_identity.reconcile.events import EventReporter
from cloudrun_identity.reconcile.executor import CloudExecutor
from cloudrun_identity.reconcile.finish import Finisher
from cloudrun_identity.reconcile.grants.resolver import GrantResolver
from cloudrun_identity.reconcile.kind_reconciler import KindReconciler
from cloudrun_identity.reconcile.reconciler import AnyKindReconciler, Reconciler
from cloudrun_identity.reconcile.repeated_drift import DriftHistory
from cloudrun_identity.reconcile.requeue import Requeue, RequeueAfter
from cloudrun_identity.reconcile.steps import Change
from tests.unit.controllers.carry_out import Recorder
from tests.unit.policy.fakes import SyncerEnvironment

from .fake_api_server import KEY, FakeApiServer
from .grants.fake_roles import FakeRoles
from .kstatus import violations
from .scripted_kind import HOME, ScriptedKind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_WORKLOADS: Any = None
NO_CHECKS: Any = None
DRIFT = (Change("disabled", "true", "false"),)


class ProjectKind(ManagedProjectController):
    """The kind ManagedProject without Google Cloud. It records how each project is deleted."""

    def __init__(self, abandoned: list[bool]) -> None:
        self._abandoned = abandoned

    def resolve_deletion(
        self, obj: ManagedProject, cluster: ClusterState, *, abandon: bool
    ) -> ProjectWant | None:
        self._abandoned.append(abandon)
        return None


class Stage:
    """One object under reconciliation. What `start` does not create survives a restart of the operator."""

    def __init__(self) -> None:
        self.env = SyncerEnvironment()
        self.env.policies.create(HOME)
        self.projects_abandoned: list[bool] = []
        self.operated_elsewhere = False
        """True if another operator acts on the project."""
        self.now = NOON
        self.unexplained: list[str] = []
        self.api_server, self.recorder = FakeApiServer(self.env.ledgers), Recorder()
        self.start()

    def start(self) -> None:
        """Start a new process of the operator."""
        self.syncers = PolicySyncers(self.env.ports)
        self.kind = ScriptedKind()
        self.change_log = ChangeLog(
            self.unexplained.append, reports_actors=lambda _: True, wall_clock=lambda: self.now
        )
        deps = Dependencies(
            store=self.api_server,
            kube=self.api_server,
            syncers=self.syncers,
            resolver=GrantResolver(FakeRoles()),
            event_reporter=EventReporter(self.recorder, self.recorder),
            wall_clock=lambda: self.now,
            causes=self.change_log,
        )
        executor = CloudExecutor(deps.event_reporter)
        finisher = Finisher(deps, DriftHistory(time.monotonic))
        binding, project_kind = (
            IAMBindingController(NO_WORKLOADS, NO_CHECKS),
            ProjectKind(self.projects_abandoned),
        )
        kinds: dict[str, AnyKindReconciler] = {
            KEY.kind: KindReconciler(
                self.kind, deps, executor, finisher, resource=self.kind, grants=self.kind
            ),
            IAMBinding.__name__: KindReconciler(binding, deps, executor, finisher, grants=binding),
            ManagedProject.__name__: KindReconciler(
                project_kind, deps, executor, finisher, resource=project_kind
            ),
        }
        self.reconciler = Reconciler(kinds, deps, finisher, Deadline(), self)

    async def admit(self, key: ObjectKey, raw: Object) -> Requeue | None:
        return RequeueAfter(5.0) if self.operated_elsewhere else None

    def operates(self, key: ObjectKey, raw: Object) -> bool:
        return not self.operated_elsewhere

    def forget(self, key: ObjectKey) -> None:
        pass

    async def reconcile(self, max_age: float = 0.0) -> Requeue:
        """Reconcile the identity, and check that its status follows the kstatus rules."""
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
        """Grants of the project's policy."""
        return self.env.policies.present(HOME)
