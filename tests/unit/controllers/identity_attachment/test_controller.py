from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.run_v2 import types

from cloudrun_identity.api import IdentityAttachment, Reason, Reassignment
from cloudrun_identity.controllers.identity_attachment.attachment import WorkloadSeen
from cloudrun_identity.controllers.identity_attachment.reassignments import ROUNDS
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.iam.audited_changes import AuditedChange, Cause, WorkloadChange
from cloudrun_identity.reconcile.change_log import ChangeLog
from cloudrun_identity.reconcile.cluster_state import account_key, identity_key, project_key
from cloudrun_identity.reconcile.interfaces import Summary
from cloudrun_identity.reconcile.outcomes import Failing, Refused, Waiting
from tests.unit.controllers.attachments import (
    ELSEWHERE,
    OLD,
    ROLLED_OUT,
    attachment,
    want,
)
from tests.unit.controllers.carry_out import carried_out
from tests.unit.controllers.cluster_state import EMAIL, record
from tests.unit.controllers.identity_attachment.fake_cloud import NOW, OPERATION, PASSED, FakeCloud


async def reconciled(cloud: FakeCloud, obj: IdentityAttachment | None = None) -> tuple[Any, Summary]:
    """The outcome of a reconcile, and what the status says after it."""
    kind, wanted = cloud.controller(), want(obj)
    progress = await carried_out(kind, wanted, now=NOW)
    return progress.outcome, kind.summarize(wanted, progress.seen)


CONTROLLER = FakeCloud(None).controller()


def test_it_references_its_project_and_its_identity() -> None:
    assert CONTROLLER.references(attachment(identityRef={"name": "pricing", "namespace": "shop"})) == {
        project_key("payments-prod"),
        identity_key("shop", "pricing"),
    }
    assert CONTROLLER.references(attachment(identityRef=None, email=OLD)) == {
        project_key("payments-prod"),
        account_key(OLD),
    }


def test_two_attachments_to_one_workload_declare_the_same() -> None:
    other = attachment(identityRef={"name": "pricing"})
    assert CONTROLLER.declares(attachment()) == CONTROLLER.declares(other)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (WorkloadSeen(None), ["workload: absent → deployed"]),
        (WorkloadSeen(ROLLED_OUT), []),
        (WorkloadSeen(replace(ROLLED_OUT, service_account=EMAIL.upper())), []),
        (WorkloadSeen(ELSEWHERE), [f"service account: {OLD} → {EMAIL}"]),
        (WorkloadSeen(replace(ROLLED_OUT, service_account="")), [f"service account: unset → {EMAIL}"]),
        (WorkloadSeen(ROLLED_OUT, {"r1": OLD, "r2": EMAIL}), [f"revision r1: {OLD} → {EMAIL}"]),
        (
            WorkloadSeen(replace(ROLLED_OUT, latest_created_revision="r3")),
            ["revision r3: failed → ready"],
        ),
    ],
)
def test_the_changes_name_what_does_not_run_as_the_account(seen: WorkloadSeen, expected: list[str]) -> None:
    assert [str(change) for change in CONTROLLER.plan(want(), seen, NOW).changes] == expected


async def test_a_move_is_recorded_first_and_takes_one_read_and_one_write() -> None:
    cloud = FakeCloud(ELSEWHERE)

    outcome, summary = await reconciled(cloud)

    assert cloud.calls == ["get", "preflight", "ledger", "record", f"reassign to {EMAIL}", "invalidate"]
    assert isinstance(outcome, Waiting)
    assert summary.fields["operation"] == OPERATION
    assert summary.fields["previous_service_account"] == OLD
    assert summary.fields["last_reassignment"] == Reassignment(service_account=EMAIL, generation=2, time=NOW)
    assert summary.fields["workload_uid"] == "w-1"
    assert summary.fields["current_service_account"] == EMAIL
    assert summary.fields["preflight"] == PASSED


async def test_the_previous_account_is_the_one_before_the_first_move() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"))
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = ELSEWHERE
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = replace(ELSEWHERE, uid="w-2")
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == OLD
    assert summary.fields["workload_uid"] == "w-2"


@pytest.mark.parametrize("error", [Fault.ABORTED, Fault.PERMISSION_DENIED, None], ids=str)
async def test_a_failed_first_move_does_not_record_the_previous_account(
    error: Fault | None,
) -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"), *([error] if error else []))
    cloud.recordable = error is not None  # or else the object was edited at that moment
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] is None
    assert summary.fields["last_reassignment"] is None
    assert cloud.of(attachment()) is None

    cloud.recordable, cloud.state = True, ELSEWHERE
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == OLD


