"""Status, Events and requeues of temporary grants."""

from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import (
    ConditionStatus,
    ConditionType,
    GrantState,
    GrantStatus,
    IAMBinding,
    ProjectScopedStatus,
    Reason,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.reconcile.expirations import (
    OVER_BEFORE_GRANTED,
    expiring,
    mark_ended,
    newly_ended,
    newly_expiring,
    next_end,
    over_before_granted,
    with_ended,
)
from cloudrun_identity.reconcile.grants.terms import EndedGrant
from cloudrun_identity.reconcile.outcomes import InSync, Paused, Waiting
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter, no_later_than
from cloudrun_identity.reconcile.status import Report, status_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BINDING = IAMBinding.model_validate(
    {
        "metadata": {"name": "web", "namespace": "payments", "generation": 1},
        "spec": {
            "projectRef": {"name": "payments-prod"},
            "target": {"kind": "Project"},
            "role": "roles/viewer",
            "members": [{"principal": "user:ann@example.com"}],
        },
    }
)


def grant(
    name: str = "ann", end: datetime | None = None, state: GrantState = GrantState.GRANTED
) -> GrantStatus:
    return GrantStatus(
        target="Project payments-prod",
        role="roles/viewer",
        member=f"user:{name}@example.com",
        state=state,
        expires_at=end,
    )


def status(*grants: GrantStatus, at: datetime = NOON) -> ProjectScopedStatus:
    """Return the status of an object with these grants at a time."""
    found = status_of(BINDING, Report(InSync(), "", "", grants=grants), at)
    assert isinstance(found, ProjectScopedStatus)
    return found


def test_object_without_temporary_grants_has_no_condition() -> None:
    assert status(grant()).condition(ConditionType.EXPIRING) is None
    assert status(grant()).next_expiry_time is None


@pytest.mark.parametrize(
    ("end", "state", "found", "reason"),
    [
        (NOON + 2 * HOUR, GrantState.GRANTED, ConditionStatus.FALSE, "NotDue"),
        (NOON + HOUR, GrantState.GRANTED, ConditionStatus.TRUE, "EndsWithinAnHour"),
        (NOON - HOUR, GrantState.EXPIRED, ConditionStatus.FALSE, "NothingGranted"),
    ],
)
def test_condition_is_true_in_the_last_hour_of_a_grant(
    end: datetime, state: GrantState, found: ConditionStatus, reason: str
) -> None:
    condition = status(grant(end=end, state=state)).condition(ConditionType.EXPIRING)
    assert condition is not None
    assert (condition.status, condition.reason) == (found, reason)


def test_condition_is_kept_while_the_grants_are_unknown() -> None:
    before = status(grant(end=NOON))
    assert expiring(before, None, NOON)[ConditionType.EXPIRING].status is ConditionStatus.TRUE


def test_grant_that_ended_while_the_object_is_suspended_is_shown_as_expired() -> None:
    before = status(grant("ann", NOON + HOUR), grant("bob"))
    after_end, bob = (
        NOON + HOUR,
        Grant(Target.project("payments-prod"), "roles/viewer", "user:bob@example.com"),
    )
    marked = mark_ended(before, [bob], after_end)
    suspended = Report(Paused(Reason.SUSPENDED, "message"), "", "", grants=marked)
    obj = BINDING.model_copy(update={"status": before})
    after = status_of(obj, suspended, after_end)
    assert isinstance(after, ProjectScopedStatus)
    assert [each.state for each in after.grants] == [GrantState.EXPIRED, GrantState.GRANTED]
    assert after.next_expiry_time is None
    condition = after.condition(ConditionType.EXPIRING)
    assert condition is not None
    assert condition.reason == "NothingGranted"
    assert "user:ann@" in newly_ended(before, after)


def test_grant_that_a_ledger_still_records_is_not_shown_as_expired() -> None:
    before = status(grant("ann", NOON + HOUR))
    ann = Grant(Target.project("payments-prod"), "roles/viewer", "user:ann@example.com")
    assert mark_ended(before, [ann], NOON + HOUR) is None, "its project is suspended, too"
    assert mark_ended(before, [], NOON) is None


def test_next_end_is_that_of_the_first_present_grant() -> None:
    grants = [
        grant("ann", NOON + 2 * HOUR),
        grant("bob", NOON + HOUR),
        grant("eve", NOON - HOUR, GrantState.EXPIRED),
        grant("zoe"),
    ]
    assert next_end(grants, NOON) == NOON + HOUR


def test_each_grant_is_warned_of_once() -> None:
    ann, bob = grant("ann", NOON + HOUR), grant("bob", NOON + 2 * HOUR)
    first, second = status(ann, bob), status(ann, bob, at=NOON + HOUR / 2)
    third = status(bob, at=NOON + HOUR)
    assert newly_expiring(ProjectScopedStatus(), first).startswith(
        "roles/viewer for user:ann@example.com on Project payments-prod ends at 2026-03-01T13:00:00Z. To keep"
    )
    assert newly_expiring(first, second) == ""
    assert "user:bob@" in newly_expiring(second, third)
    assert newly_expiring(third, third) == ""


def test_end_of_a_grant_is_reported_once() -> None:
    present = status(grant(end=NOON + HOUR))
    ended = status(grant(end=NOON + HOUR, state=GrantState.EXPIRED), at=NOON + HOUR)
    assert newly_ended(present, ended) == (
        "roles/viewer for user:ann@example.com on Project payments-prod ended at 2026-03-01T13:00:00Z"
    )
    assert newly_ended(ended, ended) == ""


def test_object_is_ready_and_expired_once_all_its_grants_are_over() -> None:
    over, present = grant("ann", NOON, GrantState.EXPIRED), grant("bob")
    assert with_ended(InSync(), [over], is_empty=True) == InSync(ended=1, is_expired=True)
    assert with_ended(InSync(), [over, present], is_empty=True) == InSync(ended=1)
    assert with_ended(InSync(), [over], is_empty=False) == InSync(ended=1), "the account is there"
    assert with_ended(InSync(), [present], is_empty=True) == InSync()
    waiting = Waiting(Reason.UPDATING, "message")
    assert with_ended(waiting, [over], is_empty=True) == waiting


def test_grant_that_was_never_made_is_reported_and_one_that_ended_is_not() -> None:
    base = Grant(Target.project("payments-prod"), "roles/viewer", "user:ann@example.com")
    late, ended = (
        EndedGrant("spec.members[0]", base, base, NOON, was_granted=was_granted)
        for was_granted in (False, True)
    )
    assert over_before_granted([ended]) == {}
    assert over_before_granted([late, ended]) == {OVER_BEFORE_GRANTED: late.message}


@pytest.mark.parametrize(
    ("requeue", "seconds", "found"),
    [
        (NoRequeue(), None, NoRequeue()),
        (NoRequeue(), 5.0, RequeueAfter(5.0)),
        (RequeueAfter(3.0), 5.0, RequeueAfter(3.0)),
        (RequeueAfter(8.0), 5.0, RequeueAfter(5.0)),
        (RequeueAfter(), 5.0, RequeueAfter(at_most=5.0)),
        (RequeueAfter(at_most=3.0), 5.0, RequeueAfter(at_most=3.0)),
    ],
)
def test_object_is_requeued_at_its_next_end_at_the_latest(
    requeue: Requeue, seconds: float | None, found: Requeue
) -> None:
    assert no_later_than(requeue, seconds) == found
