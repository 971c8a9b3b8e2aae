"""The reconcile that all kinds share, over a scripted kind, fake policies and a fake API server."""

import pytest

from cloudrun_identity.api import ConditionStatus, ConditionType, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.reconcile.cluster_state import ObjectKey, ledger_owner
from cloudrun_identity.reconcile.outcomes import InSync, Refused, Waiting, internal_error
from cloudrun_identity.reconcile.requeue import NoRequeue, RequeueAfter
from tests.unit.controllers.cluster_state import identity

from .fake_api_server import KEY
from .scripted_kind import ANN, BOB, HOME
from .stage import DRIFT, Stage

pytestmark = pytest.mark.looptime(start=0)

# Reconcile


async def test_finalizer_is_added_before_any_change(stage: Stage) -> None:
    assert await stage.reconcile() == NoRequeue()
    assert stage.api_server.writes == ["finalizer", "status"]
    assert stage.ready == (ConditionStatus.TRUE, "UpToDate")
    assert stage.present == {ANN}
    assert stage.recorder.reasons == ["Ready"]


async def test_no_status_is_written_before_the_project_was_observed(stage: Stage) -> None:
    number, stage.api_server.project_number = stage.api_server.project_number, None
    stage.api_server.delegate()
    assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (NoRequeue(), "waiting")
    assert stage.api_server.writes == ["finalizer"]
    assert stage.present == frozenset()

    stage.api_server.project_number = number
    stage.api_server.delegate()
    await stage.reconcile()
    assert stage.api_server.writes == ["finalizer", "status"]


