"""Targets that were deleted and created again under the same name."""

import pytest

from cloudrun_identity.api import AccountLoss, GrantState, LedgerAccount, TargetKind
from cloudrun_identity.gcp.errors import Fault
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import RETAIN_ALL, DesiredGrants
from cloudrun_identity.policy.results import GrantSyncResult
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import fault
from tests.unit.policy.fakes import SyncerEnvironment

from .one_policy import desiring, state_of, synced

pytestmark = pytest.mark.looptime(start=1000)

SERVICE = Target(TargetKind.SERVICE, "acme", "europe-west1", "web")
ACCOUNT = Target.service_account("acme", "app@acme.iam.gserviceaccount.com")
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
OPS = Owner("IAMBinding", "payments", "ops", "uid-2")
ANN, BOB = (Grant(SERVICE, "roles/run.invoker", f"user:{name}@example.com") for name in ("ann", "bob"))
ACTOR = Grant(ACCOUNT, "roles/iam.serviceAccountUser", "group:g0@example.com")


@pytest.fixture
def env() -> SyncerEnvironment:
    env = SyncerEnvironment()
    for target in (SERVICE, ACCOUNT):
        env.policies.create(target)
        env.target_ids[target] = "first"
    return env


async def sync(env: SyncerEnvironment, *declared: DesiredGrants) -> list[GrantSyncResult]:
    """Declare and sync in a new process."""
    syncers = PolicySyncers(env.ports)
    try:
        return await synced(syncers, *declared)
    finally:
        await syncers.close()


