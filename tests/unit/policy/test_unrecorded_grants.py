"""Whose a grant is that one of our writes did not make, once somebody else has made it."""

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault, unsent
from tests.unit.policy.fakes import Scene

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
ANN, BOB, EVE = (
    Grant(TARGET, "roles/run.invoker", f"user:{name}@acme.example") for name in ("ann", "bob", "eve")
)
DEFINITE = sorted(
    set(Fault) - {Fault.UNAVAILABLE, Fault.UNKNOWN, Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION}
)


@pytest.fixture
def scene() -> Scene:
    scene = Scene(settings=SyncerSettings(attempts=3))
    scene.policies.create(TARGET)
    return scene


def failing(kind: Fault) -> None:
    raise fault(kind)


async def declared(syncers: PolicySyncers, *grants: Grant) -> None:
    """The object declares exactly these, and its lane makes a pass."""
    syncers.declare(DesiredGrants(WEB, frozenset(map(DesiredGrant, grants))))
    await syncers.sync(WEB)


async def failed(scene: Scene, kind: Fault, *grants: Grant) -> PolicySyncers:
    """A pass in which every write fails."""
    syncers = PolicySyncers(scene.ports)
    scene.policies.before_set = [lambda: failing(kind)] * scene.settings.attempts
    await declared(syncers, *grants)
    scene.policies.before_set = []
    return syncers


def held(scene: Scene) -> set[Grant]:
    return set(scene.ledgers.ledger(TARGET).entries)


@pytest.mark.parametrize("kind", DEFINITE)
@pytest.mark.parametrize("restarted", [False, True])
async def test_what_somebody_else_grants_after_a_write_that_failed_is_theirs(
    scene: Scene, kind: Fault, restarted: bool
) -> None:
    syncers = await failed(scene, kind, ANN)
    assert held(scene) == set(), "it certainly was not written"
    scene.policies.grant(ANN)
    syncers = PolicySyncers(scene.ports) if restarted else syncers
    await declared(syncers, ANN)
    assert scene.ledgers.ledger(TARGET).entries[ANN].present_before
    await declared(syncers)
    assert scene.policies.present(TARGET) == {ANN}


async def test_what_somebody_else_grants_after_a_write_that_was_not_sent_is_theirs(scene: Scene) -> None:
    def not_sent() -> None:
        raise unsent()

    syncers = PolicySyncers(scene.ports)
    scene.policies.before_set = [not_sent]
    await declared(syncers, ANN)
    assert held(scene) == set()
    scene.policies.grant(ANN)
    await declared(syncers, ANN)
    await declared(syncers)
    assert scene.policies.present(TARGET) == {ANN}


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.UNKNOWN])
async def test_what_stands_after_a_write_that_may_have_happened_is_ours(scene: Scene, kind: Fault) -> None:
    scene.policies.after_set = [lambda: failing(kind)]
    scene.policies.faults = []
    syncers = PolicySyncers(scene.ports)
    await declared(syncers, ANN)
    await declared(syncers, ANN)
    assert scene.policies.sets == 1
    await declared(syncers)
    assert scene.policies.present(TARGET) == set()


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE, Fault.UNKNOWN])
async def test_a_write_that_may_have_happened_stays_in_the_ledger(scene: Scene, kind: Fault) -> None:
    await failed(scene, kind, ANN)
    assert held(scene) == {ANN}


async def test_an_object_goes_at_once_if_nothing_of_it_was_written(scene: Scene) -> None:
    syncers = await failed(scene, Fault.PERMISSION_DENIED, ANN)
    reads = scene.policies.reads
    await declared(syncers)
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
    syncers = PolicySyncers(scene.ports)
    await declared(syncers, ANN, BOB)
    assert scene.policies.present(TARGET) == {ANN}
    assert held(scene) == {ANN}
    await declared(syncers)
    assert scene.policies.present(TARGET) == set()


async def test_what_stood_before_a_pass_that_failed_is_held_as_it_was(scene: Scene) -> None:
    scene.policies.grant(EVE)
    scene.retain(EVE, WEB)
    syncers = await failed(scene, Fault.PERMISSION_DENIED, EVE, ANN)
    assert held(scene) == {EVE}
    await declared(syncers)
    assert scene.policies.present(TARGET) == set()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("looked_meanwhile", [False, True])
async def test_what_google_refused_to_us_and_somebody_else_grants_is_theirs(
    scene: Scene, restarted: bool, looked_meanwhile: bool
) -> None:
    syncers = PolicySyncers(scene.ports)
    scene.policies.refused = {BOB.member}
    await declared(syncers, ANN, BOB)
    scene.policies.refused = set()
    scene.policies.grant(BOB)
    syncers = PolicySyncers(scene.ports) if restarted else syncers
    if looked_meanwhile:
        await declared(syncers, ANN, BOB)
        assert scene.ledgers.ledger(TARGET).entries[BOB].state is GrantState.GRANTED
    await declared(syncers)
    assert scene.policies.present(TARGET) == {BOB}


async def test_what_google_takes_at_last_is_ours_though_we_die_before_we_record_it(scene: Scene) -> None:
    syncers = PolicySyncers(scene.ports)
    scene.policies.refused = {BOB.member}
    await declared(syncers, BOB)
    scene.policies.refused = set()
    syncers = PolicySyncers(scene.ports)
    scene.journal.crash_before = len(scene.journal.steps) + 2
    with pytest.raises(Crash):
        await declared(syncers, BOB)
    assert scene.journal.steps[-2:] == ["ledger", "policy"]
    assert scene.policies.present(TARGET) == {BOB}
    await declared(PolicySyncers(scene.ports))
    assert scene.policies.present(TARGET) == set()


async def test_a_retry_that_fails_leaves_a_refused_grant_refused(scene: Scene) -> None:
    scene.policies.refused = {BOB.member}
    await declared(PolicySyncers(scene.ports), BOB)
    syncers = await failed(scene, Fault.PERMISSION_DENIED, BOB)
    assert scene.ledgers.ledger(TARGET).entries[BOB].state is GrantState.REJECTED
    scene.policies.refused = set()
    scene.policies.grant(BOB)
    await declared(syncers)
    assert scene.policies.present(TARGET) == {BOB}


async def test_who_grants_what_we_are_just_trying_again_keeps_it(scene: Scene) -> None:
    scene.policies.refused = {BOB.member}
    await declared(PolicySyncers(scene.ports), BOB)
    scene.policies.refused = set()
    scene.policies.before_set = [lambda: scene.policies.grant(BOB)]
    syncers = PolicySyncers(scene.ports)
    await declared(syncers, BOB)
    await declared(syncers)
    assert scene.policies.present(TARGET) == {BOB}
