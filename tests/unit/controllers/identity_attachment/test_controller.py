from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import IdentityAttachment, LedgerAttachment, Move, PreflightCheck, PreflightState
from cloudrun_identity.controllers.identity_attachment.controller import IdentityAttachmentController
from cloudrun_identity.controllers.identity_attachment.rollout import WorkloadSeen
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.reconcile.cluster_state import account_key, identity_key, project_key
from cloudrun_identity.reconcile.interfaces import Summary
from cloudrun_identity.reconcile.outcomes import Refused, Waiting
from tests.unit.controllers.attachments import (
    ELSEWHERE,
    OLD,
    ROLLED_OUT,
    attachment,
    attachment_records,
    want,
)
from tests.unit.controllers.cloud import fault
from tests.unit.controllers.cluster_state import EMAIL

NONE: Any = None
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSED = (PreflightCheck(check="Account", state=PreflightState.PASSED),)
OPERATION = f"projects/{ROLLED_OUT.workload.project_id}/locations/europe-west1/operations/1"


class FakeCloud:
    """One workload, as Google shows it, and what is asked of it."""

    def __init__(self, state: WorkloadState | None, *faults: Fault) -> None:
        self.state = state
        self.faults = list(faults)
        self.calls: list[str] = []
        self.under_way: Operation | None = None
        self.records = attachment_records()
        self.recordable = True

    async def workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        self.calls.append("get")
        return self.state

    async def listed_workload(self, workload: Workload, max_age: float) -> WorkloadState | None:
        self.calls.append("list")
        return self.state

    async def serving_accounts(self, state: WorkloadState) -> dict[str, str]:
        return dict.fromkeys(state.serving_revisions, state.service_account)

    def update_workload(self, state: WorkloadState) -> None:
        self.state = state

    def invalidate_workload(self, workload: Workload) -> None:
        self.calls.append("invalidate")

    async def set_service_account(self, state: WorkloadState, email: str) -> Operation:
        self.calls.append(f"move to {email}")
        if self.faults:
            raise fault(self.faults.pop(0))
        moved = replace(state, service_account=email, generation=state.generation + 1, reconciling=True)
        self.under_way = Operation(OPERATION, done=False, state=moved)
        return self.under_way

    async def operation(self, name: str, workload: Workload) -> Operation:
        self.calls.append("poll")
        if self.under_way is None:
            raise fault(Fault.NOT_FOUND)
        return self.under_way

    async def check(self, want: object, state: object) -> tuple[PreflightCheck, ...]:
        self.calls.append("preflight")
        return PASSED

    async def moving(
        self, obj: IdentityAttachment, state: WorkloadState, email: str
    ) -> LedgerAttachment | None:
        self.calls.append("ledger")
        return await self.records.moving(obj, state, email)

    async def not_moved(self, state: WorkloadState, former: LedgerAttachment | None) -> None:
        await self.records.not_moved(state, former)

    def of(self, obj: IdentityAttachment) -> LedgerAttachment | None:
        return self.records.of(obj)

    async def record(self, obj: object, fields: dict[str, Any]) -> bool:
        self.calls.append("record")
        return self.recordable


def controller(cloud: Any = NONE) -> IdentityAttachmentController:
    return IdentityAttachmentController(
        cloud, cloud, cloud, NONE, cloud, cloud, lambda: NOW, lambda step: None
    )


async def one_pass(cloud: FakeCloud, obj: IdentityAttachment | None = None) -> tuple[Any, Summary]:
    """The outcome of a pass, and what the status says after it."""
    wanted, kind = want(obj), controller(cloud)
    seen = await kind.observe(wanted, 0.0)
    applied = await kind.apply(wanted, seen, kind.diff(wanted, seen))
    return applied.outcome, kind.summarize(wanted, applied.seen)


def test_it_refers_to_its_project_and_its_identity() -> None:
    assert controller().references(attachment(identityRef={"name": "pricing", "namespace": "shop"})) == {
        project_key("payments-prod"),
        identity_key("shop", "pricing"),
    }
    assert controller().references(attachment(identityRef=None, email=OLD)) == {
        project_key("payments-prod"),
        account_key(OLD),
    }


def test_rivals_declare_the_same_workload() -> None:
    other = attachment(identityRef={"name": "pricing"})
    assert controller().declares(attachment()) == controller().declares(other)


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
def test_what_differs_is_what_the_platform_does_not_run_as_the_account(
    seen: WorkloadSeen, expected: list[str]
) -> None:
    assert [str(change) for change in controller().diff(want(), seen)] == expected


async def test_a_move_is_recorded_before_it_is_made_by_one_read_and_one_write() -> None:
    cloud = FakeCloud(ELSEWHERE)

    outcome, summary = await one_pass(cloud)

    assert cloud.calls == ["get", "preflight", "ledger", "record", f"move to {EMAIL}", "invalidate"]
    assert isinstance(outcome, Waiting)
    assert summary.fields["operation"] == OPERATION
    assert summary.fields["previous_service_account"] == OLD
    assert summary.fields["last_move"] == Move(service_account=EMAIL, generation=2, time=NOW)
    assert summary.fields["workload_uid"] == "w-1"
    assert summary.fields["current_service_account"] == EMAIL
    assert summary.fields["preflight"] == PASSED


async def test_what_ran_before_is_of_before_the_first_move() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"))
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = ELSEWHERE
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = replace(ELSEWHERE, uid="w-2")
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == OLD
    assert summary.fields["workload_uid"] == "w-2"