async def test_a_first_move_without_an_answer_records_the_previous_account() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"), Fault.UNAVAILABLE)
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = ELSEWHERE
    _, summary = await reconciled(cloud)
    assert summary.fields["previous_service_account"] == "first@x"


async def test_move_with_a_lost_answer_is_looked_up() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"), Fault.UNAVAILABLE)
    cloud.applies_lost_reassignments = True
    outcome, summary = await reconciled(cloud)
    assert not isinstance(outcome, Failing)
    assert summary.fields["previous_service_account"] == "first@x"
    assert len(cloud.reassigned_to) == 1


async def test_a_failed_later_move_keeps_the_previous_account() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"))
    _, summary = await reconciled(cloud)
    last = summary.fields["last_reassignment"].model_copy(update={"time": NOW - timedelta(minutes=1)})
    cloud.under_way, cloud.state, cloud.faults = None, replace(ELSEWHERE, generation=3), [Fault.ABORTED]
    obj = attachment({"workloadUID": "w-1", "lastReassignment": last.to_dict()})
    _, summary = await reconciled(cloud, obj)
    assert summary.fields["previous_service_account"] == "first@x"
    assert summary.fields["last_reassignment"] == last


async def test_a_forged_previous_account_in_the_status_is_corrected() -> None:
    forged = {"workloadUID": "w-1", "previousServiceAccount": "powerful@x"}
    cloud = FakeCloud(ELSEWHERE)
    _, summary = await reconciled(cloud, attachment(forged))
    assert summary.fields["previous_service_account"] == OLD

    cloud.state = ROLLED_OUT
    _, summary = await reconciled(cloud, attachment(forged))
    assert summary.fields["previous_service_account"] == OLD

    _, summary = await reconciled(FakeCloud(ROLLED_OUT), attachment(forged))
    assert summary.fields["previous_service_account"] is None


async def test_a_workload_with_the_right_account_is_not_reassigned() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    _, summary = await reconciled(cloud)
    assert cloud.calls == ["get"]
    assert summary.fields["previous_service_account"] is None
    assert summary.fields["last_reassignment"] is None


async def test_an_operation_shows_the_workload_until_it_is_done() -> None:
    cloud = FakeCloud(ELSEWHERE)
    obj = attachment({"workloadUID": "w-1", "operation": OPERATION})
    reassigning = replace(ROLLED_OUT, reconciling=True)
    cloud.under_way = Operation(OPERATION, done=False, state=reassigning)
    outcome, summary = await reconciled(cloud, obj)
    assert isinstance(outcome, Waiting)
    assert summary.fields["operation"] == OPERATION

    cloud.under_way = Operation(OPERATION, done=True, state=ROLLED_OUT)
    _, summary = await reconciled(cloud, obj)
    assert summary.fields["operation"] is None
    assert cloud.calls == ["poll", "poll"]


async def test_the_workload_is_read_after_its_operation_is_forgotten() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    _, summary = await reconciled(cloud, attachment({"operation": OPERATION}))
    assert cloud.calls == ["poll", "get"]
    assert summary.fields["operation"] is None


async def test_a_move_that_the_platform_rejected_is_not_repeated() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, generation=3))
    cloud.under_way = Operation(OPERATION, done=True, error="no such image", state=ROLLED_OUT)
    last = {"serviceAccount": EMAIL, "generation": 2, "time": "2026-01-01T11:00:00Z"}
    status = {"workloadUID": "w-1", "operation": OPERATION, "lastReassignment": last}

    outcome, summary = await reconciled(cloud, attachment(status))

    assert isinstance(outcome, Waiting)
    assert "no such image" in outcome.message
    kept = summary.fields["last_reassignment"]
    assert (kept.error, kept.generation) == ("no such image", 3)
    assert "reassign" not in " ".join(cloud.calls)


@pytest.mark.parametrize("error", [Fault.ABORTED, Fault.PERMISSION_DENIED, Fault.QUOTA_EXCEEDED])
async def test_a_failed_write_keeps_the_checks_and_invalidates_the_cache(error: Fault) -> None:
    cloud = FakeCloud(ELSEWHERE, error)
    outcome, summary = await reconciled(cloud)
    assert "Service europe-west1/checkout" in outcome.message
    assert cloud.calls[-1] == "invalidate"
    assert summary.fields["preflight"] == PASSED


async def test_a_workload_that_a_product_deploys_is_refused() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, managed_by="cloudfunctions"))
    outcome, _ = await reconciled(cloud)
    assert isinstance(outcome, Refused)
    assert cloud.calls == ["get"]


