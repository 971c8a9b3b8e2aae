"""Accounts that are recreated with the same e-mail, once or twice between two syncs."""

from dataclasses import replace

import pytest

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants, Retain
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash, fault
from tests.unit.policy.fakes import SyncerEnvironment

pytestmark = pytest.mark.looptime(start=1000)

TARGET = Target(TargetKind.PROJECT, "acme")
MEMBER = "serviceAccount:app@acme.iam.gserviceaccount.com"
GRANT = Grant(TARGET, "roles/a", MEMBER)
APP = Owner("CloudRunIdentity", "payments", "app", "uid")


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    env.policies.create(TARGET)
    env.policies.unique_ids[MEMBER] = "1001"
    return env


async def sync(env: SyncerEnvironment, *grants: Grant) -> None:
    """Declare grants of the current account in a new process."""
    syncers = PolicySyncers(env.ports)
    unique_id = env.policies.unique_ids[MEMBER]
    syncers.declare(DesiredGrants(APP, frozenset(DesiredGrant(grant, unique_id) for grant in grants)))
    try:
        await syncers.sync(APP)
    finally:
        await syncers.close()


@pytest.mark.parametrize("as_tombstone", [True, False])
async def test_recreated_account_replaces_the_former_one(env: SyncerEnvironment, as_tombstone: bool) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=as_tombstone)

    await sync(env, GRANT)

    assert env.policies.present(TARGET) == {GRANT}
    assert env.policies.meant(GRANT) == "1002"
    assert env.ledgers.ledger(TARGET).entries[GRANT].unique_ids == ("1002",)


async def test_release_removes_tombstones_of_all_former_accounts(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=False)
    env.policies.recreate(MEMBER, "1003", as_tombstone=True)

    await sync(env)

    assert env.policies.present(TARGET) == frozenset()


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("as_tombstone", [True, False])
async def test_unrecorded_write_leaves_no_tombstone(
    env: SyncerEnvironment, as_tombstone: bool, again: bool
) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=as_tombstone)
    written = len(env.journal.steps) + (2 if as_tombstone else 4)
    env.journal.crash_before = written
    with pytest.raises(Crash):
        await sync(env, GRANT)
    assert env.policies.meant(GRANT) == "1002"
    env.policies.recreate(MEMBER, "1003", as_tombstone=True)

    await sync(env, *([GRANT] if again else []))

    assert env.policies.present(TARGET) == ({GRANT} if again else frozenset())


@pytest.mark.parametrize("returns", [True, False])
async def test_retained_grant_ends_with_a_permanently_deleted_account(
    env: SyncerEnvironment, returns: bool
) -> None:
    await sync(env, GRANT)
    (tombstone,) = env.policies.recreate(MEMBER, "1002", as_tombstone=True).values()
    syncers = PolicySyncers(replace(env.ports, may_return=lambda *_: returns))
    syncers.declare(DesiredGrants(APP, retains=(Retain(TARGET, GRANT.role, prefix="serviceAccount:"),)))

    await syncers.resync("acme")
    await syncers.close()

    assert env.policies.present(TARGET) == ({tombstone} if returns else frozenset())
    assert bool(env.ledgers.ledger(TARGET).entries) is returns


async def test_abandoned_tombstone_is_unmanaged(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    (tombstone,) = env.policies.recreate(MEMBER, "1002", as_tombstone=True).values()
    syncers = PolicySyncers(env.ports)
    syncers.declare(DesiredGrants(APP, abandon=True))
    await syncers.sync(APP)
    await syncers.close()

    await sync(env, GRANT)

    assert env.policies.present(TARGET) == {GRANT, tombstone}


async def test_refused_release_removes_the_tombstone_later(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=True)
    env.policies.before_set = [denied]
    await sync(env)
    assert env.ledgers.ledger(TARGET).entries[GRANT].state is GrantState.RELEASING

    await sync(env)

    assert env.policies.present(TARGET) == frozenset()
    assert env.ledgers.ledger(TARGET).entries == {}


async def sync_by_email(env: SyncerEnvironment, *grants: Grant) -> None:
    """Declare grants of the e-mail, which no identity declares any more, in a new process."""
    syncers = PolicySyncers(env.ports)
    syncers.declare(DesiredGrants(APP, frozenset(map(DesiredGrant, grants))))
    await syncers.sync(APP)
    await syncers.close()


async def test_release_leaves_the_grant_of_a_later_account(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=True)
    env.policies.grant(GRANT)

    await sync(env)

    assert env.policies.present(TARGET) == {GRANT}
    assert env.policies.meant(GRANT) == "1002"
    assert env.ledgers.ledger(TARGET).entries == {}


@pytest.mark.parametrize("by_hand", [True, False])
async def test_release_without_a_tombstone_reads_the_account(env: SyncerEnvironment, by_hand: bool) -> None:
    await sync(env, GRANT)
    (tombstone,) = env.policies.recreate(MEMBER, "1002" if by_hand else "", as_tombstone=True).values()
    env.policies.revoke(tombstone)
    env.policies.grant(GRANT)

    await sync(env)

    assert env.policies.present(TARGET) == ({GRANT} if by_hand else frozenset())
    assert env.ledgers.ledger(TARGET).entries == {}


async def test_account_is_read_once_for_all_its_released_grants(env: SyncerEnvironment) -> None:
    grants = [replace(GRANT, role=f"roles/{number}") for number in range(3)]
    await sync(env, *grants)
    env.id_reads.clear()
    await sync(env, *grants)
    assert env.id_reads == [], "nothing is released"

    await sync(env)

    assert env.policies.present(TARGET) == frozenset()
    assert env.id_reads.count("app@acme.iam.gserviceaccount.com") == 1


async def test_regranted_account_keeps_what_another_person_granted(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=True)
    env.policies.grant(GRANT)

    await sync(env, GRANT)
    assert env.policies.present(TARGET) == {GRANT}
    assert env.ledgers.ledger(TARGET).entries[GRANT].unique_ids == ("1002",)

    await sync(env)
    assert env.policies.present(TARGET) == {GRANT}


@pytest.mark.parametrize("as_tombstone", [True, False])
async def test_email_without_an_identity_replaces_the_former_account(
    env: SyncerEnvironment, as_tombstone: bool
) -> None:
    await sync(env, GRANT)
    deleted = env.policies.recreate(MEMBER, "1002", as_tombstone=True)
    if not as_tombstone:
        env.policies.revoke(deleted[GRANT])

    await sync_by_email(env, GRANT)
    assert env.policies.present(TARGET) == {GRANT}
    assert env.ledgers.ledger(TARGET).entries[GRANT].unique_ids == ()

    await sync_by_email(env)
    assert env.policies.present(TARGET) == frozenset(), "the operator wrote it for the later account"


async def test_email_without_an_identity_leaves_what_another_person_granted(env: SyncerEnvironment) -> None:
    await sync(env, GRANT)
    env.policies.recreate(MEMBER, "1002", as_tombstone=True)
    env.policies.grant(GRANT)

    await sync_by_email(env, GRANT)
    assert env.policies.present(TARGET) == {GRANT}, "the tombstone is removed"

    await sync_by_email(env)
    assert env.policies.present(TARGET) == {GRANT}


def denied() -> None:
    raise fault(Fault.PERMISSION_DENIED)
