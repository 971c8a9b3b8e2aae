from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import RECONCILE_REQUESTED_AT, IdentityAttachment, Reason, Reassignment
from cloudrun_identity.controllers.identity_attachment.reassignments import (
    FIRST_WAIT,
    ROUNDS,
    UNCONTESTED_AFTER,
    given_up,
    last_reassignment,
    next_reassignment,
)
from cloudrun_identity.iam.audited_changes import Cause
from cloudrun_identity.reconcile.steps import Refuse, Wait
from tests.unit.controllers.attachments import ELSEWHERE, OLD, attachment, want
from tests.unit.controllers.cluster_state import EMAIL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)


def reassigned(**fields: Any) -> Reassignment:
    """Return the last reassignment: from generation 1, a minute ago."""
    return Reassignment(
        **{"service_account": EMAIL, "generation": 1, "time": NOW - timedelta(minutes=1)} | fields
    )


def decided(
    last: Reassignment | None,
    *,
    generation: int = 3,
    changed: datetime = NOW,
    obj: IdentityAttachment | None = None,
    cause: Cause | None = None,
) -> Reassignment | Wait | Refuse:
    """Return what is done about another user's deploy."""
    state = replace(
        ELSEWHERE, generation=generation, updated=changed.timestamp(), last_modifier="ci@example.com"
    )
    return next_reassignment(want(obj or attachment({"workloadUID": "w-1"})), state, last, NOW, cause)


def deployed_by_dana(at: datetime = NOW) -> Cause:
    return Cause("google.cloud.run.v2.Services.UpdateService", at, "user:dana@example.com", "gcloud/501")


def test_an_overlong_reconcile_request_counts_as_handled() -> None:
    obj = attachment({"lastHandledReconcileAt": "now" * 100, "observedGeneration": 1})
    asked = obj.metadata.model_copy(update={"annotations": {RECONCILE_REQUESTED_AT: "now" * 100}})
    assert not obj.model_copy(update={"metadata": asked}).is_requested


def test_the_first_move_is_made_at_once() -> None:
    assert decided(None) == Reassignment(service_account=EMAIL, generation=3, time=NOW)


def test_a_deploy_with_another_account_is_reverted_at_once_and_counted() -> None:
    assert decided(reassigned()) == Reassignment(service_account=EMAIL, generation=3, time=NOW, conflicts=1)


def test_a_move_that_lasted_was_not_contested() -> None:
    found = decided(reassigned(time=NOW - UNCONTESTED_AFTER, conflicts=ROUNDS))
    assert isinstance(found, Reassignment)
    assert found.conflicts == 0


@pytest.mark.parametrize("conflicts", range(ROUNDS))
def test_each_round_of_a_conflict_waits_twice_as_long(conflicts: int) -> None:
    wait = FIRST_WAIT * 2**conflicts
    early = decided(reassigned(time=NOW - timedelta(seconds=wait - 1), conflicts=conflicts))
    assert isinstance(early, Wait)
    assert early.reason is Reason.DRIFT_DETECTED
    assert early.after == pytest.approx(1)
    due = decided(reassigned(time=NOW - timedelta(seconds=wait), conflicts=conflicts))
    assert isinstance(due, Reassignment)
    assert due.conflicts == conflicts + 1


def test_a_clock_that_was_set_back_delays_nothing() -> None:
    """The last reassignment seems to lie ahead; waiting for it would take as long as the clock was ahead."""
    assert isinstance(decided(reassigned(time=NOW + timedelta(hours=2))), Reassignment)


def test_a_conflict_needs_a_user_and_names_the_deployer() -> None:
    outcome = decided(reassigned(conflicts=ROUNDS))
    assert isinstance(outcome, Refuse)
    assert outcome.reason is Reason.CONFLICT
    for word in (OLD, "ci@example.com", EMAIL):
        assert word in outcome.message


@pytest.mark.parametrize("conflicts", [ROUNDS - 1, ROUNDS])
def test_a_conflict_names_the_deployer_of_the_change_feed(conflicts: int) -> None:
    last = reassigned(conflicts=conflicts, time=NOW - timedelta(seconds=1))
    outcome = decided(last, cause=deployed_by_dana())
    assert isinstance(outcome, Wait | Refuse)
    assert "was deployed by user:dana@example.com (gcloud) at 2026-01-01T12:00:00Z as" in outcome.message
    assert "ci@example.com" not in outcome.message


@pytest.mark.parametrize(
    "cause", [deployed_by_dana().anonymous(), deployed_by_dana(LONG_AGO)], ids=["anonymous", "earlier deploy"]
)
def test_a_conflict_names_the_last_modifier_without_an_entry_of_the_deploy(cause: Cause) -> None:
    outcome = decided(reassigned(conflicts=ROUNDS), cause=cause)
    assert isinstance(outcome, Refuse)
    assert "was deployed by ci@example.com as" in outcome.message
    assert "dana" not in outcome.message


def test_a_conflict_is_retried_after_a_long_time_without_deploys() -> None:
    early = reassigned(conflicts=ROUNDS, time=LONG_AGO)
    again = decided(early, changed=LONG_AGO + timedelta(minutes=1))
    assert isinstance(again, Reassignment)
    assert again.conflicts == ROUNDS, "so that the next round ends it"


@pytest.mark.parametrize("conflicts", [0, ROUNDS])
def test_a_lost_write_is_repeated_and_is_not_contested(conflicts: int) -> None:
    again = decided(reassigned(generation=3, conflicts=conflicts))
    assert isinstance(again, Reassignment)
    assert again.conflicts == conflicts


def test_a_rejected_move_is_retried_only_after_a_deploy() -> None:
    last = given_up(reassigned(), replace(ELSEWHERE, generation=3), "image not found")
    outcome = decided(last, generation=3)
    assert isinstance(outcome, Wait)
    assert outcome.reason is Reason.REVISION_FAILED
    assert "image not found" in outcome.message
    assert isinstance(decided(last, generation=4), Reassignment)


@pytest.mark.parametrize(
    "last",
    [reassigned(conflicts=ROUNDS), reassigned(error="image not found", generation=3)],
    ids=["conflict", "failure"],
)
def test_another_account_or_a_user_request_resets_the_conflict(last: Reassignment) -> None:
    for changed in (last.model_copy(update={"service_account": OLD}), None):
        assert decided(changed) == Reassignment(service_account=EMAIL, generation=3, time=NOW)
    edited = attachment({"workloadUID": "w-1", "observedGeneration": 0})
    assert edited.is_requested
    assert decided(last, obj=edited) == Reassignment(service_account=EMAIL, generation=3, time=NOW)


def test_a_workload_created_again_has_no_last_move() -> None:
    status = {"workloadUID": "w-1", "lastReassignment": reassigned().to_dict()}
    assert last_reassignment(attachment(status), ELSEWHERE) == reassigned()
    assert last_reassignment(attachment(status), replace(ELSEWHERE, uid="w-2")) is None


@pytest.mark.parametrize(
    ("requested", "handled", "asked"),
    [
        (None, None, False),
        ("", None, False),
        ("now", None, True),
        ("now", "then", True),
        ("now", "now", False),
    ],
)
def test_a_reconcile_request_counts_until_it_is_handled(
    requested: str | None, handled: str | None, asked: bool
) -> None:
    obj = attachment({"lastHandledReconcileAt": handled} if handled else {})
    annotations = {} if requested is None else {RECONCILE_REQUESTED_AT: requested}
    metadata = obj.metadata.model_copy(update={"annotations": annotations})
    assert obj.model_copy(update={"metadata": metadata}).is_requested is asked