async def test_reconcile_without_changes_writes_nothing(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.writes.clear()
    await stage.reconcile()
    assert stage.api_server.writes == []
    assert stage.env.policies.sets == 1


async def test_deleted_object_is_forgotten(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.raws.clear()
    assert await stage.reconcile() == NoRequeue()
    with pytest.raises(KeyError):
        await stage.syncers.sync(ledger_owner(identity()))
    await stage.syncers.resync(HOME.project_id)
    assert stage.present == {ANN}


async def test_expected_object_that_does_not_exist_is_not_waited_for(stage: Stage) -> None:
    other = Owner("IAMBinding", "payments", "other", "uid")
    stage.env.policies.grant(BOB)
    stage.env.record(BOB, ledger_owner(identity()))
    stage.syncers.expect([other])
    await stage.reconcile()
    assert BOB in stage.present
    await stage.reconciler.reconcile(ObjectKey(other.kind, other.namespace, other.name), max_age=0.0)
    await stage.reconcile()
    assert stage.present == {ANN}


async def test_difference_in_a_cached_read_is_confirmed_by_a_new_read(stage: Stage) -> None:
    stage.kind.changes = [DRIFT, ()]
    await stage.reconcile(max_age=300.0)
    assert stage.kind.reads == [300.0, 0.0]
    stage.kind.reads.clear()
    await stage.reconcile(max_age=300.0)
    assert stage.kind.reads == [300.0]


async def test_reconcile_of_an_edit_reads_once(stage: Stage) -> None:
    stage.kind.changes = [DRIFT]
    await stage.reconcile()
    assert stage.kind.reads == [0.0]


async def test_grants_wait_for_the_resource_and_existing_ones_are_kept(stage: Stage) -> None:
    await stage.reconcile()
    stage.kind.ending = Waiting(Reason.PROPAGATION_PENDING, "m", 0.7)
    stage.kind.requested = (BOB,)
    assert await stage.reconcile() == RequeueAfter(0.7)
    assert stage.present == {ANN}
    stage.kind.ending = InSync()
    await stage.reconcile()
    assert stage.present == {BOB}


async def test_google_error_is_in_the_status_and_grants_are_kept(stage: Stage) -> None:
    await stage.reconcile()
    stage.kind.error = GoogleError(Fault.UNAVAILABLE, "google.Service/Method", "no")
    stage.kind.requested = ()
    assert await stage.reconcile() == RequeueAfter()
    assert stage.ready == (ConditionStatus.UNKNOWN, "ApiUnavailable")
    assert stage.present == {ANN}


async def test_denied_grant_does_not_delay_a_propagating_one(stage: Stage) -> None:
    denied = Grant(HOME, "roles/owner", ANN.member)
    stage.kind.requested = (denied, BOB)
    stage.env.policies.refused = {BOB.member}
    stage.env.fresh.add("bob@example.com")
    requeue_after = await stage.reconcile()
    assert isinstance(requeue_after, RequeueAfter)
    assert requeue_after.after == pytest.approx(3, abs=0.5)
    assert stage.ready[1] == "DeniedByGuardrail"


async def test_unexpected_error_is_in_the_status(stage: Stage) -> None:
    await stage.reconcile()
    await stage.reconciler.fail(KEY, internal_error("unexpected RuntimeError"))
    assert stage.ready == (ConditionStatus.UNKNOWN, "InternalError")
    resolved = stage.api_server.status.condition(ConditionType.REFERENCES_RESOLVED)
    assert (resolved.status, resolved.reason) == (ConditionStatus.UNKNOWN, "NotObserved")
    await stage.reconciler.fail(ObjectKey("CloudRunIdentity", "payments", "deleted"), internal_error("m"))


async def test_object_of_an_invalid_ledger_is_not_ready_and_keeps_its_grants(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.ledgers.invalid = {HOME}
    assert await stage.reconcile() == NoRequeue()
    assert stage.ready == (ConditionStatus.FALSE, "LedgerInvalid")
    assert stage.present == {ANN}
    stage.env.ledgers.invalid = set()
    await stage.reconcile()
    assert stage.ready == (ConditionStatus.TRUE, "UpToDate")


async def test_deletion_waits_while_a_ledger_of_the_object_is_invalid(stage: Stage) -> None:
    await stage.reconcile()
    stage.env.ledgers.invalid = {HOME}
    stage.api_server.delete()
    await stage.reconcile()
    assert stage.ready == (ConditionStatus.FALSE, "LedgerInvalid")
    stage.env.ledgers.invalid = set()
    await stage.reconcile()
    assert (KEY in stage.api_server.raws, stage.present) == (False, set())


# Suspend, Observe and admission


async def test_suspended_object_is_not_read_or_written_and_keeps_its_grants(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.apply(suspend=True)
    stage.kind.reads.clear()
    stage.kind.requested = ()
    assert await stage.reconcile() == NoRequeue()
    assert stage.kind.reads == []
    assert stage.ready == (ConditionStatus.FALSE, "Suspended")
    stage.env.policies.revoke(ANN)
    await stage.syncers.resync(HOME.project_id)
    assert stage.present == set(), "it is not repaired"
    assert ANN in stage.env.ledgers.ledger(HOME).entries


async def test_object_of_another_operator_is_not_written_and_keeps_its_grants(stage: Stage) -> None:
    await stage.reconcile()
    stage.operated_elsewhere = True
    stage.kind.requested, writes = (), list(stage.api_server.writes)
    for edit in (stage.api_server.apply, stage.api_server.delete):
        edit()
        assert await stage.reconciler.reconcile(KEY, max_age=0.0) == (RequeueAfter(5.0), "elsewhere")
        await stage.reconciler.fail(KEY, internal_error("unexpected"))
    await stage.syncers.resync(HOME.project_id)
    assert not await stage.reconciler.differs(KEY, max_age=0.0)
    assert stage.api_server.writes == writes
    assert stage.present == {ANN}


async def test_observed_object_writes_nothing_and_reports_the_difference(stage: Stage) -> None:
    stage.api_server.apply(managementPolicy="Observe")
    stage.kind.changes = [DRIFT, DRIFT]
    assert await stage.reconcile() == NoRequeue()
    assert stage.kind.executions == 0
    assert stage.env.policies.sets == 0
    assert stage.env.ledgers.stored == {}
    assert stage.ready == (ConditionStatus.FALSE, "DriftDetected")
    in_sync = stage.api_server.status.condition(ConditionType.IN_SYNC)
    assert in_sync.status is ConditionStatus.FALSE
    assert "disabled: true → false" in in_sync.message
    assert "is pending" in in_sync.message


async def test_object_that_is_no_longer_admitted_keeps_its_grants(stage: Stage) -> None:
    await stage.reconcile()
    stage.api_server.delegate(namespaces={"names": []})
    stage.kind.requested = ()
    await stage.reconcile()
    assert stage.ready == (ConditionStatus.FALSE, "DeniedByGuardrail")
    assert stage.present == {ANN}


# Resync


async def test_ready_object_that_depends_on_policies_alone_is_not_compared(stage: Stage) -> None:
    stage.kind.policies_alone = True
    assert stage.reconciler.is_compared(KEY), "it is not Ready yet"
    await stage.reconcile()
    assert not stage.reconciler.is_compared(KEY)
    stage.kind.policies_alone = False
    assert stage.reconciler.is_compared(KEY)


@pytest.mark.parametrize(
    ("fault", "suspected"),
    [(Fault.PERMISSION_DENIED, True), (Fault.API_DISABLED, True), (Fault.QUOTA_EXCEEDED, False)],
)
async def test_fault_that_the_project_may_have_caused_is_known(
    stage: Stage, fault: Fault, *, suspected: bool
) -> None:
    await stage.reconcile()
    assert not stage.reconciler.may_fail_with_project(KEY)
    stage.kind.error = GoogleError(fault, "google.Service/Method", "no")
    await stage.reconcile()
    assert stage.reconciler.may_fail_with_project(KEY) is suspected


async def test_ready_object_differs_only_if_a_read_shows_it(stage: Stage) -> None:
    assert await stage.reconciler.differs(KEY, max_age=1.0)
    await stage.reconcile()
    assert not await stage.reconciler.differs(KEY, max_age=1.0)
    stage.kind.changes = [DRIFT]
    assert await stage.reconciler.differs(KEY, max_age=1.0)
    assert stage.kind.reads[-1] == 1.0
    stage.api_server.delete()
    assert await stage.reconciler.differs(KEY, max_age=1.0)


async def test_deleted_object_does_not_differ_and_invalid_object_does(stage: Stage) -> None:
    deleted = ObjectKey("CloudRunIdentity", "payments", "deleted")
    assert not await stage.reconciler.differs(deleted, max_age=1.0)
    stage.api_server.raws[KEY]["spec"] = {}
    assert await stage.reconciler.differs(KEY, max_age=1.0)


async def test_refused_object_is_not_requeued(stage: Stage) -> None:
    stage.kind.ending = Refused(Reason.CONFLICT, "m")
    assert await stage.reconcile() == NoRequeue()
    assert stage.api_server.status.condition(ConditionType.STALLED).reason == "Conflict"
