"""Members that the policy shows under another address than the operator wrote."""

import asyncio
from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.results import GrantSyncResult
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import SyncerEnvironment
from tests.unit.policy.one_policy import OPS, ROLE, TARGET, WEB, desiring, state_of, synced

pytestmark = pytest.mark.looptime(start=1000)


def user(name: str) -> Grant:
    return Grant(TARGET, ROLE, f"user:{name}")


ALIAS, PRIMARY = user("john@acme.com"), user("john.doe@gmail.com")
OTHER_ALIAS = user("johnny@acme.com")
ANN, EVE = user("ann@acme.com"), user("eve@example.com")
RENAMED = user("ann.lee@acme.com")


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    env.policies.aliases[ALIAS.member] = PRIMARY.member
    return env


class Process:
    """An operator process: its syncers keep what they have seen."""

    def __init__(self, env: SyncerEnvironment) -> None:
        self._env = env
        self._syncers = PolicySyncers(env.ports)

    async def sync(self, *declared: DesiredGrants) -> list[GrantSyncResult]:
        for desired in declared:
            self._syncers.declare(desired)
        return await asyncio.gather(*(self._syncers.sync(desired.owner) for desired in declared))

    async def idle(self, *declared: DesiredGrants) -> list[GrantSyncResult]:
        """Sync again a few times, also after all delays; check that nothing is written."""
        sets = self._env.policies.sets
        for _ in range(3):
            await asyncio.sleep(4000)
            results = await self.sync(*declared)
        assert self._env.policies.sets == sets, "an idle sync writes nothing"
        return results


def present(env: SyncerEnvironment) -> frozenset[Grant]:
    return env.policies.present(TARGET)


def entry(env: SyncerEnvironment, grant: Grant) -> LedgerEntry:
    return env.ledgers.ledger(TARGET).entries[grant]


async def test_alias_is_granted_as_its_primary_address_by_one_write(env: SyncerEnvironment) -> None:
    process = Process(env)
    [result] = await process.sync(desiring(WEB, ALIAS))

    assert env.policies.sets == 1
    assert present(env) == {PRIMARY}
    [granted] = result.grant_results
    assert (granted.state, granted.registered_member) == (GrantState.GRANTED, PRIMARY.member)
    assert entry(env, ALIAS).registered_members == (PRIMARY.member,)
    assert env.ledgers.ledger(TARGET).unmanaged_members == 0
    await process.idle(desiring(WEB, ALIAS))


