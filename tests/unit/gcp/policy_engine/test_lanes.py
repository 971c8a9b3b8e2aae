"""Many objects on few policies: what they share, and how old an answer may be."""

import asyncio
from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from tests.unit.gcp.fakes import Scene, fault

pytestmark = pytest.mark.looptime(start=1000)

TARGET, OTHER = Target(TargetKind.PROJECT, "acme"), Target(TargetKind.SERVICE, "acme", "europe-west1", "web")


def claimant(number: int, uid: str = "uid") -> Claimant:
    return Claimant("IAMBinding", "payments", f"b{number}", f"{uid}-{number}")


def grant(number: int, target: Target = TARGET) -> Grant:
    return Grant(target, "roles/run.invoker", f"user:u{number}@example.com")


def claiming(who: Claimant, *grants: Grant, soon: frozenset[Target] = frozenset()) -> Declaration:
    return Declaration(who, frozenset(map(Claim, grants)), soon=soon)


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.policies.create(TARGET)
    scene.policies.create(OTHER)
    return scene


@pytest.fixture
def lanes(scene: Scene) -> Lanes:
    return Lanes(scene.ports)


async def test_many_objects_cost_one_read_and_one_write(scene: Scene, lanes: Lanes) -> None:
    for number in range(200):
        lanes.declare(claiming(claimant(number), grant(number)))
    convergences = await asyncio.gather(*(lanes.converge(claimant(number)) for number in range(200)))
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)
    assert scene.journal.steps == ["ledger", "policy", "ledger"]
    assert {each.verdicts[0].state for each in convergences} == {GrantState.GRANTED}


async def test_releasing_for_many_objects_costs_one_read_and_one_write(scene: Scene, lanes: Lanes) -> None:
    for number in range(50):
        scene.policies.grant(grant(number))
        scene.hold(grant(number), claimant(number))
        lanes.declare(Declaration(claimant(number)))
    await asyncio.gather(*(lanes.converge(claimant(number)) for number in range(50)))
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)
    assert scene.policies.standing(TARGET) == set()


async def test_one_pass_at_a_time(scene: Scene, lanes: Lanes) -> None:
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
        lanes.declare(claiming(claimant(number), grant(number)))
        await lanes.converge(claimant(number))

    await asyncio.gather(*(come_late(number) for number in range(40)))
    assert most == 1
    assert len(scene.policies.standing(TARGET)) == 40


async def test_policies_do_not_wait_for_each_other(scene: Scene, lanes: Lanes) -> None:
    scene.policies.latency = 10
    loop = asyncio.get_running_loop()
    began = loop.time()
    lanes.declare(claiming(claimant(1), grant(1), grant(1, OTHER)))
    convergence = await lanes.converge(claimant(1))
    assert len(convergence.verdicts) == 2
    assert loop.time() - began < 25


async def test_a_declaration_made_during_a_pass_is_answered_by_the_next_one(
    scene: Scene, lanes: Lanes
) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    first = asyncio.create_task(lanes.converge(claimant(1)))
    await asyncio.sleep(0.55)
    assert scene.policies.reads == 1, "the pass has begun"
    lanes.declare(claiming(claimant(2), grant(2)))
    convergence = await lanes.converge(claimant(2), max_age=300)
    assert convergence.verdicts[0].state is GrantState.GRANTED
    assert scene.policies.reads == 2
    assert (await first).verdicts[0].state is GrantState.GRANTED