async def test_first_write_binds_the_ledger_to_the_target(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    assert env.ledgers.ledger(SERVICE).target_uid == "first"
    assert env.id_reads == [SERVICE]


async def test_unique_id_is_not_read_at_idle(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.id_reads.clear()
    syncers = PolicySyncers(env.ports)
    await synced(syncers, desiring(WEB, ANN))
    await syncers.resync("acme")
    await syncers.close()
    assert env.id_reads == []


async def test_ledger_of_an_earlier_version_is_bound_at_the_next_write(env: SyncerEnvironment) -> None:
    env.record(ANN, WEB)
    env.policies.grant(ANN)
    await sync(env, desiring(WEB, ANN, BOB))
    ledger = env.ledgers.ledger(SERVICE)
    assert (ledger.target_uid, ledger.entries.keys()) == ("first", {ANN, BOB})


async def test_declared_grant_is_made_again_on_a_recreated_target(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.recreate(SERVICE, "second")

    (result,) = await sync(env, desiring(WEB, ANN))

    assert state_of(result, ANN) is GrantState.GRANTED
    assert result.drifted == (ANN,)
    assert env.policies.present(SERVICE) == {ANN}
    assert env.ledgers.ledger(SERVICE).target_uid == "second"
    await sync(env, desiring(WEB))
    assert env.policies.present(SERVICE) == frozenset(), "the operator made it"


async def test_release_leaves_the_policy_of_another_target(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.recreate(SERVICE, "second", ANN)

    (result,) = await sync(env, desiring(WEB))

    assert env.policies.present(SERVICE) == {ANN}
    assert env.policies.sets == 1
    assert result.releasing == ()
    assert env.ledgers.ledger(SERVICE).is_empty


async def test_grant_of_another_person_on_a_recreated_target_stays(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN, BOB))
    env.recreate(SERVICE, "second", ANN)

    await sync(env, desiring(WEB, ANN, BOB))
    await sync(env, desiring(WEB))

    assert env.policies.present(SERVICE) == {ANN}


async def test_records_of_every_object_end_with_the_target(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN), desiring(OPS, BOB))
    env.recreate(SERVICE, "second", BOB)

    await sync(env, desiring(WEB, ANN), DesiredGrants(OPS, retains=(RETAIN_ALL,)))

    assert env.ledgers.ledger(SERVICE).entries.keys() == {ANN}


async def test_target_that_is_replaced_before_the_write_is_not_written(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))

    def replace() -> None:
        env.recreate(SERVICE, "second", ANN, BOB, Grant(SERVICE, "roles/viewer", ANN.member))

    env.policies.before_set = [replace]
    await sync(env, desiring(WEB))

    assert env.policies.present(SERVICE) >= {ANN, BOB}
    assert env.policies.sets == 2, "the attempt that the etag refused is the last"
    assert env.ledgers.ledger(SERVICE).is_empty


async def test_abandoned_grant_needs_no_unique_id(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.id_reads.clear()
    await sync(env, desiring(WEB, abandon=True))
    assert env.id_reads == []
    assert env.ledgers.ledger(SERVICE).is_empty


async def test_target_that_cannot_be_read_is_not_bound(env: SyncerEnvironment) -> None:
    env.target_ids[SERVICE] = fault(Fault.PERMISSION_DENIED)
    await sync(env, desiring(WEB, ANN))
    assert env.policies.present(SERVICE) == {ANN}
    assert env.ledgers.ledger(SERVICE).target_uid == ""
    await sync(env, desiring(WEB))
    assert env.policies.present(SERVICE) == frozenset()


@pytest.mark.parametrize("kind", [Fault.PERMISSION_DENIED, Fault.UNAVAILABLE])
async def test_bound_target_that_cannot_be_read_is_not_written(env: SyncerEnvironment, kind: Fault) -> None:
    await sync(env, desiring(WEB, ANN))
    env.target_ids[SERVICE] = fault(kind)

    (result,) = await sync(env, desiring(WEB))

    assert result.faults[SERVICE].fault is kind
    assert result.releasing == (ANN,)
    assert env.policies.present(SERVICE) == {ANN}


async def test_target_deleted_between_the_two_reads_is_missing(env: SyncerEnvironment) -> None:
    await sync(env, desiring(WEB, ANN))
    env.target_ids[SERVICE] = fault(Fault.NOT_FOUND)
    (result,) = await sync(env, desiring(WEB, ANN, BOB))
    assert result.missing == (SERVICE,)
    assert env.ledgers.ledger(SERVICE).entries[ANN].state is GrantState.PENDING


@pytest.mark.parametrize("present_before", [True, False])
async def test_no_entry_of_a_missing_target_stays_granted(
    env: SyncerEnvironment, present_before: bool
) -> None:
    env.record(ANN, WEB, present_before=present_before)
    env.record(BOB, OPS, present_before=present_before)
    env.policies.drop(SERVICE)

    await sync(env, desiring(WEB, ANN), DesiredGrants(OPS, retains=(RETAIN_ALL,)))

    entries = env.ledgers.ledger(SERVICE).entries
    assert {entry.state for entry in entries.values()} == {GrantState.PENDING}
    assert {entry.present_before for entry in entries.values()} == {present_before}


def record_account(env: SyncerEnvironment, **fields: object) -> None:
    """Record the account as one of an identity."""
    account = LedgerAccount(email=ACCOUNT.name, unique_id="first", owner="payments/app", **fields)
    env.ledgers.stored[ACCOUNT] = env.ledgers.ledger(ACCOUNT).with_account(account)


@pytest.mark.parametrize("declares", [True, False])
async def test_replaced_account_of_an_identity_is_left(env: SyncerEnvironment, declares: bool) -> None:
    record_account(env)
    await sync(env, desiring(WEB, ACTOR))
    other = Grant(ACCOUNT, "roles/viewer", "user:eve@example.com")
    env.recreate(ACCOUNT, "second", *([other] if declares else [ACTOR, other]))
    sets = env.policies.sets

    (result,) = await sync(env, desiring(WEB, *([ACTOR] if declares else [])))

    assert env.policies.sets == sets
    assert result.replaced == (ACCOUNT,)
    assert result.releasing == ()
    entries = env.ledgers.ledger(ACCOUNT).entries
    assert [entry.state for entry in entries.values()] == ([GrantState.PENDING] if declares else [])


async def test_present_grant_on_an_identity_s_account_needs_no_unique_id(
    env: SyncerEnvironment,
) -> None:
    """Such as all grants on an adopted account."""
    record_account(env)
    env.policies.grant(ACTOR)
    await sync(env, desiring(WEB, ACTOR))
    assert env.id_reads == []
    assert env.ledgers.ledger(ACCOUNT).target_uid == "first"

    env.target_ids[ACCOUNT] = "of another person"
    await sync(env, desiring(WEB, ACTOR, Grant(ACCOUNT, "roles/viewer", "group:g1@example.com")))
    assert env.policies.sets == 0, "the ID is read before a write"


async def test_account_of_no_identity_is_bound_to_its_unique_id(env: SyncerEnvironment) -> None:
    record_account(env)
    await sync(env, desiring(WEB, ACTOR))
    record_account(env, lost=AccountLoss.DELETED)
    env.policies.drop(ACCOUNT)
    await sync(env, DesiredGrants(WEB, retains=(RETAIN_ALL,)))
    env.ledgers.stored[ACCOUNT] = env.ledgers.ledger(ACCOUNT).with_account(None)
    env.policies.create(ACCOUNT)
    env.target_ids[ACCOUNT] = "of another person"
    env.policies.grant(ACTOR)

    await sync(env, desiring(WEB))

    assert env.policies.present(ACCOUNT) == {ACTOR}
    assert env.ledgers.ledger(ACCOUNT).is_empty


async def test_fresh_account_is_the_recorded_one(env: SyncerEnvironment) -> None:
    record_account(env)
    env.fresh.add(ACCOUNT.name)
    env.target_ids[ACCOUNT] = fault(Fault.NOT_FOUND)
    (result,) = await sync(env, desiring(WEB, ACTOR))
    assert state_of(result, ACTOR) is GrantState.GRANTED


async def test_fresh_account_that_was_created_again_is_not_written(env: SyncerEnvironment) -> None:
    record_account(env)
    env.fresh.add(ACCOUNT.name)
    env.target_ids[ACCOUNT] = "of another person"
    await sync(env, desiring(WEB, ACTOR))
    assert env.policies.sets == 0


@pytest.mark.parametrize("declared", [True, False])
async def test_grant_on_an_undeleted_account_is_still_managed(env: SyncerEnvironment, declared: bool) -> None:
    record_account(env)
    await sync(env, desiring(WEB, ACTOR))
    record_account(env, lost=AccountLoss.DELETED)
    await sync(env, desiring(WEB, ACTOR) if declared else DesiredGrants(WEB, retains=(RETAIN_ALL,)))
    assert env.ledgers.ledger(ACCOUNT).entries[ACTOR].state is GrantState.PENDING
    record_account(env)
    await sync(env, desiring(WEB, ACTOR))
    assert not env.ledgers.ledger(ACCOUNT).entries[ACTOR].present_before

    await sync(env, desiring(WEB))

    assert env.policies.present(ACCOUNT) == frozenset(), (
        "the policy of the undeleted account is the former one"
    )