async def test_release_removes_the_registered_form(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    await Process(env).sync(desiring(WEB, ALIAS))
    await Process(env).sync(desiring(WEB))

    assert present(env) == {EVE}
    assert not env.ledgers.ledger(TARGET).entries


async def test_primary_address_that_was_present_before_stays(env: SyncerEnvironment) -> None:
    env.policies.grant(PRIMARY)
    process = Process(env)
    [result] = await process.sync(desiring(WEB, ALIAS))
    assert state_of(result, ALIAS) is GrantState.GRANTED
    assert entry(env, ALIAS).present_before
    await process.idle(desiring(WEB, ALIAS))

    await process.sync(desiring(WEB))

    assert present(env) == {PRIMARY}


@pytest.mark.parametrize("first", [ALIAS, PRIMARY])
async def test_alias_and_primary_address_share_the_grant(env: SyncerEnvironment, first: Grant) -> None:
    second = PRIMARY if first is ALIAS else ALIAS
    process = Process(env)
    await process.sync(desiring(WEB, first))
    await process.sync(desiring(WEB, first), desiring(OPS, second))
    await process.idle(desiring(WEB, first), desiring(OPS, second))

    await process.sync(desiring(WEB))
    assert present(env) == {PRIMARY}, "the other object still has the grant"
    assert WEB.owner_key not in env.ledgers.ledger(TARGET).owner_keys
    await process.sync(desiring(OPS))
    assert present(env) == frozenset()


async def test_two_aliases_of_one_user_share_the_grant(env: SyncerEnvironment) -> None:
    env.policies.aliases[OTHER_ALIAS.member] = PRIMARY.member
    process = Process(env)
    await process.sync(desiring(WEB, ALIAS), desiring(OPS, OTHER_ALIAS))
    await process.idle(desiring(WEB, ALIAS), desiring(OPS, OTHER_ALIAS))

    await process.sync(desiring(WEB))
    assert present(env) == {PRIMARY}
    await process.sync(desiring(OPS))
    assert present(env) == frozenset()


async def test_aliases_of_one_write_are_told_apart_by_the_release(env: SyncerEnvironment) -> None:
    aliases = [user(f"{number}@acme.com") for number in range(4)]
    primaries = [user(f"{4 - number}@gmail.com") for number in range(4)]
    env.policies.aliases |= {a.member: p.member for a, p in zip(aliases, primaries, strict=True)}
    process = Process(env)
    await process.sync(desiring(WEB, *aliases[:1]), desiring(OPS, *aliases[1:]))
    assert present(env) == {*primaries}
    await process.idle(desiring(WEB, *aliases[:1]), desiring(OPS, *aliases[1:]))

    sets = env.policies.sets
    await process.sync(desiring(WEB), desiring(OPS, *aliases[1:]))

    assert present(env) == {*primaries[1:]}
    assert env.policies.sets == sets + 1
    await process.idle(desiring(OPS, *aliases[1:]))
    await process.sync(desiring(OPS))
    assert present(env) == frozenset()


async def test_alias_of_one_of_several_members_is_reported_once(env: SyncerEnvironment) -> None:
    for grant in (PRIMARY, ANN):
        env.policies.grant(grant)
    process = Process(env)
    [result] = await process.sync(desiring(WEB, ALIAS))

    assert state_of(result, ALIAS) is GrantState.REJECTED
    [refused] = result.grant_results
    assert refused.backoff
    assert refused.backoff.error
    assert "declare the primary address" in refused.backoff.error.message
    assert env.policies.sets == 1
    await process.idle(desiring(WEB, ALIAS))
    await process.sync(desiring(WEB))
    assert present(env) == {PRIMARY, ANN}


async def test_unmatched_member_is_written_once_more_after_a_change(env: SyncerEnvironment) -> None:
    for grant in (PRIMARY, ANN):
        env.policies.grant(grant)
    process = Process(env)
    await process.sync(desiring(WEB, ALIAS))
    env.policies.revoke(PRIMARY)

    [result] = await process.sync(desiring(WEB, ALIAS))

    assert state_of(result, ALIAS) is GrantState.GRANTED
    assert present(env) == {PRIMARY, ANN}
    await process.idle(desiring(WEB, ALIAS))
    await process.sync(desiring(WEB))
    assert present(env) == {ANN}


async def test_alias_known_from_another_role_is_matched(env: SyncerEnvironment) -> None:
    elsewhere = replace(ALIAS, role="roles/viewer")
    for grant in (PRIMARY, ANN):
        env.policies.grant(grant)
    process = Process(env)
    await process.sync(desiring(WEB, elsewhere))

    [result] = await process.sync(desiring(WEB, elsewhere, ALIAS))

    assert state_of(result, ALIAS) is GrantState.GRANTED
    assert entry(env, ALIAS).present_before


async def test_rename_that_the_operator_sees_needs_no_write(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    process = Process(env)
    await process.sync(desiring(WEB, ANN))
    env.policies.rename(TARGET, ANN.member, RENAMED.member)

    [result] = await process.idle(desiring(WEB, ANN))

    [granted] = result.grant_results
    assert (granted.state, granted.registered_member) == (GrantState.GRANTED, RENAMED.member)
    assert not result.drifted
    await Process(env).sync(desiring(WEB))
    assert present(env) == {EVE}


async def test_resync_returns_objects_with_a_renamed_member(env: SyncerEnvironment) -> None:
    syncers = PolicySyncers(env.ports)
    await synced(syncers, desiring(WEB, ANN), desiring(OPS, EVE))
    env.policies.rename(TARGET, ANN.member, RENAMED.member)

    assert (await syncers.resync(TARGET.project_id)).drifted == {WEB}

    [result] = await synced(syncers, desiring(WEB, ANN))
    assert result.grant_results[0].registered_member == RENAMED.member
    assert (await syncers.resync(TARGET.project_id)).drifted == frozenset()


async def test_rename_is_matched_although_the_policy_was_written(env: SyncerEnvironment) -> None:
    for name in ("eve", "zoe"):
        env.policies.grant(user(f"{name}@example.com"))
    process = Process(env)
    await process.sync(desiring(WEB, ANN))
    env.policies.rename(TARGET, ANN.member, RENAMED.member)
    env.policies.grant(replace(EVE, role="roles/viewer"))
    sets = env.policies.sets

    [result] = await process.sync(desiring(WEB, ANN))

    assert result.grant_results[0].registered_member == RENAMED.member
    assert env.policies.sets == sets + 1
    await process.idle(desiring(WEB, ANN))
    await process.sync(desiring(WEB))
    assert RENAMED not in present(env)


async def test_second_rename_is_followed(env: SyncerEnvironment) -> None:
    process = Process(env)
    await process.sync(desiring(WEB, ALIAS))
    env.policies.rename(TARGET, PRIMARY.member, RENAMED.member)
    await process.idle(desiring(WEB, ALIAS))
    env.policies.rename(TARGET, RENAMED.member, ALIAS.member)

    [result] = await process.idle(desiring(WEB, ALIAS))

    assert result.grant_results[0].registered_member is None
    assert entry(env, ALIAS).registered_members == ()
    await Process(env).sync(desiring(WEB))
    assert present(env) == frozenset()


async def test_rename_while_the_operator_is_down_is_settled_by_one_write(env: SyncerEnvironment) -> None:
    env.policies.grant(Grant(TARGET, ROLE, "group:ops@acme.com"))
    for grant in (EVE,):
        await Process(env).sync(desiring(OPS, grant))
    await Process(env).sync(desiring(OPS, EVE), desiring(WEB, ANN))
    env.policies.rename(TARGET, ANN.member, RENAMED.member)
    sets = env.policies.sets
    process = Process(env)

    await process.sync(desiring(OPS, EVE), desiring(WEB, ANN))

    assert env.policies.sets == sets + 1
    await process.idle(desiring(OPS, EVE), desiring(WEB, ANN))
    await process.sync(desiring(WEB))
    assert {RENAMED, ANN}.isdisjoint(present(env))


async def test_rename_keeps_that_a_grant_was_present_before(env: SyncerEnvironment) -> None:
    env.policies.grant(ANN)
    await Process(env).sync(desiring(WEB, ANN))
    env.policies.rename(TARGET, ANN.member, RENAMED.member)
    process = Process(env)
    await process.sync(desiring(WEB, ANN))

    await process.sync(desiring(WEB))

    assert present(env) == {RENAMED}


async def test_member_that_another_writer_replaced_is_granted_again(env: SyncerEnvironment) -> None:
    process = Process(env)
    await process.sync(desiring(WEB, ANN))
    env.policies.revoke(ANN)
    env.policies.grant(EVE)

    [result] = await process.sync(desiring(WEB, ANN))

    assert state_of(result, ANN) is GrantState.GRANTED
    assert present(env) == {ANN, EVE}
    await process.sync(desiring(WEB))
    assert present(env) == {EVE}, "the other member is unmanaged"


async def test_registered_form_that_another_writer_removed_is_granted_again(env: SyncerEnvironment) -> None:
    process = Process(env)
    await process.sync(desiring(WEB, ALIAS))
    env.policies.revoke(PRIMARY)

    await process.sync(desiring(WEB, ALIAS))

    assert present(env) == {PRIMARY}
    await process.idle(desiring(WEB, ALIAS))
    await process.sync(desiring(WEB))
    assert present(env) == frozenset()


async def test_exclusive_binding_keeps_the_registered_form(env: SyncerEnvironment) -> None:
    exclusive = desiring(WEB, ALIAS, exclusive=frozenset({ALIAS.binding_key}))
    env.policies.grant(EVE)
    process = Process(env)
    [result] = await process.sync(exclusive)

    assert present(env) == {PRIMARY}
    assert env.policies.sets == 1
    [result] = await process.idle(exclusive)
    assert result.unmanaged == ()


async def test_exclusive_binding_with_the_primary_address_before_settles(env: SyncerEnvironment) -> None:
    exclusive = desiring(WEB, ALIAS, exclusive=frozenset({ALIAS.binding_key}))
    for grant in (PRIMARY, EVE):
        env.policies.grant(grant)
    process = Process(env)
    await process.sync(exclusive)

    assert present(env) == {PRIMARY}
    await process.idle(exclusive)


async def test_exclusive_binding_beyond_the_removal_limit_settles(env: SyncerEnvironment) -> None:
    env.removals_an_hour = 0
    exclusive = desiring(WEB, ALIAS, exclusive=frozenset({ALIAS.binding_key}))
    for grant in (PRIMARY, EVE):
        env.policies.grant(grant)
    process = Process(env)
    await process.sync(exclusive)
    await process.idle(exclusive)
    assert present(env) == {PRIMARY, EVE}

    env.removals_an_hour = 10
    await process.sync(exclusive)

    assert present(env) == {PRIMARY}, "the alias is written together with the removals"
    await process.idle(exclusive)


async def test_renamed_member_stays_in_an_exclusive_binding(env: SyncerEnvironment) -> None:
    exclusive = desiring(WEB, ANN, exclusive=frozenset({ANN.binding_key}))
    await Process(env).sync(exclusive)
    env.policies.rename(TARGET, ANN.member, RENAMED.member)
    process = Process(env)
    await process.sync(exclusive)

    assert present(env) == {RENAMED}
    await process.idle(exclusive)
    await process.sync(desiring(WEB))
    assert present(env) == frozenset()


async def test_alias_is_matched_after_a_lost_reply(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    process = Process(env)

    def lose_the_reply() -> None:
        raise fault(Fault.UNAVAILABLE)

    env.policies.after_set = [lose_the_reply]
    [result] = await process.sync(desiring(WEB, ALIAS))

    assert state_of(result, ALIAS) is GrantState.GRANTED
    await process.idle(desiring(WEB, ALIAS))
    await process.sync(desiring(WEB))
    assert present(env) == {EVE}


@pytest.mark.parametrize("step", range(3))
async def test_alias_is_released_after_a_crash(env: SyncerEnvironment, step: int) -> None:
    for grant in (EVE, ANN):
        env.policies.grant(grant)
    env.journal.crash_before = len(env.journal.steps) + step
    with pytest.raises(Crash):
        await Process(env).sync(desiring(WEB, ALIAS))
    process = Process(env)
    [result] = await process.sync(desiring(WEB, ALIAS))
    assert state_of(result, ALIAS) is GrantState.GRANTED
    await process.idle(desiring(WEB, ALIAS))

    await process.sync(desiring(WEB))

    assert present(env) == {EVE, ANN}
