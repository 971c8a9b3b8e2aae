"""The CloudRunIdentity controller over accounts, workloads and ledgers in memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cloudrun_identity.api import FORCE_DELETE, CloudRunIdentity, LedgerAccount
from cloudrun_identity.controllers.cloud_run_identity.account_records import AccountRecords
from cloudrun_identity.controllers.cloud_run_identity.audit import Audit
from cloudrun_identity.controllers.cloud_run_identity.controller import (
    CloudRunIdentityController,
    IdentityWant,
)
from cloudrun_identity.controllers.cloud_run_identity.execution import AccountExecutor
from cloudrun_identity.controllers.cloud_run_identity.observation import AccountDependencies, AccountObserver
from cloudrun_identity.controllers.cloud_run_identity.places import undeclared_places
from cloudrun_identity.controllers.cloud_run_identity.propagation import PropagationTracker, RecentWrites
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.cluster_state import ClusterState, ObjectKey
from cloudrun_identity.reconcile.outcomes import Outcome
from cloudrun_identity.reconcile.preconditions import Allowed
from cloudrun_identity.reconcile.progress import Progress
from tests.unit.controllers.carry_out import Recorder, Releases, carried_out
from tests.unit.controllers.cloud import FakeAccountLedgers, FakeRun, FakeServiceAccounts, inventory
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, identity, project

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWNER = "payments/checkout"


class NoAudit:
    """An auditor that finds no workload and no key."""

    async def audit(
        self,
        obj: CloudRunIdentity,
        account: Target,
        unique_id: str,
        invoked: object,
        cluster: ClusterState,
        max_age: float,
    ) -> Audit:
        return Audit(vacant=undeclared_places(obj, account, cluster))


class Roles:
    """Roles of which none has been read."""

    def cached(self, role: str, project_id: str) -> None:
        return None


class Cluster(FakeClusterState):
    """Objects, with the account records as the ledgers hold them now."""

    terminating = False

    def __init__(self, ledgers: FakeAccountLedgers, *objects: Any) -> None:
        super().__init__(*objects)
        self._ledgers = ledgers

    def account(self, identity: CloudRunIdentity) -> LedgerAccount | None:
        home = self.account_home(identity)
        return self._ledgers.ledger(home).account if home else None

    def account_home(self, identity: CloudRunIdentity) -> Target | None:
        return self._ledgers.account_home(f"{identity.metadata.namespace}/{identity.metadata.name}")

    def ledger(self, target: Target) -> Ledger:
        return self._ledgers.ledger(target)

    def is_terminating(self, namespace: str) -> bool:
        return self.terminating


class AccountBench:
    """Reconciles the identity `payments/checkout`."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since NOON."""
        self.google = FakeServiceAccounts()
        self.run = FakeRun()
        self.ledgers = FakeAccountLedgers()
        self.steps: list[str] = []
        """Checkpoints that were passed."""
        self.events = Recorder()
        self.releases = Releases()
        self.terminating = False
        """True while the namespace is being deleted."""
        self.attachments: list[Any] = []
        """Attachments of the identity, for its deletion."""
        self.restart()

    def restart(self) -> None:
        """Replace the process, which leaves only what was recorded."""
        self.propagation = PropagationTracker(self.wall_clock, self.ledgers.owner_of)
        self.inventory = inventory(self.google, self.run, lambda: self.now)
        self.deps = AccountDependencies(
            self.google,
            self.inventory,
            AccountRecords(self.ledgers, self.wall_clock),
            self.propagation,
            RecentWrites(lambda: self.now),
            self.checkpoint,
        )
        auditor: Any = NoAudit()
        roles: Any = Roles()
        self.controller = CloudRunIdentityController(
            AccountObserver(self.deps), AccountExecutor(self.deps), auditor, roles
        )

    def checkpoint(self, step: str) -> None:
        self.steps.append(step)

    def wall_clock(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    @property
    def record(self) -> LedgerAccount:
        return self.ledgers.records[EMAIL]

    def own_record(self) -> LedgerAccount | None:
        home = self.ledgers.account_home(OWNER)
        return self.ledgers.records[home.name] if home else None

    def want(self, delegated: Any = None, *others: Any, **spec: Any) -> IdentityWant:
        """The identity with this spec, resolved in a project."""
        delegated, obj = delegated or project(), identity(**spec)
        cluster = Cluster(self.ledgers, delegated, obj, *others)
        want = self.controller.resolve(obj, Allowed(delegated, observe=False), cluster)
        assert isinstance(want, IdentityWant)
        return want

    async def step(self, delegated: Any = None, *others: Any, **spec: Any) -> Progress[Any]:
        """Reconcile the account once."""
        return await self.carry_out(self.want(delegated, *others, **spec))

    async def steps_of(self, count: int, delegated: Any = None, **spec: Any) -> list[Any]:
        """Reconcile the account so many times; return the outcomes."""
        return [(await self.step(delegated, **spec)).outcome for _ in range(count)]

    async def delete(self, *, abandon: bool = False, forced: bool = False, **spec: Any) -> Outcome:
        """Reconcile the deletion of the identity once."""
        return await self.delete_object(identity(**spec), abandon=abandon, forced=forced)

    async def delete_object(
        self, obj: CloudRunIdentity, *, abandon: bool = False, forced: bool = False
    ) -> Outcome:
        want = self.deletion_want(obj, abandon=abandon, forced=forced)
        if want is None:
            return await self.releases(abandon=abandon)
        return (await self.carry_out(want)).outcome

    def deletion_want(
        self, obj: CloudRunIdentity, *, abandon: bool = False, forced: bool = False
    ) -> IdentityWant | None:
        """The deletion of the identity, resolved."""
        if forced:
            annotated = obj.metadata.model_copy(update={"annotations": {FORCE_DELETE: "true"}})
            obj = obj.model_copy(update={"metadata": annotated})
        cluster = Cluster(self.ledgers, project(locations=["europe-west1"]), obj, *self.attachments)
        cluster.references = {ObjectKey.of(obj): {ObjectKey.of(each) for each in self.attachments}}
        cluster.terminating = self.terminating
        return self.controller.resolve_deletion(obj, cluster, abandon=abandon)

    async def carry_out(self, want: IdentityWant) -> Progress[Any]:
        return await carried_out(
            self.controller, want, now=self.wall_clock(), recorder=self.events, release=self.releases
        )

    def writes(self) -> list[str]:
        """Calls that changed accounts."""
        return [call for call in self.google.calls if not call.startswith(("get", "list"))]
