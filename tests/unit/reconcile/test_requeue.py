import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter, requeue_after

REFUSED = Refused(Reason.REJECTED, "m")
EVENT = Waiting(Reason.DEPENDENCY_NOT_FOUND, "m")


def waiting(after: float) -> Waiting:
    return Waiting(Reason.PROPAGATION_PENDING, "m", after)


def failing(after: float | None = None) -> Failing:
    return Failing(Reason.QUOTA_EXCEEDED, "m", after)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (InSync(), NoRequeue()),
        (InSync(after=3.0), RequeueAfter(3.0)),
        (Paused(Reason.SUSPENDED, "m"), NoRequeue()),
        (REFUSED, NoRequeue()),
        (EVENT, NoRequeue()),
        (waiting(3.0), RequeueAfter(3.0)),
        (failing(7.0), RequeueAfter(7.0)),
        (failing(), RequeueAfter()),
    ],
)
def test_outcome_decides_the_requeue(outcome: Outcome, expected: Requeue) -> None:
    assert requeue_after(outcome) == expected


@pytest.mark.parametrize(
    ("outcome", "others", "expected"),
    [
        (REFUSED, [REFUSED, waiting(3.0)], RequeueAfter(3.0)),
        (EVENT, [EVENT, waiting(3.0)], RequeueAfter(3.0)),
        (waiting(15.0), [waiting(15.0), waiting(3.0)], RequeueAfter(3.0)),
        (REFUSED, [failing()], RequeueAfter()),
        (failing(), [waiting(3.0)], RequeueAfter()),
        (REFUSED, [EVENT], NoRequeue()),
    ],
)
def test_earliest_requeue_of_all_outcomes_applies(
    outcome: Outcome, others: list[Outcome], expected: Requeue
) -> None:
    assert requeue_after(outcome, others) == expected


DENIED = Failing(Reason.PERMISSION_DENIED, "m")
DENIED_LATER = Failing(Reason.PERMISSION_DENIED, "m", after=30.0)


@pytest.mark.parametrize(
    ("outcome", "stalls_in", "expected"),
    [
        (EVENT, 600.0, RequeueAfter(600.0)),
        (DENIED, 600.0, RequeueAfter(at_most=600.0)),
        (DENIED_LATER, 600.0, RequeueAfter(30.0)),
        (DENIED_LATER, 5.0, RequeueAfter(5.0)),
    ],
)
def test_waiting_object_is_requeued_at_its_progress_deadline(
    outcome: Outcome, stalls_in: float, expected: Requeue
) -> None:
    assert requeue_after(outcome, stalls_in=stalls_in) == expected


@pytest.mark.parametrize("stalls_in", [0.0, -7.0])
@pytest.mark.parametrize(
    ("outcome", "others", "expected"),
    [
        (EVENT, [], NoRequeue()),
        (DENIED, [DENIED], NoRequeue()),
        (DENIED_LATER, [DENIED_LATER, EVENT], NoRequeue()),
        (DENIED, [DENIED, waiting(3.0)], RequeueAfter(3.0)),
    ],
)
def test_stalled_object_is_left_to_the_resync(
    outcome: Outcome, others: list[Outcome], stalls_in: float, expected: Requeue
) -> None:
    assert requeue_after(outcome, others, stalls_in) == expected
