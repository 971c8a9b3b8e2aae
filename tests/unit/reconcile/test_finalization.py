import pytest

from cloudrun_identity.api import FINALIZER, ConditionStatus, ConditionType, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.reconcile.cluster_state import ledger_owner, project_key
from cloudrun_identity.reconcile.requeue import NoRequeue, RequeueAfter
from tests.unit.controllers.cluster_state import identity, project

from .fake_api_server import KEY
from .scripted_kind import ANN, BOB, HOME
from .stage import Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_deletion_releases_grants_before_the_finalizer_is_removed(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.delete()
    assert await stage.reconcile() == NoRequeue()
    assert stage.present == set()
    assert stage.api_server.writes[-1] == "no finalizer"


async def test_deleted_object_without_the_finalizer_is_left_as_it_is(stage: Stage) -> None:
    stage.api_server.delete()
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "gone")
    assert stage.api_server.writes == []


async def test_object_removed_in_spite_of_its_finalizer_is_finalized(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.delete()
    stage.api_server.is_removed = True
    stage.kind.in_use = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(15.0), "removed")
    assert stage.present == {ANN}

    stage.kind.in_use = False
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "deleted")
    assert stage.present == set()
    assert stage.env.ledgers.ledger(HOME).is_empty
    assert KEY not in stage.api_server.raws


async def test_object_removed_during_its_reconcile_is_not_reported(stage: Stage) -> None:
    stage.api_server.raws[KEY]["metadata"]["finalizers"] = [FINALIZER]
    stage.api_server.is_removed = True
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "removed")


async def test_nothing_is_done_for_an_object_deleted_before_its_finalizer(stage: Stage) -> None:
    """A deletion in the foreground, as by Argo CD, keeps the object with a finalizer of Kubernetes."""
    deleting = {**stage.api_server.raws[KEY]["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}
    stage.api_server.found_by_finalizer = {**stage.api_server.raws[KEY], "metadata": deleting}
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "gone")
    assert stage.present == set()


@pytest.mark.parametrize("uninstalled", [False, True])
async def test_deletion_waits_while_a_ledger_cannot_be_read(stage: Stage, uninstalled: bool) -> None:
    await stage.reconcile()
    stage.api_server.delete()
    stage.api_server.uninstalled = uninstalled
    stage.env.ledgers.unreadable = LedgerInvalid("PolicyLedger x cannot be read")
    if uninstalled:
        await stage.reconcile()
    else:
        with pytest.raises(LedgerInvalid):
            await stage.reconciler.reconcile(KEY, max_age=0.0)
    assert (KEY in stage.api_server.raws) is not uninstalled
    assert stage.present == {ANN}


async def test_grant_revoked_by_an_unseen_edit_is_released_although_abandoned(stage: Stage) -> None:
    stage.kind.requested = (ANN, BOB)
    await stage.reconcile()
    stage.kind.requested, stage.kind.abandoning = (BOB,), True
    stage.api_server.delete()
    assert await stage.reconcile() == NoRequeue()
    assert stage.present == {BOB}
    assert stage.env.ledgers.ledger(HOME).is_empty


async def test_failed_release_keeps_the_finalizer(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.delete()
    stage.env.policies.faults = [GoogleError(Fault.PERMISSION_DENIED, "google.Service/Method", "no")]
    assert await stage.reconcile() == RequeueAfter(at_most=600.0)
    assert stage.ready == (ConditionStatus.FALSE, "PermissionDenied")
    assert "deletionPolicy" in stage.api_server.status.condition(ConditionType.READY).message
    await stage.reconcile()
    assert stage.present == set()
    assert KEY not in stage.api_server.raws


@pytest.mark.parametrize(
    ("suspended", "cause"),
    [("object", "spec.suspend is true"), ("project", "ManagedProject payments-prod is suspended")],
)
async def test_suspended_deletion_waits_and_names_the_cause(stage: Stage, suspended: str, cause: str) -> None:
    await stage.reconcile()
    (stage.api_server.apply if suspended == "object" else stage.api_server.delegate)(suspend=True)
    stage.api_server.delete()
    await stage.reconcile()
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    message = stage.api_server.status.condition(ConditionType.READY).message
    assert message == f"{cause}: the deletion waits until suspend is false again"
    assert stage.present == {ANN}


@pytest.mark.parametrize("suspended", ["object", "project"])
async def test_uninstall_ignores_suspend_and_undoes_nothing(stage: Stage, suspended: str) -> None:
    await stage.reconcile()
    if suspended == "object":
        stage.api_server.apply(suspend=True)
    else:
        stage.api_server.delegate(suspend=True)
    stage.api_server.delete()
    stage.api_server.uninstalled = True
    await stage.reconcile()
    assert KEY not in stage.api_server.raws
    assert stage.present == {ANN}


SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared}
spec: {projectID: shared-1234, suspend: true}
"""


async def test_deletion_waits_for_a_suspended_project_with_its_grants(stage: Stage) -> None:
    elsewhere = Target(TargetKind.PROJECT, "shared-1234")
    stage.api_server.add(project(SHARED))
    stage.env.suspended.add("shared-1234")
    stage.env.record(Grant(elsewhere, ANN.role, ANN.member), ledger_owner(identity()))
    await stage.reconcile()
    reads = stage.env.policies.reads
    stage.api_server.delete()

    assert await stage.reconcile() == NoRequeue()
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    message = stage.api_server.status.condition(ConditionType.READY).message
    assert "ManagedProject shared is no longer suspended" in message
    assert "Project shared-1234" in message
    assert stage.present == {ANN}, "nothing is released in any project"
    assert stage.env.policies.reads == reads


@pytest.mark.parametrize("uninstalled", [True, False])
async def test_observed_or_uninstalled_object_is_abandoned(stage: Stage, uninstalled: bool) -> None:
    await stage.reconcile()
    stage.api_server.uninstalled = uninstalled
    if not uninstalled:
        stage.api_server.apply(managementPolicy="Observe")
    stage.api_server.delete()
    await stage.reconcile()
    assert stage.present == {ANN}
    assert stage.env.ledgers.ledger(HOME).is_empty
    assert KEY not in stage.api_server.raws


@pytest.mark.parametrize("uninstalled", [True, False])
async def test_observed_project_is_deleted_like_a_managed_one(stage: Stage, uninstalled: bool) -> None:
    """Its objects may depend on its `suspend`, so it is deleted after the last of them."""
    delegated = project(managementPolicy="Observe").to_dict()
    delegated["metadata"] |= {"finalizers": [FINALIZER], "deletionTimestamp": "2026-03-01T12:00:00Z"}
    key = project_key(delegated["metadata"]["name"])
    stage.api_server.raws[key] = delegated
    stage.api_server.uninstalled = uninstalled
    await stage.reconciler.reconcile(key, max_age=0.0)
    assert stage.projects_abandoned == [uninstalled]


async def test_waiting_deletion_does_not_block_releases_of_other_objects(stage: Stage) -> None:
    await stage.reconcile()
    other = Owner("IAMBinding", "payments", "other", "uid")
    stage.env.policies.grant(BOB)
    stage.env.record(BOB, other)
    stage.api_server.delete()
    stage.start()
    stage.syncers.expect([ledger_owner(identity()), other])
    stage.kind.in_use = True
    assert await stage.reconcile() == RequeueAfter(15.0)
    stage.syncers.declare(DesiredGrants(other))
    await stage.syncers.sync(other)
    assert stage.present == {ANN}, "its own grants are kept"
