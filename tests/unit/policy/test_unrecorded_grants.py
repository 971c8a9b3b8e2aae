"""Ownership of a grant that a failed write did not make and another writer made later."""

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.ports import SyncerSettings
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault, unsent
from tests.unit.policy.fakes import SyncerEnvironment

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
ANN, BOB, EVE = (
    Grant(TARGET, "roles/run.invoker", f"user:{name}@acme.example") for name in ("ann", "bob", "eve")
)
DEFINITE = sorted(set(Fault) - {Fault.UNAVAILABLE, Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION})


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment(settings=SyncerSettings(attempts=3))
    env.policies.create(TARGET)
    return env


def failing(kind: Fault) -> None:
    raise fault(kind)


async def declared(syncers: PolicySyncers, *grants: Grant) -> None:
    """Declare exactly these grants for the object and sync its policies."""
    syncers.declare(DesiredGrants(WEB, frozenset(map(DesiredGrant, grants))))
    await syncers.sync(WEB)


async def failed(env: SyncerEnvironment, kind: Fault, *grants: Grant) -> PolicySyncers:
    """Run a sync in which every write fails."""
    syncers = PolicySyncers(env.ports)
    env.policies.before_set = [lambda: failing(kind)] * env.settings.attempts
    await declared(syncers, *grants)
    env.policies.before_set = []
    return syncers


def recorded(env: SyncerEnvironment) -> set[Grant]:
    return set(env.ledgers.ledger(TARGET).entries)


@pytest.mark.parametrize("kind", DEFINITE)
@pytest.mark.parametrize("restarted", [False, True])
async def test_grant_by_another_writer_after_a_failed_write_is_kept(
    env: SyncerEnvironment, kind: Fault, restarted: bool
) -> None:
    syncers = await failed(env, kind, ANN)
    assert recorded(env) == set(), "the grant was certainly not written"
    env.policies.grant(ANN)
    syncers = PolicySyncers(env.ports) if restarted else syncers
    await declared(syncers, ANN)
    assert env.ledgers.ledger(TARGET).entries[ANN].present_before
    await declared(syncers)
    assert env.policies.present(TARGET) == {ANN}


async def test_grant_by_another_writer_after_an_unsent_write_is_kept(env: SyncerEnvironment) -> None:
    def not_sent() -> None:
        raise unsent()

    syncers = PolicySyncers(env.ports)
    env.policies.before_set = [not_sent]
    await declared(syncers, ANN)
    assert recorded(env) == set()
    env.policies.grant(ANN)
    await declared(syncers, ANN)
    await declared(syncers)
    assert env.policies.present(TARGET) == {ANN}


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE])
async def test_present_grant_after_an_undecided_write_is_managed(env: SyncerEnvironment, kind: Fault) -> None:
    env.policies.after_set = [lambda: failing(kind)]
    env.policies.faults = []
    syncers = PolicySyncers(env.ports)
    await declared(syncers, ANN)
    await declared(syncers, ANN)
    assert env.policies.sets == 1
    await declared(syncers)
    assert env.policies.present(TARGET) == set()


@pytest.mark.parametrize("kind", [Fault.UNAVAILABLE])
async def test_undecided_write_stays_in_the_ledger(env: SyncerEnvironment, kind: Fault) -> None:
    await failed(env, kind, ANN)
    assert recorded(env) == {ANN}


async def test_object_without_a_write_is_released_without_a_read(env: SyncerEnvironment) -> None:
    syncers = await failed(env, Fault.PERMISSION_DENIED, ANN)
    reads = env.policies.reads
    await declared(syncers)
    assert env.policies.reads == reads


async def test_grant_written_before_a_sync_failed_is_managed(env: SyncerEnvironment) -> None:
    env.policies.refused = {BOB.member}
    # The batch is refused, the unchanged policy is accepted, Ann's half is written, and Bob's is denied.
    env.policies.before_set = [
        lambda: None,
        lambda: None,
        lambda: None,
        lambda: failing(Fault.PERMISSION_DENIED),
    ]
    syncers = PolicySyncers(env.ports)
    await declared(syncers, ANN, BOB)
    assert env.policies.present(TARGET) == {ANN}
    assert recorded(env) == {ANN}
    await declared(syncers)
    assert env.policies.present(TARGET) == set()


async def test_failed_sync_keeps_earlier_entries(env: SyncerEnvironment) -> None:
    env.policies.grant(EVE)
    env.record(EVE, WEB)
    syncers = await failed(env, Fault.PERMISSION_DENIED, EVE, ANN)
    assert recorded(env) == {EVE}
    await declared(syncers)
    assert env.policies.present(TARGET) == set()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("looked_meanwhile", [False, True])
async def test_refused_grant_made_by_another_writer_is_kept(
    env: SyncerEnvironment, restarted: bool, looked_meanwhile: bool
) -> None:
    syncers = PolicySyncers(env.ports)
    env.policies.refused = {BOB.member}
    await declared(syncers, ANN, BOB)
    env.policies.refused = set()
    env.policies.grant(BOB)
    syncers = PolicySyncers(env.ports) if restarted else syncers
    if looked_meanwhile:
        await declared(syncers, ANN, BOB)
        assert env.ledgers.ledger(TARGET).entries[BOB].state is GrantState.GRANTED
    await declared(syncers)
    assert env.policies.present(TARGET) == {BOB}


async def test_accepted_retry_is_managed_after_a_crash(env: SyncerEnvironment) -> None:
    syncers = PolicySyncers(env.ports)
    env.policies.refused = {BOB.member}
    await declared(syncers, BOB)
    env.policies.refused = set()
    syncers = PolicySyncers(env.ports)
    env.journal.crash_before = len(env.journal.steps) + 2
    with pytest.raises(Crash):
        await declared(syncers, BOB)
    assert env.journal.steps[-2:] == ["ledger", "policy"]
    assert env.policies.present(TARGET) == {BOB}
    await declared(PolicySyncers(env.ports))
    assert env.policies.present(TARGET) == set()


async def test_failed_retry_leaves_a_refused_grant_rejected(env: SyncerEnvironment) -> None:
    env.policies.refused = {BOB.member}
    await declared(PolicySyncers(env.ports), BOB)
    syncers = await failed(env, Fault.PERMISSION_DENIED, BOB)
    assert env.ledgers.ledger(TARGET).entries[BOB].state is GrantState.REJECTED
    env.policies.refused = set()
    env.policies.grant(BOB)
    await declared(syncers)
    assert env.policies.present(TARGET) == {BOB}


async def test_grant_by_another_writer_during_a_retry_is_kept(env: SyncerEnvironment) -> None:
    env.policies.refused = {BOB.member}
    await declared(PolicySyncers(env.ports), BOB)
    env.policies.refused = set()
    env.policies.before_set = [lambda: env.policies.grant(BOB)]
    syncers = PolicySyncers(env.ports)
    await declared(syncers, BOB)
    await declared(syncers)
    assert env.policies.present(TARGET) == {BOB}