@pytest.mark.parametrize("error", [Fault.ABORTED, Fault.PERMISSION_DENIED, None], ids=str)
async def test_what_ran_before_is_what_ran_when_the_first_move_was_made_and_not_when_it_failed(
    error: Fault | None,
) -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"), *([error] if error else []))
    cloud.recordable = error is not None  # or else the object was edited at that moment
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] is None
    assert summary.fields["last_move"] is None
    assert cloud.of(attachment()) is None

    cloud.recordable, cloud.state = True, ELSEWHERE
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == OLD


async def test_a_first_move_that_may_have_been_made_tells_what_ran_before() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"), Fault.UNAVAILABLE)
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == "first@x"

    cloud.state = ELSEWHERE
    _, summary = await one_pass(cloud)
    assert summary.fields["previous_service_account"] == "first@x"


async def test_a_later_move_that_fails_changes_nothing_of_what_ran_before() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, service_account="first@x"))
    _, summary = await one_pass(cloud)
    last = summary.fields["last_move"].model_copy(update={"time": NOW - timedelta(minutes=1)})
    cloud.under_way, cloud.state, cloud.faults = None, replace(ELSEWHERE, generation=3), [Fault.ABORTED]
    obj = attachment({"workloadUID": "w-1", "lastMove": last.to_dict()})
    _, summary = await one_pass(cloud, obj)
    assert summary.fields["previous_service_account"] == "first@x"
    assert summary.fields["last_move"] == last


async def test_a_status_that_tells_otherwise_of_what_ran_before_is_put_right() -> None:
    forged = {"workloadUID": "w-1", "previousServiceAccount": "powerful@x"}
    cloud = FakeCloud(ELSEWHERE)
    _, summary = await one_pass(cloud, attachment(forged))
    assert summary.fields["previous_service_account"] == OLD

    cloud.state = ROLLED_OUT
    _, summary = await one_pass(cloud, attachment(forged))
    assert summary.fields["previous_service_account"] == OLD

    _, summary = await one_pass(FakeCloud(ROLLED_OUT), attachment(forged))
    assert summary.fields["previous_service_account"] is None


async def test_a_workload_that_runs_as_the_account_anyway_is_never_moved_nor_restored() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    _, summary = await one_pass(cloud)
    assert cloud.calls == ["get"]
    assert summary.fields["previous_service_account"] is None
    assert summary.fields["last_move"] is None


async def test_an_operation_tells_of_the_workload_until_it_is_over() -> None:
    cloud = FakeCloud(ELSEWHERE)
    obj = attachment({"workloadUID": "w-1", "operation": OPERATION})
    moving = replace(ROLLED_OUT, reconciling=True)
    cloud.under_way = Operation(OPERATION, done=False, state=moving)
    outcome, summary = await one_pass(cloud, obj)
    assert isinstance(outcome, Waiting)
    assert summary.fields["operation"] == OPERATION

    cloud.under_way = Operation(OPERATION, done=True, state=ROLLED_OUT)
    _, summary = await one_pass(cloud, obj)
    assert summary.fields["operation"] is None
    assert cloud.calls == ["poll", "poll"]


async def test_an_operation_that_is_forgotten_leaves_the_workload_to_be_read() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    _, summary = await one_pass(cloud, attachment({"operation": OPERATION}))
    assert cloud.calls == ["poll", "get"]
    assert summary.fields["operation"] is None


async def test_a_move_that_the_platform_gave_up_is_not_repeated() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, generation=3))
    cloud.under_way = Operation(OPERATION, done=True, error="no such image", state=ROLLED_OUT)
    last = {"serviceAccount": EMAIL, "generation": 2, "time": "2026-01-01T11:00:00Z"}
    status = {"workloadUID": "w-1", "operation": OPERATION, "lastMove": last}

    outcome, summary = await one_pass(cloud, attachment(status))

    assert isinstance(outcome, Waiting)
    assert "no such image" in outcome.message
    kept = summary.fields["last_move"]
    assert (kept.error, kept.generation) == ("no such image", 3)
    assert "move" not in " ".join(cloud.calls)


@pytest.mark.parametrize("error", [Fault.ABORTED, Fault.PERMISSION_DENIED, Fault.QUOTA_EXCEEDED])
async def test_a_write_that_fails_keeps_the_checks_and_is_read_anew(error: Fault) -> None:
    cloud = FakeCloud(ELSEWHERE, error)
    outcome, summary = await one_pass(cloud)
    assert "Service europe-west1/checkout" in outcome.message
    assert cloud.calls[-1] == "invalidate"
    assert summary.fields["preflight"] == PASSED


async def test_what_a_product_deploys_is_refused() -> None:
    cloud = FakeCloud(replace(ELSEWHERE, managed_by="cloudfunctions"))
    outcome, _ = await one_pass(cloud)
    assert isinstance(outcome, Refused)
    assert cloud.calls == ["get"]


@pytest.mark.parametrize("reason", ["WorkloadNotFound", "OldRevisionServing", "RevisionFailed"])
async def test_what_is_only_looked_at_now_and_then_is_read_from_a_list(reason: str) -> None:
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": reason,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    cloud = FakeCloud(None)
    outcome, _ = await one_pass(cloud, attachment({"conditions": [ready]}))
    assert isinstance(outcome, Waiting)
    assert outcome.after
    assert cloud.calls == ["list"]

    await one_pass(cloud, attachment({"conditions": [ready], "observedGeneration": 0}))
    assert cloud.calls == ["list", "get"]


async def test_a_status_sends_nobody_to_an_operation_elsewhere() -> None:
    cloud = FakeCloud(ROLLED_OUT)
    cloud.under_way = Operation("x", done=False, state=ROLLED_OUT)
    elsewhere = "projects/victim-1234/locations/europe-west1/operations/1"
    _, summary = await one_pass(cloud, attachment({"workloadUID": "w-1", "operation": elsewhere}))
    assert "poll" not in cloud.calls
    assert summary.fields["operation"] is None
