"""A Google Cloud project in memory, as the kind ManagedProject reads and writes it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from cloudrun_identity.api import RELEASE_ORPHANS, ManagedProject
from cloudrun_identity.controllers.managed_project.controller import ManagedProjectController
from cloudrun_identity.controllers.managed_project.plan import ProjectWant
from cloudrun_identity.controllers.managed_project.powerful_accounts import PowerfulAccount
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.projects import Project
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.cluster_state import identity_key, project_key
from cloudrun_identity.reconcile.outcomes import InSync, Outcome
from cloudrun_identity.reconcile.repeated_drift import RepeatedDrift
from tests.unit.controllers.carry_out import NOON
from tests.unit.controllers.cloud import FakeRun, FakeServiceAccounts, fault, inventory
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, project, record

ACTIVE = Project("payments-prod-1234", "42", "Payments", active=True)
DELETED = Project("payments-prod-1234", "42", "Payments", active=False)


@dataclass
class FakeProject:
    """A project, the operator's permissions in it, and its organization policy."""

    project: Project | Fault = ACTIVE
    """The project, or the error of reading it."""
    own_allowed: bool = False
    """True if the project's own policy allows cross-project usage."""
    propagates: bool = True
    """False if a change of the own policy is not yet in effect."""
    unreadable_policy: Fault | None = None
    """Error of reading the effective policy."""
    write_error: Fault | None = None
    """Error of writing the own policy."""
    orphan_releaser: "FakeOrphanReleaser" = field(default_factory=lambda: FakeOrphanReleaser())
    """Receives the orphans to release."""
    powerful: tuple[PowerfulAccount, ...] = ()
    """Accounts that hold escalating roles."""
    writes: int = field(default=0, init=False)
    """Number of changes of the own policy."""

    async def get(self, project_id: str) -> Project:
        if isinstance(self.project, Fault):
            raise fault(self.project)
        return self.project

    async def test_permissions(self, target: Target, permissions: Iterable[str]) -> frozenset[str]:
        return frozenset(permissions)

    async def of(self, project: Project, held: Collection[str]) -> tuple[PowerfulAccount, ...]:
        return self.powerful

    async def allows_cross_project_usage(self, project_id: str) -> bool:
        if self.unreadable_policy:
            raise fault(self.unreadable_policy)
        return self.own_allowed and self.propagates

    async def allow_cross_project_usage(self, project_id: str) -> bool:
        if self.write_error:
            raise fault(self.write_error)
        self.writes += not self.own_allowed
        was, self.own_allowed = self.own_allowed, True
        return not was

    def controller(self, repeated: tuple[RepeatedDrift, ...] = ()) -> ManagedProjectController:
        """Return the kind ManagedProject over this project."""
        google: Any = self
        releaser: Any = self.orphan_releaser
        workloads = inventory(FakeServiceAccounts(), FakeRun(), lambda: 1.0)
        return ManagedProjectController(
            google,
            google,
            google,
            workloads,
            lambda _: "",
            releaser,
            lambda: NOON,
            google,
            lambda _: Budget(100),
            lambda *_: repeated,
        )


class FakeOrphanReleaser:
    """Records the orphans to release."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.outcome: Outcome = InSync()

    async def release(self, orphans: Iterable[str], ledgers: Iterable[Ledger]) -> Outcome:
        self.released += orphans
        return self.outcome


def want(usage: str = "Verify", **spec: Any) -> ProjectWant:
    """Return the project as declared."""
    obj = project(crossProjectUsage=usage, **spec)
    return ProjectWant(obj, FakeClusterState(obj))


def orphaned(obj: ManagedProject) -> ProjectWant:
    """Return a project with an orphaned account, whose release it requests."""
    metadata = obj.metadata.model_copy(update={"annotations": {RELEASE_ORPHANS: "*"}})
    obj = obj.model_copy(update={"metadata": metadata})
    cluster = FakeClusterState(obj)
    cluster.stored_ledgers = [Ledger.of(Target.service_account(obj.project_id, EMAIL)).with_account(record())]
    return ProjectWant(obj, cluster)


def cluster_with(users: int) -> FakeClusterState:
    """Return a cluster in which so many identities reference the project."""
    cluster = FakeClusterState(project())
    keys = {identity_key("payments", f"i{number}") for number in range(users)}
    cluster.references[project_key("payments-prod")] = keys
    return cluster
