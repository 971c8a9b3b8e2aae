"""An account that is deleted and made anew under the same e-mail, once or again before anybody has looked."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import Scene

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
MEMBER = "serviceAccount:app@acme.iam.gserviceaccount.com"
GRANT = Grant(TARGET, "roles/a", MEMBER)
APP = Owner("CloudRunIdentity", "payments", "app", "uid")


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.policies.create(TARGET)
    scene.policies.unique_ids[MEMBER] = "1001"
    return scene


async def sync(scene: Scene, *grants: Grant) -> None:
    """A process of its own declares grants to the account that there is now."""
    syncers = PolicySyncers(scene.ports)
    unique_id = scene.policies.unique_ids[MEMBER]
    syncers.declare(DesiredGrants(APP, frozenset(DesiredGrant(grant, unique_id) for grant in grants)))
    try:
        await syncers.sync(APP)
    finally:
        await syncers.close()


@pytest.mark.parametrize("buried", [True, False])
async def test_the_new_account_takes_the_place_of_the_old_one(scene: Scene, buried: bool) -> None:
    await sync(scene, GRANT)
    scene.policies.recreate(MEMBER, "1002", buried=buried)

    await sync(scene, GRANT)

    assert scene.policies.present(TARGET) == {GRANT}
    assert scene.policies.meant(GRANT) == "1002"
    assert scene.ledgers.ledger(TARGET).entries[GRANT].unique_ids == ("1002",)


async def test_a_tombstone_of_the_account_before_the_last_one_goes_with_the_release(scene: Scene) -> None:
    await sync(scene, GRANT)
    scene.policies.recreate(MEMBER, "1002", buried=False)
    scene.policies.recreate(MEMBER, "1003", buried=True)

    await sync(scene)

    assert scene.policies.present(TARGET) == frozenset()


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("buried", [True, False])
async def test_a_grant_that_was_written_and_not_recorded_leaves_no_tombstone(
    scene: Scene, buried: bool, again: bool
) -> None:
    await sync(scene, GRANT)
    scene.policies.recreate(MEMBER, "1002", buried=buried)
    written = len(scene.journal.steps) + (2 if buried else 3)
    scene.journal.crash_before = written
    with pytest.raises(Crash):
        await sync(scene, GRANT)
    assert scene.policies.meant(GRANT) == "1002"
    scene.policies.recreate(MEMBER, "1003", buried=True)

    await sync(scene, *([GRANT] if again else []))

    assert scene.policies.present(TARGET) == ({GRANT} if again else frozenset())


@pytest.mark.parametrize("returns", [True, False])
async def test_what_is_kept_for_an_account_that_is_gone_for_good_goes_with_it(
    scene: Scene, returns: bool
) -> None:
    await sync(scene, GRANT)
    (tombstone,) = scene.policies.recreate(MEMBER, "1002", buried=True).values()
    syncers = PolicySyncers(replace(scene.ports, may_return=lambda *_: returns))
    syncers.declare(DesiredGrants(APP, retains=(Retain(TARGET, GRANT.role, prefix="serviceAccount:"),)))

    await syncers.resync("acme")
    await syncers.close()

    assert scene.policies.present(TARGET) == ({tombstone} if returns else frozenset())
    assert bool(scene.ledgers.ledger(TARGET).entries) is returns


async def test_a_tombstone_that_was_left_is_nobodys_history(scene: Scene) -> None:
    await sync(scene, GRANT)
    (tombstone,) = scene.policies.recreate(MEMBER, "1002", buried=True).values()
    syncers = PolicySyncers(scene.ports)
    syncers.declare(DesiredGrants(APP, abandon=True))
    await syncers.sync(APP)
    await syncers.close()

    await sync(scene, GRANT)

    assert scene.policies.present(TARGET) == {GRANT, tombstone}


async def test_a_release_that_is_refused_still_owes_the_tombstone(scene: Scene) -> None:
    await sync(scene, GRANT)
    scene.policies.recreate(MEMBER, "1002", buried=True)
    scene.policies.before_set = [denied]
    await sync(scene)
    assert scene.ledgers.ledger(TARGET).entries[GRANT].state is GrantState.RELEASING

    await sync(scene)

    assert scene.policies.present(TARGET) == frozenset()
    assert scene.ledgers.ledger(TARGET).entries == {}


def denied() -> None:
    raise fault(Fault.PERMISSION_DENIED)
