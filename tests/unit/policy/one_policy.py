"""Helpers for tests with one policy and two objects that desire grants on it."""

import asyncio

import pytest

from cloudrun_identity.api import GrantState, LedgerEntry, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.backoff import GrantBackoff
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.results import GrantSyncResult
from cloudrun_identity.policy.syncers import PolicySyncers
from tests.unit.policy.fake_policies import Crash
from tests.unit.policy.fakes import SyncerEnvironment

TARGET = Target(TargetKind.PROJECT, "acme")
ROLE = "roles/run.invoker"
WEB = Owner("IAMBinding", "payments", "web", "uid-1")
OPS = Owner("IAMBinding", "payments", "ops", "uid-2")
ANN, BOB, EVE = (
    Grant(TARGET, ROLE, f"serviceAccount:{name}@acme.iam.gserviceaccount.com")
    for name in ("ann", "bob", "eve")
)


def now() -> float:
    return asyncio.get_running_loop().time()


def desiring(owner: Owner, *grants: Grant, **fields: object) -> DesiredGrants:
    return DesiredGrants(owner, frozenset(map(DesiredGrant, grants)), **fields)


async def synced(syncers: PolicySyncers, *declared: DesiredGrants) -> list[GrantSyncResult]:
    for desired in declared:
        syncers.declare(desired)
    return await asyncio.gather(*(syncers.sync(desired.owner) for desired in declared))


async def synced_after(syncers: PolicySyncers, owner: Owner, after: float) -> GrantSyncResult:
    await asyncio.sleep(after)
    return await syncers.sync(owner)


async def crashed(env: SyncerEnvironment, *grants: Grant, before: int) -> None:
    """Sync in a process that crashes before the write with this number: ledger, policy, ledger, …"""
    env.journal.crash_before = len(env.journal.steps) + before
    with pytest.raises(Crash):
        await synced(PolicySyncers(env.ports), desiring(WEB, *grants))
    env.journal.crash_before = None


async def resumed(env: SyncerEnvironment, *grants: Grant) -> GrantSyncResult:
    """Sync in the next process."""
    (result,) = await synced(PolicySyncers(env.ports), desiring(WEB, *grants))
    return result


async def released(env: SyncerEnvironment) -> frozenset[Grant]:
    """Release all grants of the object. Return the grants that stay."""
    await synced(PolicySyncers(env.ports), DesiredGrants(WEB, ending=True))
    return env.policies.present(TARGET)


def recorded(env: SyncerEnvironment, grant: Grant) -> LedgerEntry:
    return env.ledgers.ledger(TARGET).entries[grant]


def state_of(sync_result: GrantSyncResult, grant: Grant) -> GrantState:
    return next(
        grant_result.state for grant_result in sync_result.grant_results if grant_result.grant == grant
    )


def backoff_of(sync_result: GrantSyncResult, grant: Grant) -> GrantBackoff:
    backoff = next(
        grant_result.backoff for grant_result in sync_result.grant_results if grant_result.grant == grant
    )
    assert backoff
    return backoff
