"""Many objects on few policies: what they share, and how old an answer may be."""

import asyncio
from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import Scene

pytestmark = pytest.mark.looptime(start=1000)

TARGET, OTHER = Target(TargetKind.PROJECT, "acme"), Target(TargetKind.SERVICE, "acme", "europe-west1", "web")


def ledger_owner(number: int, uid: str = "uid") -> Owner:
    return Owner("IAMBinding", "payments", f"b{number}", f"{uid}-{number}")


def grant(number: int, target: Target = TARGET) -> Grant:
    return Grant(target, "roles/run.invoker", f"user:u{number}@example.com")


def claiming(who: Owner, *grants: Grant, upcoming: frozenset[Target] = frozenset()) -> DesiredGrants:
    return DesiredGrants(who, frozenset(map(DesiredGrant, grants)), upcoming=upcoming)


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.policies.create(TARGET)
    scene.policies.create(OTHER)
    return scene


@pytest.fixture
def syncers(scene: Scene) -> PolicySyncers:
    return PolicySyncers(scene.ports)


async def test_many_objects_cost_one_read_and_one_write(scene: Scene, syncers: PolicySyncers) -> None:
    for number in range(200):
        syncers.declare(claiming(ledger_owner(number), grant(number)))
    convergences = await asyncio.gather(*(syncers.sync(ledger_owner(number)) for number in range(200)))
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert {each.grant_results[0].state for each in convergences} == {GrantState.GRANTED}


async def test_releasing_for_many_objects_costs_one_read_and_one_write(
    scene: Scene, syncers: PolicySyncers
) -> None:
    for number in range(50):
        scene.policies.grant(grant(number))
        scene.retain(grant(number), ledger_owner(number))
        syncers.declare(DesiredGrants(ledger_owner(number)))
    await asyncio.gather(*(syncers.sync(ledger_owner(number)) for number in range(50)))
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)
    assert scene.policies.present(TARGET) == set()


async def test_one_pass_at_a_time(scene: Scene, syncers: PolicySyncers) -> None:
    under_way = most = 0
    get = scene.policies.get

    async def counted(target: Target) -> object:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await get(target)
        finally:
            under_way -= 1

    scene.policies.get = counted
    scene.policies.latency = 3

    async def come_late(number: int) -> None:
        await asyncio.sleep(number / 3)
        syncers.declare(claiming(ledger_owner(number), grant(number)))
        await syncers.sync(ledger_owner(number))

    await asyncio.gather(*(come_late(number) for number in range(40)))
    assert most == 1
    assert len(scene.policies.present(TARGET)) == 40


async def test_policies_do_not_wait_for_each_other(scene: Scene, syncers: PolicySyncers) -> None:
    scene.policies.latency = 10
    loop = asyncio.get_running_loop()
    began = loop.time()
    syncers.declare(claiming(ledger_owner(1), grant(1), grant(1, OTHER)))
    sync_result = await syncers.sync(ledger_owner(1))
    assert len(sync_result.grant_results) == 2
    assert loop.time() - began < 25


async def test_a_declaration_made_during_a_pass_is_answered_by_the_next_one(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.55)
    assert scene.policies.reads == 1, "the pass has begun"
    syncers.declare(claiming(ledger_owner(2), grant(2)))
    sync_result = await syncers.sync(ledger_owner(2), max_age=300)
    assert sync_result.grant_results[0].state is GrantState.GRANTED
    assert scene.policies.reads == 2
    assert (await first).grant_results[0].state is GrantState.GRANTED