async def test_a_declaration_made_while_a_pass_lingers_rides_with_it(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    first = asyncio.create_task(lanes.converge(claimant(1)))
    await asyncio.sleep(0.4)
    lanes.declare(claiming(claimant(2), grant(2)))
    await lanes.converge(claimant(2))
    await first
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_a_pass_begun_after_the_declaration_and_young_enough_answers(
    scene: Scene, lanes: Lanes
) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    await lanes.converge(claimant(1))
    await asyncio.sleep(100)
    await lanes.converge(claimant(1), max_age=300)
    assert scene.policies.reads == 1
    await lanes.converge(claimant(1), max_age=50)
    assert scene.policies.reads == 2
    await lanes.converge(claimant(1))
    assert scene.policies.reads == 3


async def test_a_changed_declaration_is_never_answered_by_an_older_pass(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    await lanes.converge(claimant(1))
    lanes.declare(claiming(claimant(1), grant(2)))
    convergence = await lanes.converge(claimant(1), max_age=300)
    assert [verdict.state for verdict in convergence.verdicts] == [GrantState.GRANTED]
    assert scene.policies.standing(TARGET) == {grant(2)}


async def test_a_pass_waits_for_claims_that_are_announced(scene: Scene, lanes: Lanes) -> None:
    late = claimant(2)
    lanes.declare(claiming(claimant(1), grant(1)))
    lanes.declare(claiming(late, soon=frozenset({TARGET})))
    first = asyncio.create_task(lanes.converge(claimant(1)))
    await asyncio.sleep(1.45)
    assert scene.policies.reads == 0
    lanes.declare(claiming(late, grant(2)))
    await lanes.converge(late)
    await first
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_patience_has_an_end(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    lanes.declare(claiming(claimant(2), soon=frozenset({TARGET})))
    convergence = await asyncio.wait_for(lanes.converge(claimant(1)), 3)
    assert convergence.verdicts[0].state is GrantState.GRANTED


async def test_a_pass_waits_while_company_keeps_coming(scene: Scene, lanes: Lanes) -> None:
    asking = []
    for number in range(30):
        lanes.declare(claiming(claimant(number), grant(number)))
        asking.append(asyncio.create_task(lanes.converge(claimant(number))))
        await asyncio.sleep(0.2)
    await asyncio.gather(*asking)
    assert (scene.policies.reads, scene.policies.sets) == (1, 1)


async def test_company_that_never_ends_is_not_waited_for(scene: Scene, lanes: Lanes) -> None:
    asking = []
    for number in range(100):
        lanes.declare(claiming(claimant(number), grant(number)))
        asking.append(asyncio.create_task(lanes.converge(claimant(number))))
        await asyncio.sleep(0.2)
        if asking[0].done():
            break
    assert 49 < len(asking) < 55, "the first is answered after ten seconds, with the fiftieth"
    await asyncio.gather(*asking)
    assert (scene.policies.reads, scene.policies.sets) == (2, 2)


async def test_an_object_without_claims_or_holdings_touches_no_policy(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(Declaration(claimant(1)))
    assert (await lanes.converge(claimant(1))).verdicts == ()
    assert scene.policies.reads == 0


async def test_who_gives_up_waiting_does_not_take_the_pass_from_the_others(
    scene: Scene, lanes: Lanes
) -> None:
    for number in (1, 2):
        lanes.declare(claiming(claimant(number), grant(number)))
    impatient = asyncio.create_task(lanes.converge(claimant(1)))
    patient = asyncio.create_task(lanes.converge(claimant(2)))
    await asyncio.sleep(0.1)
    impatient.cancel()
    assert (await patient).verdicts[0].state is GrantState.GRANTED
    assert scene.policies.standing(TARGET) == {grant(1), grant(2)}


async def test_one_faulty_policy_does_not_hide_what_became_of_another(scene: Scene, lanes: Lanes) -> None:
    scene.policies.drop(OTHER)
    lanes.declare(claiming(claimant(1), grant(1), grant(1, OTHER)))
    convergence = await lanes.converge(claimant(1))
    states = {verdict.grant.target: verdict.state for verdict in convergence.verdicts}
    assert states == {TARGET: GrantState.GRANTED, OTHER: GrantState.PENDING}
    assert convergence.missing == (OTHER,)


async def test_what_a_predecessor_let_go_is_still_being_released(scene: Scene, lanes: Lanes) -> None:
    scene.hold(grant(1), claimant(1, "former"))
    scene.policies.grant(grant(1))
    scene.policies.faults = [fault(Fault.UNAVAILABLE)]
    lanes.declare(Declaration(claimant(1)))
    convergence = await lanes.converge(claimant(1))
    assert convergence.releasing == (grant(1),), "or the successor's finalizer would go and leak it"


async def test_the_grants_of_a_forgotten_object_stay(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    await lanes.converge(claimant(1))
    lanes.forget(claimant(1))
    await lanes.sweep("acme")
    assert scene.policies.standing(TARGET) == {grant(1)}
    assert scene.ledgers.ledger(TARGET).holdings.keys() == {grant(1)}


# Lanes that nobody needs any more.


def known(lanes: Lanes) -> set[Target]:
    return set(lanes._lanes)


async def test_a_lane_is_forgotten_once_nothing_of_ours_is_on_its_policy(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1), grant(1, OTHER)))
    await lanes.converge(claimant(1))
    assert known(lanes) == {TARGET, OTHER}
    lanes.declare(claiming(claimant(1), grant(1)))
    await lanes.converge(claimant(1))
    assert known(lanes) == {TARGET}
    lanes.declare(Declaration(claimant(1)))
    await lanes.converge(claimant(1))
    assert known(lanes) == set()
    assert scene.policies.standing(TARGET) == frozenset()


async def test_a_lane_lives_as_long_as_anybody_speaks_of_its_policy(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    lanes.declare(claiming(claimant(2), grant(2)))
    await asyncio.gather(lanes.converge(claimant(1)), lanes.converge(claimant(2)))
    lanes.declare(Declaration(claimant(1)))
    await lanes.converge(claimant(1))
    assert known(lanes) == {TARGET}


async def test_the_lane_of_an_object_that_is_forgotten_before_it_held_anything_goes_with_it(
    scene: Scene, lanes: Lanes
) -> None:
    scene.policies.drop(TARGET)
    lanes.declare(claiming(claimant(1), grant(1)))
    await lanes.converge(claimant(1))
    assert known(lanes) == {TARGET}
    lanes.forget(claimant(1))
    assert known(lanes) == set()


async def test_a_lane_at_work_is_not_forgotten(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    at_work = asyncio.create_task(lanes.converge(claimant(1)))
    await asyncio.sleep(0.1)
    lanes.forget(claimant(1))
    assert known(lanes) == {TARGET}
    await at_work
    assert known(lanes) == set()


async def test_nothing_is_read_or_written_in_a_project_that_is_suspended(scene: Scene, lanes: Lanes) -> None:
    elsewhere = Target(TargetKind.PROJECT, "suspended")
    scene.suspended.add("suspended")
    scene.hold(grant(1, elsewhere), claimant(1))
    scene.hold(grant(2, elsewhere), claimant(1))
    lanes.declare(claiming(claimant(1), grant(1, elsewhere), grant(3)))

    convergence = await lanes.converge(claimant(1))

    assert convergence.halted == (grant(2, elsewhere),)
    assert convergence.releasing == ()
    assert {each.grant: each.state for each in convergence.verdicts} == {
        grant(1, elsewhere): GrantState.GRANTED,
        grant(3): GrantState.GRANTED,
    }
    assert scene.ledgers.ledger(elsewhere).holdings.keys() == {grant(1, elsewhere), grant(2, elsewhere)}
    assert scene.policies.reads == 1, "of the other policy"


async def test_in_a_project_that_is_observed_nothing_is_taken_away(scene: Scene, lanes: Lanes) -> None:
    scene.observed.add(TARGET.project_id)
    scene.policies.grant(grant(1))
    scene.hold(grant(1), claimant(1))
    lanes.declare(Declaration(claimant(1)))
    assert (await lanes.converge(claimant(1))).releasing == (grant(1),), "it is kept in mind"

    lanes.declare(Declaration(claimant(1), ending=True))
    assert (await lanes.converge(claimant(1))).releasing == ()
    assert scene.policies.standing(TARGET) == {grant(1)}
    assert scene.policies.sets == 0


async def test_who_is_about_to_hold_a_role_is_known_before_a_ledger_tells(scene: Scene, lanes: Lanes) -> None:
    lanes.declare(claiming(claimant(1), grant(1)))
    lanes.declare(replace(claiming(claimant(2), grant(2)), writable=False))
    role = grant(1).role

    assert list(lanes.about_to_hold(role, TARGET.project_id)) == [(grant(1), str(claimant(1)))]
    assert not list(lanes.about_to_hold(role, "another-project"))
    assert not list(lanes.about_to_hold("roles/other", TARGET.project_id))
