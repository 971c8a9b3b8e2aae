from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import Condition, ConditionStatus, ConditionType, Duration, Reason
from cloudrun_identity.reconcile.conditions import Finding, Review, conditions
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def found(review: Review) -> dict[ConditionType, Condition]:
    return by_type(conditions((), 3, review, NOON))


def by_type(found: Iterable[Condition]) -> dict[ConditionType, Condition]:
    return {ConditionType(each.type): each for each in found}


@pytest.mark.parametrize(
    ("outcome", "late", "ready", "abnormal"),
    [
        (InSync(), False, TRUE, None),
        (Paused(Reason.SUSPENDED, "m"), False, FALSE, None),
        (Paused(Reason.DRIFT_DETECTED, "m"), False, FALSE, None),
        (Waiting(Reason.UPDATING, "m"), False, FALSE, ConditionType.RECONCILING),
        (Failing(Reason.QUOTA_EXCEEDED, "m"), False, FALSE, ConditionType.RECONCILING),
        (Failing(Reason.API_UNAVAILABLE, "m", observed=False), False, UNKNOWN, ConditionType.RECONCILING),
        (Waiting(Reason.WORKLOAD_NOT_FOUND, "m"), True, FALSE, ConditionType.STALLED),
        (Failing(Reason.PERMISSION_DENIED, "m"), True, FALSE, ConditionType.STALLED),
        (Failing(Reason.PERMISSION_DENIED, "m", observed=False), True, FALSE, ConditionType.STALLED),
        (Refused(Reason.INVALID_SPEC, "m"), False, FALSE, ConditionType.STALLED),
    ],
)
def test_outcome_decides_ready_reconciling_and_stalled(
    outcome: Outcome, late: bool, ready: ConditionStatus, abnormal: ConditionType | None
) -> None:
    after = found(Review(outcome, exceeded=Duration("10m") if late else None))
    assert after[ConditionType.READY].status is ready
    assert {ConditionType.RECONCILING, ConditionType.STALLED} & after.keys() == (
        {abnormal} if abnormal else set()
    )
    if not isinstance(outcome, InSync):
        assert after[ConditionType.READY].reason == outcome.reason
        assert after[ConditionType.READY].message == "m"
    if abnormal:
        assert after[abnormal].status is TRUE
        assert after[abnormal].reason == after[ConditionType.READY].reason


def test_stalled_names_the_exceeded_progress_deadline() -> None:
    after = found(Review(Waiting(Reason.WORKLOAD_NOT_FOUND, "m"), exceeded=Duration("90s")))

    message = "m; this has lasted for longer than spec.progressDeadline (90s)"
    assert after[ConditionType.STALLED].message == message


@pytest.mark.parametrize(
    ("difference", "status"), [("", TRUE), ("disabled: true → false", FALSE), (None, UNKNOWN)]
)
def test_in_sync_shows_the_difference(difference: str | None, status: ConditionStatus) -> None:
    in_sync = found(Review(InSync(), difference=difference))[ConditionType.IN_SYNC]
    assert in_sync.status is status
    if difference:
        assert in_sync.message == difference


def test_references_resolved_exists_only_for_kinds_with_references() -> None:
    assert ConditionType.REFERENCES_RESOLVED not in found(Review(InSync(), unresolved=None))
    resolved = found(Review(InSync(), unresolved=""))[ConditionType.REFERENCES_RESOLVED]
    assert resolved.status is TRUE
    unresolved = found(Review(InSync(), unresolved="there is no such project"))
    assert unresolved[ConditionType.REFERENCES_RESOLVED].status is FALSE
    assert unresolved[ConditionType.REFERENCES_RESOLVED].message == "there is no such project"


def test_kind_adds_its_own_conditions() -> None:
    others = {ConditionType.SERVICE_AGENT_READY: Finding(TRUE, "Found")}
    assert found(Review(InSync(), others=others))[ConditionType.SERVICE_AGENT_READY].reason == "Found"


def test_transition_time_changes_only_with_the_status() -> None:
    before = conditions((), 1, Review(InSync()), NOON)
    same = conditions(before, 2, Review(InSync()), LATER)
    assert {each.last_transition_time for each in same} == {NOON}
    assert {each.observed_generation for each in same} == {2}
    flipped = by_type(conditions(before, 2, Review(Refused(Reason.REJECTED, "")), LATER))
    assert flipped[ConditionType.READY].last_transition_time == LATER
    assert flipped[ConditionType.STALLED].last_transition_time == LATER
    assert flipped[ConditionType.IN_SYNC].last_transition_time == NOON
