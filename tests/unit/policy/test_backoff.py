import asyncio

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.policy.backoff import BackoffLimits, GrantBackoffs

pytestmark = pytest.mark.looptime(start=0)

PROJECT = Target(TargetKind.PROJECT, "payments-prod")
ANN, BOB, EVE = (Grant(PROJECT, "roles/viewer", f"user:{name}@example.com") for name in ("ann", "bob", "eve"))
NO = GoogleError(Fault.INVALID_ARGUMENT, "", "no")
BACKOFFS = BackoffLimits(
    first_delay=10, max_delay=60, propagation_delay=2, losses=3, loss_window=100, loss_delay=20
)


@pytest.fixture
def backoffs() -> GrantBackoffs:
    return GrantBackoffs(BACKOFFS)


async def test_each_refusal_doubles_the_delay_up_to_the_maximum(backoffs: GrantBackoffs) -> None:
    waits = []
    for _ in range(5):
        backoffs.refuse(ANN, NO, propagating=False)
        waits.append(backoffs.delayed[ANN].wait)

    assert waits == [10, 20, 40, 60, 60]


async def test_refused_grant_is_withheld_until_it_is_due(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)

    assert backoffs.withheld == {ANN}
    await asyncio.sleep(10)
    assert not backoffs.withheld


async def test_propagating_member_is_retried_soon(backoffs: GrantBackoffs) -> None:
    for _ in range(3):
        backoffs.refuse(ANN, NO, propagating=True)

    assert backoffs.delayed[ANN].wait == 2


async def test_each_grant_has_its_own_backoff(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(BOB, NO, propagating=False)

    assert (backoffs.delayed[ANN].wait, backoffs.delayed[BOB].wait) == (20, 10)


async def test_present_grant_has_no_backoff(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.succeed([ANN])

    assert not backoffs.delayed


async def test_backoff_of_an_undesired_grant_is_dropped(backoffs: GrantBackoffs) -> None:
    backoffs.refuse(ANN, NO, propagating=False)
    backoffs.refuse(BOB, NO, propagating=False)
    backoffs.keep_only({BOB})

    assert backoffs.delayed.keys() == {BOB}


async def test_rarely_lost_grant_is_restored_at_once(backoffs: GrantBackoffs) -> None:
    backoffs.lose(ANN)
    backoffs.lose(ANN)

    assert not backoffs.delayed


async def test_repeatedly_lost_grant_is_delayed_longer_each_time(
    backoffs: GrantBackoffs,
) -> None:
    waits = []
    for _ in range(5):
        backoffs.lose(ANN)
        waits.append(backoffs.delayed[ANN].wait if ANN in backoffs.delayed else 0)

    assert waits == [0, 0, 20, 40, 60]
    assert backoffs.delayed[ANN].error is None


async def test_losses_outside_the_window_do_not_count(backoffs: GrantBackoffs) -> None:
    backoffs.lose(ANN)
    backoffs.lose(ANN)
    await asyncio.sleep(101)
    backoffs.lose(ANN)

    assert not backoffs.delayed


async def test_suspended_grant_is_withheld_while_all_its_possible_forms_are_shown(
    backoffs: GrantBackoffs,
) -> None:
    backoffs.suspend(ANN, NO, while_shown=frozenset({BOB, EVE}))

    await asyncio.sleep(1_000_000)
    backoffs.resume({BOB, EVE})
    assert backoffs.withheld == {ANN}
    assert backoffs.is_resumed_without(ANN, {EVE})
    assert not backoffs.is_resumed_without(BOB, {EVE})

    backoffs.resume({BOB})
    assert not backoffs.delayed


async def test_suspension_ends_when_no_object_desires_the_grant(backoffs: GrantBackoffs) -> None:
    backoffs.suspend(ANN, NO, while_shown=frozenset({BOB}))
    backoffs.keep_only(())
    assert not backoffs.is_resumed_without(ANN, {BOB})
