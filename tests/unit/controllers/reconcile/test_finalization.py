import pytest

from cloudrun_identity.api import (
    FINALIZER,
    ConditionStatus,
    ConditionType,
    TargetKind,
)
from cloudrun_identity.controllers.reconcile.following import Again, Rest
from cloudrun_identity.controllers.world import claimant, project_key
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.claims import Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.ledger_objects import LedgerUnreadable
from tests.unit.controllers.world import identity, project

from .stage import ANN, BOB, HOME, KEY, Stage

pytestmark = pytest.mark.looptime(start=0)


async def test_deletion_lets_go_and_then_lets_the_object_go(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.delete()
    assert await stage.passes() == Rest()
    assert stage.standing == set()
    assert stage.cluster.writes[-1] == "no finalizer"


async def test_an_object_leaving_without_our_finalizer_is_left_alone(stage: Stage) -> None:
    stage.cluster.delete()
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (Rest(), "gone")
    assert stage.cluster.writes == []


@pytest.mark.parametrize("uninstalled", [False, True])
async def test_nothing_ends_while_a_ledger_may_hold_something_of_it_that_nobody_knows(
    stage: Stage, uninstalled: bool
) -> None:
    await stage.passes()
    stage.cluster.delete()
    stage.cluster.leaving = uninstalled
    stage.scene.ledgers.unreadable = LedgerUnreadable("PolicyLedger x cannot be read")
    if uninstalled:
        await stage.passes()
    else:
        with pytest.raises(LedgerUnreadable):
            await stage.reconciler.reconcile(KEY, max_age=0.0)
    assert (KEY in stage.cluster.raws) is not uninstalled
    assert stage.standing == {ANN}


async def test_a_release_that_fails_keeps_the_finalizer(stage: Stage) -> None:
    await stage.passes()
    stage.cluster.delete()
    stage.scene.policies.faults = [GoogleError(Fault.PERMISSION_DENIED, "google.Service/Method", "no")]
    assert await stage.passes() == Again()
    assert stage.ready == (ConditionStatus.FALSE, "PermissionDenied")
    assert "deletionPolicy" in stage.cluster.status.condition(ConditionType.READY).message
    await stage.passes()
    assert stage.standing == set()
    assert KEY not in stage.cluster.raws


@pytest.mark.parametrize(
    ("brake", "who"),
    [("own", "spec.suspend is true"), ("project's", "ManagedProject payments-prod is suspended")],
)
async def test_a_suspended_deletion_waits_and_says_for_whom(stage: Stage, brake: str, who: str) -> None:
    await stage.passes()
    (stage.cluster.apply if brake == "own" else stage.cluster.lend)(suspend=True)
    stage.cluster.delete()
    await stage.passes()
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    message = stage.cluster.status.condition(ConditionType.READY).message
    assert message == f"{who}: deletion waits until suspend is false again"
    assert stage.standing == {ANN}


@pytest.mark.parametrize("brake", ["its own", "its project's"])
async def test_the_end_of_its_kind_waits_for_no_brake_and_undoes_nothing(stage: Stage, brake: str) -> None:
    await stage.passes()
    if brake == "its own":
        stage.cluster.apply(suspend=True)
    else:
        stage.cluster.lend(suspend=True)
    stage.cluster.delete()
    stage.cluster.leaving = True
    await stage.passes()
    assert KEY not in stage.cluster.raws
    assert stage.standing == {ANN}


SHARED = """
kind: ManagedProject
metadata: {name: shared, uid: u-shared}
spec: {projectID: shared-1234, suspend: true}
"""


async def test_a_deletion_waits_for_another_project_in_which_something_is_held(stage: Stage) -> None:
    elsewhere = Target(TargetKind.PROJECT, "shared-1234")
    stage.cluster.add(project(SHARED))
    stage.scene.suspended.add("shared-1234")
    stage.scene.hold(Grant(elsewhere, ANN.role, ANN.member), claimant(identity()))
    await stage.passes()
    reads = stage.scene.policies.reads
    stage.cluster.delete()

    assert await stage.passes() == Rest()
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    message = stage.cluster.status.condition(ConditionType.READY).message
    assert "ManagedProject shared is not suspended any more" in message
    assert "Project shared-1234" in message
    assert stage.standing == {ANN}, "nothing is let go of anywhere"
    assert stage.scene.policies.reads == reads


@pytest.mark.parametrize("leaving", [True, False])
async def test_what_is_observed_or_uninstalled_is_abandoned(stage: Stage, leaving: bool) -> None:
    await stage.passes()
    stage.cluster.leaving = leaving
    if not leaving:
        stage.cluster.apply(managementPolicy="Observe")
    stage.cluster.delete()
    await stage.passes()
    assert stage.standing == {ANN}
    assert stage.scene.ledgers.ledger(HOME).is_empty
    assert KEY not in stage.cluster.raws


@pytest.mark.parametrize("leaving", [True, False])
async def test_an_observed_project_is_let_go_no_sooner_than_any_other(stage: Stage, leaving: bool) -> None:
    """It is the brake of its objects, and the last of them has yet to leave."""
    lent = project(managementPolicy="Observe").to_dict()
    lent["metadata"] |= {"finalizers": [FINALIZER], "deletionTimestamp": "2026-03-01T12:00:00Z"}
    key = project_key(lent["metadata"]["name"])
    stage.cluster.raws[key] = lent
    stage.cluster.leaving = leaving
    await stage.reconciler.reconcile(key, max_age=0.0)
    assert stage.projects_abandoned == [leaving]


async def test_a_deletion_that_waits_after_a_restart_holds_up_nobody_elses_releases(stage: Stage) -> None:
    await stage.passes()
    other = Claimant("IAMBinding", "payments", "other", "uid")
    stage.scene.policies.grant(BOB)
    stage.scene.hold(BOB, other)
    stage.cluster.delete()
    stage.start()
    stage.lanes.expect([claimant(identity()), other])
    stage.script.in_use = True
    assert await stage.passes() == Again(15.0)
    stage.lanes.declare(Declaration(other))
    await stage.lanes.converge(other)
    assert stage.standing == {ANN}, "its own are kept"
