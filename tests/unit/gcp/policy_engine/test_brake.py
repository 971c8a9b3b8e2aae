import asyncio

import pytest

from cloudrun_identity.gcp.policy_engine.brake import HOUR, RemovalBrake

pytestmark = pytest.mark.looptime(start=0)


async def test_so_many_removals_an_hour_are_admitted_and_no_more() -> None:
    brake = RemovalBrake(lambda _: 3)

    assert brake.admit("shop", 2) == 2
    brake.note("shop", 2)
    assert brake.admit("shop", 5) == 1
    brake.note("shop", 1)
    assert brake.admit("shop", 1) == 0


async def test_projects_do_not_share_a_brake() -> None:
    brake = RemovalBrake({"shop": 1, "bank": 2}.__getitem__)
    brake.note("shop", 1)

    assert (brake.admit("shop", 9), brake.admit("bank", 9)) == (0, 2)


async def test_an_hour_later_removals_go_on() -> None:
    brake = RemovalBrake(lambda _: 1)
    brake.note("shop", 1)
    await asyncio.sleep(HOUR + 1)

    assert brake.admit("shop", 1) == 1


async def test_a_limit_that_was_lowered_below_what_is_used_up_admits_nothing() -> None:
    limits = {"shop": 5}
    brake = RemovalBrake(limits.__getitem__)
    brake.note("shop", 4)
    limits["shop"] = 2

    assert brake.admit("shop", 1) == 0
