"""Orphans: which ones an annotation selects, and what their release does."""

import pytest

from cloudrun_identity.api import RELEASE_ORPHANS, ManagedProject, TargetKind
from cloudrun_identity.controllers.managed_project.orphans import OrphanReleaser, orphans_to_release
from cloudrun_identity.controllers.managed_project.plan import ProjectSeen, ProjectWant, ReleaseOrphans, plan
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.syncers import PolicySyncers
from cloudrun_identity.reconcile.outcomes import InSync
from tests.unit.controllers.cluster_state import FakeClusterState, project, record
from tests.unit.policy.fakes import SyncerEnvironment

from .fakes import ACTIVE

HOME, AWAY = (Target(TargetKind.PROJECT, name) for name in ("payments-prod-1234", "shop-prod-1234"))
EMAIL = "checkout@payments-prod-1234.iam.gserviceaccount.com"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, HOME.project_id, name=EMAIL)
WEB = Owner("IAMBinding", "payments", "web", "u-web")
OPS = Owner("IAMBinding", "payments", "ops", "u-ops")
SQL, VIEWER = (
    Grant(HOME, role, "user:ann@example.com") for role in ("roles/cloudsql.client", "roles/viewer")
)
ELSEWHERE = Grant(AWAY, "roles/viewer", "user:ann@example.com")


def annotated(patterns: str) -> ManagedProject:
    obj = project()
    metadata = obj.metadata.model_copy(update={"annotations": {RELEASE_ORPHANS: patterns}})
    return obj.model_copy(update={"metadata": metadata})


def cluster() -> FakeClusterState:
    found = FakeClusterState(project())
    found.stored_ledgers = [
        Ledger.of(HOME, {SQL: entry_of(SQL, [str(WEB)]), VIEWER: entry_of(VIEWER, [str(OPS)])}),
        Ledger.of(ACCOUNT).with_account(record()),
    ]
    return found


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        ("", ()),
        (",", ()),
        ("IAMBinding/payments/web", ("IAMBinding/payments/web",)),
        ("IAMBinding/payments/other", ()),
        (
            "IAMBinding/payments/ops, CloudRunIdentity/*",
            ("CloudRunIdentity/payments/checkout", "IAMBinding/payments/ops"),
        ),
        (
            "*/payments/*",
            ("CloudRunIdentity/payments/checkout", "IAMBinding/payments/ops", "IAMBinding/payments/web"),
        ),
    ],
)
def test_annotation_selects_orphans_by_patterns(patterns: str, selected: tuple[str, ...]) -> None:
    assert orphans_to_release(annotated(patterns), cluster()) == selected


def test_plan_releases_the_selected_orphans_once() -> None:
    want = ProjectWant(annotated("IAMBinding/payments/web"), cluster())
    (step,) = plan(want, ProjectSeen(ACTIVE)).steps
    assert isinstance(step, ReleaseOrphans)
    assert step.orphans == ("IAMBinding/payments/web",)
    assert list(map(str, step.changes)) == ["orphan IAMBinding/payments/web: recorded → released"]
    assert plan(want, ProjectSeen(ACTIVE, released=True)).steps == ()


@pytest.mark.looptime(start=0)
async def test_release_revokes_only_the_grants_of_the_orphan_in_the_project() -> None:
    env = SyncerEnvironment()
    env.policies.create(HOME)
    env.policies.create(AWAY)
    for grant, owner in ((SQL, WEB), (VIEWER, OPS), (ELSEWHERE, WEB)):
        env.policies.grant(grant)
        env.record(grant, owner)
    syncers = PolicySyncers(env.ports)
    releaser = OrphanReleaser(env.ledgers, syncers)

    assert await releaser.release([WEB.owner_key], [env.ledgers.ledger(HOME)]) == InSync()

    assert env.policies.present(HOME) == {VIEWER}
    assert env.ledgers.ledger(HOME).entries.keys() == {VIEWER}
    assert env.policies.present(AWAY) == env.ledgers.ledger(AWAY).entries.keys() == {ELSEWHERE}


async def test_release_forgets_an_account_and_leaves_it() -> None:
    env = SyncerEnvironment()
    env.ledgers.stored[ACCOUNT] = Ledger.of(ACCOUNT).with_account(record())
    releaser = OrphanReleaser(env.ledgers, PolicySyncers(env.ports))

    orphans = ["CloudRunIdentity/payments/checkout"]
    assert await releaser.release(orphans, [env.ledgers.ledger(ACCOUNT)]) == InSync()

    assert env.ledgers.ledger(ACCOUNT).account is None
