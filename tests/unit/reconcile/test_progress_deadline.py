from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import CloudRunIdentity, ConditionType, Reason
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, status_of
from tests.unit.controllers.cluster_state import identity

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

NOT_FOUND = Waiting(Reason.DEPENDENCY_NOT_FOUND, "m")
NOT_READY = Waiting(Reason.DEPENDENCY_NOT_READY, "m")
NO_WORKLOAD = Waiting(Reason.WORKLOAD_NOT_FOUND, "m")
DENIED = Failing(Reason.PERMISSION_DENIED, "m")
OUTAGE = Failing(Reason.API_UNAVAILABLE, "m", observed=False)
STALLING = (
    NOT_FOUND,
    NOT_READY,
    NO_WORKLOAD,
    DENIED,
    Failing(Reason.DEPENDENCY_NOT_FOUND, "m"),
    Failing(Reason.REVISION_FAILED, "m"),
    Failing(Reason.API_DISABLED, "m"),
    Failing(Reason.PERIMETER_VIOLATION, "m"),
    Failing(Reason.POLICY_UNWRITABLE, "m"),
)
NEVER_STALLING = (
    OUTAGE,
    Failing(Reason.QUOTA_EXCEEDED, "m"),
    Failing(Reason.INTERNAL_ERROR, "m", observed=False),
    Waiting(Reason.PROPAGATION_PENDING, "m"),
    Waiting(Reason.IN_USE, "m"),
    Waiting(Reason.UPDATING, "m"),
    Waiting(Reason.DELETING, "m"),
    Waiting(Reason.OLD_REVISION_SERVING, "m"),
    Waiting(Reason.DRIFT_DETECTED, "m"),
    Paused(Reason.SUSPENDED, "m"),
    Paused(Reason.DRIFT_DETECTED, "m"),
)


def after(*outcomes: Outcome, every: timedelta = 6 * MINUTE, spec_changes: bool = False) -> CloudRunIdentity:
    """Return an object after reconciles with these outcomes, one in each interval."""
    obj = identity()
    for number, outcome in enumerate(outcomes):
        obj = obj.replace(status=status_of(obj, Report(outcome), NOON + number * every))
        if spec_changes:
            obj = obj.replace(metadata=obj.metadata.replace(generation=obj.metadata.generation + 1))
    return obj


def is_stalled(obj: CloudRunIdentity) -> bool:
    return obj.status.condition(ConditionType.STALLED) is not None


@pytest.mark.parametrize("outcome", STALLING, ids=str)
def test_wait_for_a_user_stalls_after_the_deadline(outcome: Outcome) -> None:
    assert not is_stalled(after(outcome, outcome))
    assert is_stalled(after(outcome, outcome, outcome))


@pytest.mark.parametrize("outcome", NEVER_STALLING, ids=str)
def test_wait_that_ends_without_a_user_never_stalls(outcome: Outcome) -> None:
    obj = after(*[outcome] * 5)

    assert not is_stalled(obj)
    assert obj.status.waiting_since is None


def test_alternating_reasons_to_wait_stall_at_the_deadline_of_the_first() -> None:
    assert is_stalled(after(NOT_FOUND, NO_WORKLOAD, NOT_FOUND))
    assert after(NOT_FOUND, NO_WORKLOAD, DENIED).status.waiting_since == NOON


@pytest.mark.parametrize("progress", [InSync(), Waiting(Reason.UPDATING, "m"), Paused(Reason.SUSPENDED, "m")])
def test_progress_starts_a_new_wait(progress: Outcome) -> None:
    assert not is_stalled(after(NO_WORKLOAD, NO_WORKLOAD, progress, NO_WORKLOAD))


def test_outage_neither_ends_a_wait_nor_stalls_the_object() -> None:
    assert not is_stalled(after(NO_WORKLOAD, NO_WORKLOAD, OUTAGE))
    assert is_stalled(after(NO_WORKLOAD, OUTAGE, NO_WORKLOAD))
    assert not is_stalled(after(OUTAGE, OUTAGE, OUTAGE, NO_WORKLOAD))


def test_edit_of_the_spec_starts_a_new_wait() -> None:
    assert not is_stalled(after(*[NO_WORKLOAD] * 5, spec_changes=True))


def test_refused_object_does_not_wait() -> None:
    assert after(NO_WORKLOAD, Refused(Reason.INVALID_SPEC, "m")).status.waiting_since is None


def test_clock_that_is_set_back_does_not_extend_the_wait() -> None:
    obj = after(NO_WORKLOAD, NO_WORKLOAD, every=-timedelta(days=1))

    assert obj.status.waiting_since == NOON - timedelta(days=1)


@given(st.lists(st.sampled_from((*STALLING, *NEVER_STALLING, InSync())), min_size=2, max_size=6))
def test_start_of_a_wait_changes_only_with_progress(outcomes: list[Outcome]) -> None:
    histories = [after(*outcomes[:count]) for count in range(1, len(outcomes) + 1)]
    for before, now in pairwise(obj.status for obj in histories):
        if before.waiting_since and now.waiting_since:
            assert now.waiting_since == before.waiting_since
