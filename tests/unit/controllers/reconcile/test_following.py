import pytest

from cloudrun_identity.api import Reason
from cloudrun_identity.controllers.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.controllers.reconcile.following import Again, Next, Rest, following

REFUSED = Refused(Reason.REJECTED, "m")
EVENT = Waiting(Reason.DEPENDENCY_NOT_FOUND, "m")


def waiting(after: float) -> Waiting:
    return Waiting(Reason.PROPAGATION_PENDING, "m", after)


def failing(after: float | None = None) -> Failing:
    return Failing(Reason.QUOTA_EXCEEDED, "m", after)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (InSync(), Rest()),
        (InSync(after=3.0), Again(3.0)),
        (Paused(Reason.SUSPENDED, "m"), Rest()),
        (REFUSED, Rest()),
        (EVENT, Rest()),
        (waiting(3.0), Again(3.0)),
        (failing(7.0), Again(7.0)),
        (failing(), Again()),
    ],
)
def test_an_outcome_says_when_to_look_again(outcome: Outcome, expected: Next) -> None:
    assert following(outcome) == expected


@pytest.mark.parametrize(
    ("outcome", "others", "expected"),
    [
        (REFUSED, [REFUSED, waiting(3.0)], Again(3.0)),
        (EVENT, [EVENT, waiting(3.0)], Again(3.0)),
        (waiting(15.0), [waiting(15.0), waiting(3.0)], Again(3.0)),
        (REFUSED, [failing()], Again()),
        (failing(), [waiting(3.0)], Again()),
        (REFUSED, [EVENT], Rest()),
    ],
)
def test_what_is_shown_does_not_hold_up_the_rest(
    outcome: Outcome, others: list[Outcome], expected: Next
) -> None:
    assert following(outcome, others) == expected
