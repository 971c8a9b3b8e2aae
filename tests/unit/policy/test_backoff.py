import asyncio

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.backoff import BackoffLimits, GrantBackoffs

pytestmark = pytest.mark.looptime(start=0)

PROJECT = Target(TargetKind.PROJECT, "payments-prod")
ANN, BOB = (Grant(PROJECT, "roles/viewer", f"user:{name}@example.com") for name in ("ann", "bob"))
NO = GoogleError(Fault.INVALID_ARGUMENT, "", "no")
BACKOFFS = BackoffLimits(
    first_delay=10, max_delay=60, propagation_delay=2, losses=3, loss_window=100, loss_delay=20
)


@pytest.fixture
def backoffs() -> GrantBackoffs:
    return GrantBackoffs(BACKOFFS)


async def test_a_refusal_waits_twice_as_long_each_time_up_to_the_most(backoffs: GrantBackoffs) -> None:
    waits = []
    for _ in range(5):
        backoffs.refuse(ANN, NO, propagating=False)
        waits.append(backoffs.delayed[ANN].wait)

    assert waits == [10, 20, 40, 60, 60]


async def test_a_refusal_is_due_when_its_time_has_come(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)

    assert backoffs.withheld == {ANN}
    await asyncio.sleep(10)
    assert not backoffs.withheld


async def test_a_member_that_google_may_not_know_yet_is_tried_again_soon(backoffs: GrantBackoffs) -> None:
    for _ in range(3):
        backoffs.refuse(ANN, NO, propagating=True)

    assert backoffs.delayed[ANN].wait == 2


async def test_each_grant_has_a_backoff_of_its_own(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(BOB, NO, propagating=False)

    assert (backoffs.delayed[ANN].wait, backoffs.delayed[BOB].wait) == (20, 10)


async def test_what_stands_is_not_held_back_any_more(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.succeed([ANN])

    assert not backoffs.delayed


async def test_what_nobody_claims_is_forgotten(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(BOB, NO, propagating=False)
    backoffs.keep_only({BOB})

    assert backoffs.delayed.keys() == {BOB}


async def test_a_grant_that_is_taken_away_now_and_then_is_given_back_at_once(backoffs: GrantBackoffs) -> None:
    backoffs.lose(ANN)
    backoffs.lose(ANN)

    assert not backoffs.delayed


async def test_a_grant_that_is_taken_away_again_and_again_is_held_back_ever_longer(
    backoffs: GrantBackoffs,
) -> None:
    waits = []
    for _ in range(5):
        backoffs.lose(ANN)
        waits.append(backoffs.delayed[ANN].wait if ANN in backoffs.delayed else 0)

    assert waits == [0, 0, 20, 40, 60]
    assert backoffs.delayed[ANN].error is None


async def test_losses_that_are_long_past_do_not_count(backoffs: GrantBackoffs) -> None:
    backoffs.lose(ANN)
    backoffs.lose(ANN)
    await asyncio.sleep(101)
    backoffs.lose(ANN)

    assert not backoffs.delayed
