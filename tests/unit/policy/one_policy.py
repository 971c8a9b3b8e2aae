"""Helpers for tests with one policy and two objects that desire grants on it."""

import asyncio

from cloudrun_identity.api import GrantState, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.backoff import GrantBackoff
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.syncers import GrantSyncResult, PolicySyncers

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
