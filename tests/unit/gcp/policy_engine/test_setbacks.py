import asyncio

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policy_engine.setbacks import Backoffs, Setbacks
from cloudrun_identity.iam.grants import Grant, Target

pytestmark = pytest.mark.looptime(start=0)

PROJECT = Target(TargetKind.PROJECT, "payments-prod")
ANN, BOB = (Grant(PROJECT, "roles/viewer", f"user:{name}@example.com") for name in ("ann", "bob"))
NO = GoogleError(Fault.INVALID_ARGUMENT, "", "no")
BACKOFFS = Backoffs(first=10, most=60, fresh=2, losses=3, window=100, contested=20)


@pytest.fixture
def setbacks() -> Setbacks:
    return Setbacks(BACKOFFS)


async def test_a_refusal_waits_twice_as_long_each_time_up_to_the_most(setbacks: Setbacks) -> None:
    waits = []
    for _ in range(5):
        setbacks.refuse(ANN, NO, propagating=False)
        waits.append(setbacks.held[ANN].wait)

    assert waits == [10, 20, 40, 60, 60]


async def test_a_refusal_is_due_when_its_time_has_come(setbacks: Setbacks) -> None:
    setbacks.refuse(ANN, NO, propagating=False)

    assert setbacks.withheld == {ANN}
    await asyncio.sleep(10)
    assert not setbacks.withheld


async def test_a_member_that_google_may_not_know_yet_is_tried_again_soon(setbacks: Setbacks) -> None:
    for _ in range(3):
        setbacks.refuse(ANN, NO, propagating=True)

    assert setbacks.held[ANN].wait == 2


async def test_each_grant_has_a_backoff_of_its_own(setbacks: Setbacks) -> None:
    setbacks.refuse(ANN, NO, propagating=False)
    setbacks.refuse(ANN, NO, propagating=False)
    setbacks.refuse(BOB, NO, propagating=False)

    assert (setbacks.held[ANN].wait, setbacks.held[BOB].wait) == (20, 10)


async def test_what_stands_is_not_held_back_any_more(setbacks: Setbacks) -> None:
    setbacks.refuse(ANN, NO, propagating=False)
    setbacks.succeed([ANN])

    assert not setbacks.held


async def test_what_nobody_claims_is_forgotten(setbacks: Setbacks) -> None:
    setbacks.refuse(ANN, NO, propagating=False)
    setbacks.refuse(BOB, NO, propagating=False)
    setbacks.keep_only({BOB})

    assert setbacks.held.keys() == {BOB}


async def test_a_grant_that_is_taken_away_now_and_then_is_given_back_at_once(setbacks: Setbacks) -> None:
    setbacks.lose(ANN)
    setbacks.lose(ANN)

    assert not setbacks.held


async def test_a_grant_that_is_taken_away_again_and_again_is_held_back_ever_longer(
    setbacks: Setbacks,
) -> None:
    waits = []
    for _ in range(5):
        setbacks.lose(ANN)
        waits.append(setbacks.held[ANN].wait if ANN in setbacks.held else 0)

    assert waits == [0, 0, 20, 40, 60]
    assert setbacks.held[ANN].error is None


async def test_losses_that_are_long_past_do_not_count(setbacks: Setbacks) -> None:
    setbacks.lose(ANN)
    setbacks.lose(ANN)
    await asyncio.sleep(101)
    setbacks.lose(ANN)

    assert not setbacks.held
