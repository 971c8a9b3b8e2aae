"""Writes with an unknown outcome that the policy shows with other addresses of their members."""

import pytest

from cloudrun_identity.api import GrantState
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import SyncerEnvironment
from tests.unit.policy.one_policy import (
    ANN,
    ROLE,
    TARGET,
    crashed,
    recorded,
    released,
    resumed,
    state_of,
)

pytestmark = pytest.mark.looptime(start=1000)


def user(name: str) -> Grant:
    return Grant(TARGET, ROLE, f"user:{name}")


ALIAS, PRIMARY = user("john@acme.com"), user("john.doe@gmail.com")
LEE, EVE, ZOE = user("lee@acme.com"), user("eve@example.com"), user("zoe@example.com")


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    env.policies.grant(ZOE)
    env.policies.aliases[ALIAS.member] = PRIMARY.member
    return env


async def test_alias_and_other_members_of_one_write_are_managed_after_a_crash(env: SyncerEnvironment) -> None:
    await crashed(env, ALIAS, LEE, ANN, before=2)
    result = await resumed(env, ALIAS, LEE, ANN)
    assert result.made_by_others == ()
    assert recorded(env, ALIAS).registered_members == (PRIMARY.member,)
    assert env.ledgers.ledger(TARGET).pending_write is None
    assert await released(env) == {ZOE}


@pytest.mark.parametrize("second", range(4))
async def test_alias_is_managed_after_two_crashes(env: SyncerEnvironment, second: int) -> None:
    await crashed(env, ALIAS, before=2)
    env.journal.crash_before = len(env.journal.steps) + second
    try:
        await resumed(env, ALIAS)
    except Crash:
        env.journal.crash_before = None
    await resumed(env, ALIAS)
    env.journal.crash_before = None
    assert await released(env) == {ZOE}


async def test_alias_is_managed_after_its_repeated_write_failed(env: SyncerEnvironment) -> None:
    await crashed(env, ALIAS, before=2)
    env.policies.before_set = [lambda: env.policies.faults.append(fault(Fault.PERMISSION_DENIED))]
    await resumed(env, ALIAS)
    env.policies.faults = []
    await resumed(env, ALIAS)
    assert await released(env) == {ZOE}


async def test_members_of_another_writer_around_a_crash_are_kept_beside_an_alias(
    env: SyncerEnvironment,
) -> None:
    """Test that members that could be the registered forms of an unwritten alias stay unmanaged."""
    env.policies.aliases.clear()
    await crashed(env, ALIAS, LEE, before=1)
    for grant in (LEE, EVE):
        env.policies.grant(grant)
    result = await resumed(env, ALIAS, LEE)
    assert result.made_by_others == (LEE,)
    assert state_of(result, ALIAS) is GrantState.GRANTED
    assert await released(env) == {ZOE, LEE, EVE}


async def test_primary_address_is_kept_if_another_writer_changed_the_policy(env: SyncerEnvironment) -> None:
    await crashed(env, ALIAS, before=1)
    for grant in (PRIMARY, ANN):
        env.policies.grant(grant)
    await resumed(env, ALIAS)
    assert await released(env) == {ZOE, PRIMARY, ANN}


async def test_primary_address_that_another_writer_made_in_a_conflict_is_kept(env: SyncerEnvironment) -> None:
    env.policies.revoke(ZOE)
    env.policies.before_set = [lambda: env.policies.grant(PRIMARY)]
    await resumed(env, ALIAS)
    assert recorded(env, ALIAS).present_before
    assert await released(env) == {PRIMARY}


async def test_alias_is_recorded_before_the_next_write_of_a_sync(env: SyncerEnvironment) -> None:
    """Test that the form of an alias is not lost in a crash between two batches of writes."""
    env.policies.refused.add(ANN.member)
    env.policies.names_culprit = True
    await crashed(env, ALIAS, LEE, ANN, before=4)
    await resumed(env, ALIAS, LEE)
    assert await released(env) == {ZOE}


async def test_lost_reply_to_an_alias_among_other_changes_makes_nothing_managed(
    env: SyncerEnvironment,
) -> None:
    def lost_among_others() -> None:
        env.policies.grant(ANN)
        raise fault(Fault.UNAVAILABLE)

    env.policies.after_set = [lost_among_others]
    await resumed(env, ALIAS, LEE)
    assert await released(env) == {ZOE, PRIMARY, LEE, ANN}


async def test_lost_reply_to_an_alias_and_other_members_is_recognized(env: SyncerEnvironment) -> None:
    def lost() -> None:
        raise fault(Fault.UNAVAILABLE)

    env.policies.after_set = [lost]
    assert (await resumed(env, ALIAS, LEE)).made_by_others == ()
    assert await released(env) == {ZOE}


async def test_alias_of_a_restored_target_is_managed(env: SyncerEnvironment) -> None:
    await resumed(env, ALIAS)
    env.policies.drop(TARGET)
    await resumed(env, ALIAS)
    assert recorded(env, ALIAS).registered_members == (PRIMARY.member,)

    env.policies.create(TARGET, (ROLE, [PRIMARY.member]))
    await resumed(env, ALIAS)

    assert await released(env) == set()