@pytest.mark.parametrize("reason", ["WorkloadNotFound", "OldRevisionServing", "RevisionFailed"])
async def test_a_workload_without_expected_changes_is_read_from_a_list(reason: str) -> None:
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": reason,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    cloud = FakeCloud(None)
    outcome, _ = await reconciled(cloud, attachment({"conditions": [ready]}))
    assert isinstance(outcome, Waiting)
    assert outcome.after
    assert cloud.calls == ["list"]

    await reconciled(cloud, attachment({"conditions": [ready], "observedGeneration": 0}))
    assert cloud.calls == ["list", "get"]


async def test_an_operation_of_another_project_is_not_read() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    cloud.under_way = Operation("x", done=False, state=ROLLED_OUT)
    elsewhere = "projects/victim-1234/locations/europe-west1/operations/1"
    _, summary = await reconciled(cloud, attachment({"workloadUID": "w-1", "operation": elsewhere}))
    assert "poll" not in cloud.calls
    assert summary.fields["operation"] is None


async def test_place_of_use_is_recorded_before_the_workload_may_use_the_account() -> None:
    place = f"{ROLLED_OUT.workload.project_id}/europe-west1"
    for state in (ELSEWHERE, ROLLED_OUT):
        cloud = FakeCloud(state)
        await cloud.keep_account(record())
        await reconciled(cloud)
        expected = (
            ["get", "preflight", f"use in {place}", "ledger"]
            if state is ELSEWHERE
            else ["get", f"use in {place}"]
        )
        assert cloud.calls[: len(expected)] == expected
        cloud.calls.clear()
        await reconciled(cloud)
        assert f"use in {place}" not in cloud.calls, "it is recorded once"


async def test_use_of_an_account_without_a_record_is_not_recorded() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    await reconciled(cloud)
    assert cloud.calls == ["get"]


@pytest.mark.parametrize("names_resources", [True, False])
async def test_checks_of_a_settled_workload_are_repeated_for_its_resources(names_resources: bool) -> None:
    """A later deployment or a removed grant becomes visible at the next look, not only at an attachment."""
    secret = types.Volume(secret=types.SecretVolumeSource(secret="stripe-key"))
    template = types.RevisionTemplate(service_account=EMAIL, volumes=[secret] if names_resources else [])
    state = replace(ROLLED_OUT, message=types.Service.pb(types.Service(template=template)))
    cloud = FakeCloud(state)
    await cloud.controller().observe(want(attachment()), max_age=60.0)
    assert ("preflight" in cloud.calls) == names_resources


@pytest.mark.parametrize(
    ("max_age", "state", "checked"), [(0.0, "Passed", False), (0.0, "Failed", True), (60.0, "Passed", True)]
)
async def test_checks_of_an_attached_workload_are_made_at_each_resync(
    max_age: float, state: str, checked: bool
) -> None:
    """A check that passed can fail later: another user enforces a policy, or disables the account."""
    cloud = FakeCloud(ROLLED_OUT)
    known = {"preflight": [{"check": "OrgPolicy", "state": state}]}

    seen = await cloud.controller().observe(want(attachment(known)), max_age)

    assert ("preflight" in cloud.calls) is checked
    assert (seen.preflight is not None) is checked


async def test_workload_that_the_operator_never_reassigned_needs_no_checks() -> None:
    cloud = FakeCloud(ROLLED_OUT)

    await cloud.controller().observe(want(attachment()), 60.0)

    assert "preflight" not in cloud.calls


async def test_the_conflict_names_who_the_change_feed_reports() -> None:
    """The entry names the workload; the controller looks its last change up."""
    workload = ELSEWHERE.workload.target
    log = ChangeLog(lambda _: None, reports_actors=lambda _: True, wall_clock=lambda: NOW)
    cause = Cause("google.cloud.run.v2.Services.UpdateService", NOW, "user:dana@example.com")
    log.note(AuditedChange(WorkloadChange(workload), cause, "dana@example.com"))
    last = Reassignment(
        service_account=EMAIL, generation=1, time=NOW - timedelta(minutes=1), conflicts=ROUNDS
    )
    status = {"workloadUID": "w-1", "lastReassignment": last.to_dict()}
    cloud = FakeCloud(replace(ELSEWHERE, updated=NOW.timestamp()), causes=log)

    outcome, _ = await reconciled(cloud, attachment(status))

    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONFLICT
    assert "was deployed by user:dana@example.com at 2026-01-01T12:00:00Z as" in outcome.message
    assert not cloud.reassigned_to
