from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.identity_attachment.attachment import WorkloadSeen
from cloudrun_identity.controllers.identity_attachment.rollout import poll_after, rollout
from cloudrun_identity.gcp.run import Operation
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Waiting
from tests.unit.controllers.attachments import OLD, ROLLED_OUT, want
from tests.unit.controllers.cluster_state import EMAIL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SERVES = {"checkout-2": EMAIL}


def outcome(
    serving: dict[str, str] | None = None, operation: Operation | None = None, **state: Any
) -> Outcome:
    shown = replace(ROLLED_OUT, **state)
    seen = WorkloadSeen(shown, SERVES if serving is None else serving, operation)
    step = rollout(want(), shown, seen, NOW)
    return step.outcome if step else InSync()


def test_a_workload_with_one_account_everywhere_is_in_sync() -> None:
    assert outcome() == InSync()


@pytest.mark.parametrize(
    "state", [{"reconciling": True}, {"observed_generation": 1}, {"ready": None}], ids=str
)
def test_a_change_under_way_is_waited_for(state: dict[str, Any]) -> None:
    found = outcome(**state)
    assert isinstance(found, Waiting)
    assert found.reason is Reason.UPDATING
    assert found.after


def test_an_operation_under_way_is_waited_for() -> None:
    found = outcome(operation=Operation("operations/1", done=False))
    assert isinstance(found, Waiting)
    assert found.reason is Reason.UPDATING


@pytest.mark.parametrize("state", [{"ready": False}, {"latest_created_revision": "checkout-3"}], ids=str)
def test_a_revision_that_does_not_start_has_failed(state: dict[str, Any]) -> None:
    found = outcome(**state)
    assert isinstance(found, Failing)
    assert found.reason is Reason.REVISION_FAILED


@pytest.mark.parametrize(
    ("message", "error", "reason"),
    [
        ("no such image", "Error 9", "no such image"),
        ("", "Error 9", "Error 9"),
        ("", None, "Google gives no reason"),
    ],
)
def test_a_failure_shows_its_cause_and_what_keeps_serving(
    message: str, error: str | None, reason: str
) -> None:
    found = outcome(
        {"checkout-1": OLD},
        Operation("operations/1", done=True, error=error),
        ready=False,
        ready_message=message,
        latest_created_revision="checkout-2",
        latest_ready_revision="checkout-1",
    )
    assert isinstance(found, Failing)
    assert found.message == (
        f"Service europe-west1/checkout: checkout-2 failed: {reason}; checkout-1 as {OLD} keeps serving. "
        "Correct the cause and deploy the workload again; details: gcloud run revisions describe checkout-2 "
        "--region=europe-west1 --project=payments-prod-1234"
    )


def test_revisions_that_serve_as_another_account_are_named() -> None:
    found = outcome({"checkout-1": OLD, **SERVES})
    assert isinstance(found, Waiting)
    assert found.reason is Reason.OLD_REVISION_SERVING
    assert "checkout-1 still serves" in found.message


def test_the_poll_interval_of_a_rollout_grows() -> None:
    waits = [poll_after(elapsed) for elapsed in (0.0, 6.0, 52.0, 3600.0)]
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert waits[-1] == 10.0
