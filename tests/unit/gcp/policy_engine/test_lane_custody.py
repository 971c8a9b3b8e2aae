"""Whose a grant is that one of our writes did not make, once somebody else has made it."""

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.gcp.policy_engine.lanes import Lanes
from cloudrun_identity.gcp.policy_engine.ports import LaneSettings
from cloudrun_identity.iam.claims import Claim, Claimant, Declaration
from cloudrun_identity.iam.grants import Grant, Target
from tests.unit.gcp.fakes import Crash, Scene, fault, unsent

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
WEB = Claimant("IAMBinding", "payments", "web", "uid-1")
ANN, BOB, EVE = (
    Grant(TARGET, "roles/run.invoker", f"user:{name}@acme.example") for name in ("ann", "bob", "eve")
)
DEFINITE = sorted(
    set(Fault) - {Fault.UNAVAILABLE, Fault.UNKNOWN, Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION}
)


@pytest.fixture
def scene() -> Scene:
    scene = Scene(settings=LaneSettings(attempts=3))
    scene.policies.create(TARGET)
    return scene


def failing(kind: Fault) -> None:
    raise fault(kind)


async def declared(lanes: Lanes, *grants: Grant) -> None:
    """The object declares exactly these, and its lane makes a pass."""
    lanes.declare(Declaration(WEB, frozenset(map(Claim, grants))))
    await lanes.converge(WEB)


async def failed(scene: Scene, kind: Fault, *grants: Grant) -> Lanes:
    """A pass in which every write fails."""
    lanes = Lanes(scene.ports)
    scene.policies.before_set = [lambda: failing(kind)] * scene.settings.attempts
    await declared(lanes, *grants)
    scene.policies.before_set = []
    return lanes


def held(scene: Scene) -> set[Grant]:
    return set(scene.ledgers.ledger(TARGET).holdings)


@pytest.mark.parametrize("kind", DEFINITE)
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_somebody_else_grants_after_a_write_that_failed_is_theirs(
    scene: Scene, kind: Fault, restarted: bool
) -> None:
    lanes = await failed(scene, kind, ANN)
    assert held(scene) == set(), "it certainly was not written"
    scene.policies.grant(ANN)
    lanes = Lanes(scene.ports) if restarted else lanes
    await declared(lanes, ANN)
    assert scene.ledgers.ledger(TARGET).holdings[ANN].foreign_before
    await declared(lanes)
    assert scene.policies.standing(TARGET) == {ANN}


async def test_what_somebody_else_grants_after_a_write_that_was_not_sent_is_theirs(scene: Scene) -> None:
    def not_sent() -> None:
        raise unsent()

    lanes = Lanes(scene.ports)
    scene.policies.before_set = [not_sent]
    await declared(lanes, ANN)
    assert held(scene) == set()
    scene.policies.grant(ANN)
    await declared(lanes, ANN)
    await declared(lanes)
    assert scene.policies.standing(TARGET) == {ANN}


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.UNKNOWN])
async def test_what_stands_after_a_write_that_may_have_happened_is_ours(scene: Scene, kind: Fault) -> None:
    scene.policies.after_set = [lambda: failing(kind)]
    scene.policies.faults = []
    lanes = Lanes(scene.ports)
    await declared(lanes, ANN)
    await declared(lanes, ANN)
    assert scene.policies.sets == 1
    await declared(lanes)
    assert scene.policies.standing(TARGET) == set()


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.UNKNOWN])
async def test_a_write_that_may_have_happened_stays_in_the_ledger(scene: Scene, kind: Fault) -> None:
    await failed(scene, kind, ANN)
    assert held(scene) == {ANN}


async def test_an_object_goes_at_once_if_nothing_of_it_was_written(scene: Scene) -> None:
    lanes = await failed(scene, Fault.PERMISSION_DENIED, ANN)
    reads = scene.policies.reads
    await declared(lanes)
    assert scene.policies.reads == reads


async def test_what_a_failing_pass_had_written_before_it_failed_is_ours(scene: Scene) -> None:
    scene.policies.refused = {BOB.member}
    # The batch of both is refused, and so is nothing; then Ann's half is written, and Bob's is denied.
    scene.policies.before_set = [
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: failing(Fault.PERMISSION_DENIED),
    ]
    lanes = Lanes(scene.ports)
    await declared(lanes, ANN, BOB)
    assert scene.policies.standing(TARGET) == {ANN}
    assert held(scene) == {ANN}
    await declared(lanes)
    assert scene.policies.standing(TARGET) == set()


async def test_what_stood_before_a_pass_that_failed_is_held_as_it_was(scene: Scene) -> None:
    scene.policies.grant(EVE)
    scene.hold(EVE, WEB)
    lanes = await failed(scene, Fault.PERMISSION_DENIED, EVE, ANN)
    assert held(scene) == {EVE}
    await declared(lanes)
    assert scene.policies.standing(TARGET) == set()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("looked_meanwhile", [False, True])
async def test_what_google_refused_to_us_and_somebody_else_grants_is_theirs(
    scene: Scene, restarted: bool, looked_meanwhile: bool
) -> None:
    lanes = Lanes(scene.ports)
    scene.policies.refused = {BOB.member}
    await declared(lanes, ANN, BOB)
    scene.policies.refused = set()
    scene.policies.grant(BOB)
    lanes = Lanes(scene.ports) if restarted else lanes
    if looked_meanwhile:
        await declared(lanes, ANN, BOB)
        assert scene.ledgers.ledger(TARGET).holdings[BOB].state is GrantState.GRANTED
    await declared(lanes)
    assert scene.policies.standing(TARGET) == {BOB}


async def test_what_google_takes_at_last_is_ours_though_we_die_before_we_record_it(scene: Scene) -> None:
    lanes = Lanes(scene.ports)
    scene.policies.refused = {BOB.member}
    await declared(lanes, BOB)
    scene.policies.refused = set()
    lanes = Lanes(scene.ports)
    scene.journal.crash_before = len(scene.journal.steps) + 2
    with pytest.raises(Crash):
        await declared(lanes, BOB)
    assert scene.journal.steps[-2:] == ["ledger", "policy"]
    assert scene.policies.standing(TARGET) == {BOB}
    await declared(Lanes(scene.ports))
    assert scene.policies.standing(TARGET) == set()


async def test_a_retry_that_fails_leaves_a_refused_grant_refused(scene: Scene) -> None:
    scene.policies.refused = {BOB.member}
    await declared(Lanes(scene.ports), BOB)
    lanes = await failed(scene, Fault.PERMISSION_DENIED, BOB)
    assert scene.ledgers.ledger(TARGET).holdings[BOB].state is GrantState.REJECTED
    scene.policies.refused = set()
    scene.policies.grant(BOB)
    await declared(lanes)
    assert scene.policies.standing(TARGET) == {BOB}


async def test_who_grants_what_we_are_just_trying_again_keeps_it(scene: Scene) -> None:
    scene.policies.refused = {BOB.member}
    await declared(Lanes(scene.ports), BOB)
    scene.policies.refused = set()
    scene.policies.before_set = [lambda: scene.policies.grant(BOB)]
    lanes = Lanes(scene.ports)
    await declared(lanes, BOB)
    await declared(lanes)
    assert scene.policies.standing(TARGET) == {BOB}