async def test_a_declaration_made_while_a_pass_lingers_rides_with_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.4)
    syncers.declare(claiming(ledger_owner(2), grant(2)))
    await syncers.sync(ledger_owner(2))
    await first
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_a_pass_begun_after_the_declaration_and_young_enough_answers(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    await asyncio.sleep(100)
    await syncers.sync(ledger_owner(1), max_age=300)
    assert scene.policies.reads == 1
    await syncers.sync(ledger_owner(1), max_age=50)
    assert scene.policies.reads == 2
    await syncers.sync(ledger_owner(1))
    assert scene.policies.reads == 3


async def test_a_changed_declaration_is_never_answered_by_an_older_pass(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    syncers.declare(claiming(ledger_owner(1), grant(2)))
    sync_result = await syncers.sync(ledger_owner(1), max_age=300)
    assert [grant_result.state for grant_result in sync_result.grant_results] == [GrantState.GRANTED]
    assert scene.policies.present(TARGET) == {grant(2)}


async def test_a_pass_waits_for_claims_that_are_announced(scene: Scene, syncers: PolicySyncers) -> None:
    late = ledger_owner(2)
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    syncers.declare(claiming(late, upcoming=frozenset({TARGET})))
    first = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(1.45)
    assert scene.policies.reads == 0
    syncers.declare(claiming(late, grant(2)))
    await syncers.sync(late)
    await first
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_patience_has_an_end(scene: Scene, syncers: PolicySyncers) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    syncers.declare(claiming(ledger_owner(2), upcoming=frozenset({TARGET})))
    sync_result = await asyncio.wait_for(syncers.sync(ledger_owner(1)), 3)
    assert sync_result.grant_results[0].state is GrantState.GRANTED


async def test_a_pass_waits_while_company_keeps_coming(scene: Scene, syncers: PolicySyncers) -> None:
    asking = []
    for number in range(30):
        syncers.declare(claiming(ledger_owner(number), grant(number)))
        asking.append(asyncio.create_task(syncers.sync(ledger_owner(number))))
        await asyncio.sleep(0.2)
    await asyncio.gather(*asking)
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_company_that_never_ends_is_not_waited_for(scene: Scene, syncers: PolicySyncers) -> None:
    asking = []
    for number in range(100):
        syncers.declare(claiming(ledger_owner(number), grant(number)))
        asking.append(asyncio.create_task(syncers.sync(ledger_owner(number))))
        await asyncio.sleep(0.2)
        if asking[0].done():
            break
    assert 49 < len(asking) < 55, "the first is answered after ten seconds, with the fiftieth"
    await asyncio.gather(*asking)
    assert (scene.policies.reads, scene.policies.sets) == (2, 2)


async def test_an_object_without_claims_or_holdings_touches_no_policy(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(DesiredGrants(ledger_owner(1)))
    assert (await syncers.sync(ledger_owner(1))).grant_results == ()
    assert scene.policies.reads == 0


async def test_who_gives_up_waiting_does_not_take_the_pass_from_the_others(
    scene: Scene, syncers: PolicySyncers
) -> None:
    for number in (1, 2):
        syncers.declare(claiming(ledger_owner(number), grant(number)))
    impatient = asyncio.create_task(syncers.sync(ledger_owner(1)))
    patient = asyncio.create_task(syncers.sync(ledger_owner(2)))
    await asyncio.sleep(0.1)
    impatient.cancel()
    assert (await patient).grant_results[0].state is GrantState.GRANTED
    assert scene.policies.present(TARGET) == {grant(1), grant(2)}


async def test_one_faulty_policy_does_not_hide_what_became_of_another(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.drop(OTHER)
    syncers.declare(claiming(ledger_owner(1), grant(1), grant(1, OTHER)))
    sync_result = await syncers.sync(ledger_owner(1))
    states = {grant_result.grant.target: grant_result.state for grant_result in sync_result.grant_results}
    assert states == {TARGET: GrantState.GRANTED, OTHER: GrantState.PENDING}
    assert sync_result.missing == (OTHER,)


async def test_what_a_predecessor_let_go_is_still_being_released(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.retain(grant(1), ledger_owner(1, "former"))
    scene.policies.grant(grant(1))
    scene.policies.faults = [fault(Fault.UNAVAILABLE)]
    syncers.declare(DesiredGrants(ledger_owner(1)))
    sync_result = await syncers.sync(ledger_owner(1))
    assert sync_result.releasing == (grant(1),), "or the successor's finalizer would go and leak it"


async def test_the_grants_of_a_forgotten_object_stay(scene: Scene, syncers: PolicySyncers) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    syncers.forget(ledger_owner(1))
    await syncers.resync("acme")
    assert scene.policies.present(TARGET) == {grant(1)}
    assert scene.ledgers.ledger(TARGET).entries.keys() == {grant(1)}


# Lanes that nobody needs any more.


def known(syncers: PolicySyncers) -> set[Target]:
    return set(syncers._syncers)


async def test_a_lane_is_forgotten_once_nothing_of_ours_is_on_its_policy(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1), grant(1, OTHER)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET, OTHER}
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}
    syncers.declare(DesiredGrants(ledger_owner(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == set()
    assert scene.policies.present(TARGET) == frozenset()


async def test_a_lane_lives_as_long_as_anybody_speaks_of_its_policy(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    syncers.declare(claiming(ledger_owner(2), grant(2)))
    await asyncio.gather(syncers.sync(ledger_owner(1)), syncers.sync(ledger_owner(2)))
    syncers.declare(DesiredGrants(ledger_owner(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}


async def test_the_lane_of_an_object_that_is_forgotten_before_it_held_anything_goes_with_it(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.policies.drop(TARGET)
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    await syncers.sync(ledger_owner(1))
    assert known(syncers) == {TARGET}
    syncers.forget(ledger_owner(1))
    assert known(syncers) == set()


async def test_a_lane_at_work_is_not_forgotten(scene: Scene, syncers: PolicySyncers) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    at_work = asyncio.create_task(syncers.sync(ledger_owner(1)))
    await asyncio.sleep(0.1)
    syncers.forget(ledger_owner(1))
    assert known(syncers) == {TARGET}
    await at_work
    assert known(syncers) == set()


async def test_nothing_is_read_or_written_in_a_project_that_is_suspended(
    scene: Scene, syncers: PolicySyncers
) -> None:
    elsewhere = Target(TargetKind.PROJECT, "suspended")
    scene.suspended.add("suspended")
    scene.retain(grant(1, elsewhere), ledger_owner(1))
    scene.retain(grant(2, elsewhere), ledger_owner(1))
    syncers.declare(claiming(ledger_owner(1), grant(1, elsewhere), grant(3)))

    sync_result = await syncers.sync(ledger_owner(1))

    assert sync_result.halted == (grant(2, elsewhere),)
    assert sync_result.releasing == ()
    assert {each.grant: each.state for each in sync_result.grant_results} == {
        grant(1, elsewhere): GrantState.GRANTED,
        grant(3): GrantState.GRANTED,
    }
    assert scene.ledgers.ledger(elsewhere).entries.keys() == {grant(1, elsewhere), grant(2, elsewhere)}
    assert scene.policies.reads == 1, "of the other policy"


async def test_in_a_project_that_is_observed_nothing_is_taken_away(
    scene: Scene, syncers: PolicySyncers
) -> None:
    scene.observed.add(TARGET.project_id)
    scene.policies.grant(grant(1))
    scene.retain(grant(1), ledger_owner(1))
    syncers.declare(DesiredGrants(ledger_owner(1)))
    assert (await syncers.sync(ledger_owner(1))).releasing == (grant(1),), "it is kept in mind"

    syncers.declare(DesiredGrants(ledger_owner(1), ending=True))
    assert (await syncers.sync(ledger_owner(1))).releasing == ()
    assert scene.policies.present(TARGET) == {grant(1)}
    assert scene.policies.sets == 0


async def test_who_is_about_to_hold_a_role_is_known_before_a_ledger_tells(
    scene: Scene, syncers: PolicySyncers
) -> None:
    syncers.declare(claiming(ledger_owner(1), grant(1)))
    syncers.declare(replace(claiming(ledger_owner(2), grant(2)), writable=False))
    role = grant(1).role

    assert list(syncers.about_to_hold(role, TARGET.project_id)) == [(grant(1), str(ledger_owner(1)))]
    assert not list(syncers.about_to_hold(role, "another-project"))
    assert not list(syncers.about_to_hold("roles/other", TARGET.project_id))
