"""Removal of the temporary resources of this run, and of earlier runs that could not remove theirs."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress

from google.iam.v1 import policy_pb2

from cloudrun_identity.api import WorkloadKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.service_accounts import ServiceAccount, project_id_of_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import Tombstone, email
from cloudrun_identity.policy.merge import grants_in

from .sandbox import LABEL, MARK, PREFIX, Sandbox
from .workloads import delete

_NOT_SERVED = frozenset({Fault.API_DISABLED, Fault.LOCATION_NOT_FOUND, Fault.UNIMPLEMENTED})
"""Faults of a list where nothing can exist."""

_FAILURES = (GoogleError, TimeoutError)


@asynccontextmanager
async def cleaned(sandbox: Sandbox, left: list[str]) -> AsyncIterator[None]:
    """Clean up before the block, and after it whatever happens in it.

    `left` receives one line for each resource that could not be removed.
    """
    await clean_up(sandbox)
    try:
        yield
    finally:
        left += await clean_up(sandbox)


async def clean_up(sandbox: Sandbox) -> list[str]:
    """Remove the temporary resources of all runs. Return a line for each that could not be removed."""
    # The effect of an interrupted write is known when it has ended.
    for task in tuple(sandbox.pending):
        await _ended(task)
    left: list[str] = []
    for target in _shared_targets(sandbox):
        left += await _attempt(f"grants in the policy of {target}", _revoke(sandbox, target))
    for kind in WorkloadKind:
        left += await _delete_workloads(sandbox, kind)
    left += await _delete_accounts(sandbox)
    for target in _shared_targets(sandbox):  # a grant that a write had added in the meantime
        left += await _attempt(f"grants in the policy of {target}", _revoke(sandbox, target))
    return list(dict.fromkeys(left))


def grants_of_runs(policy: policy_pb2.Policy, target: Target) -> Iterator[Grant]:
    """Yield the grants of temporary accounts in a policy, also those of deleted accounts."""
    for grant in grants_in(policy, target):
        tombstone = Tombstone.parse(grant.member)
        address = email(tombstone.member if tombstone else grant.member)
        if address.startswith(PREFIX) and project_id_of_email(address) == target.project_id:
            yield grant


async def _ended(task: Awaitable[object]) -> None:
    with suppress(*_FAILURES):  # the check has reported it
        await task


async def _attempt(what: str, work: Awaitable[object]) -> list[str]:
    try:
        await work
    except _FAILURES as error:
        return [f"{what}: {error}"]
    return []


def _shared_targets(sandbox: Sandbox) -> Iterator[Target]:
    """Yield the targets that remain after the run."""
    yield sandbox.project
    if sandbox.settings.secret:
        yield Target.secret(sandbox.project_id, sandbox.settings.secret)


async def _revoke(sandbox: Sandbox, target: Target) -> None:
    found = tuple(grants_of_runs(await sandbox.policies.get(target), target))
    if found:
        await sandbox.remove(*found)


async def _delete_workloads(sandbox: Sandbox, kind: WorkloadKind) -> list[str]:
    try:
        states = await sandbox.run.list(sandbox.project_id, sandbox.settings.location, kind)
    except GoogleError as error:
        return [] if error.fault in _NOT_SERVED else [f"workloads of kind {kind}: {error}"]
    left: list[str] = []
    for state in states:
        if state.workload.name.startswith(PREFIX) and LABEL in state.message.labels:
            left += await _attempt(str(state.workload), _delete_workload(sandbox, state.workload))
    return left


async def _delete_workload(sandbox: Sandbox, workload: Workload) -> None:
    try:
        await sandbox.write(delete(sandbox.clients, workload))
    except GoogleError as error:
        if error.fault is not Fault.NOT_FOUND:
            raise

    async def is_deleted() -> bool:
        try:
            await sandbox.run.get(workload)
        except GoogleError as error:
            if error.fault is Fault.NOT_FOUND:
                return True
            raise
        return False

    await sandbox.until(is_deleted)


async def _delete_accounts(sandbox: Sandbox) -> list[str]:
    try:
        listed = await sandbox.accounts.list(sandbox.project_id)
    except GoogleError as error:
        return [f"service accounts: {error}"]
    # A list may not show the newest accounts of this run yet.
    accounts = {account.unique_id: account for account in listed if _is_temporary(account)} | sandbox.created
    left: list[str] = []
    for account in accounts.values():
        left += await _attempt(f"service account {account.email}", sandbox.delete_account(account))
    return left


def _is_temporary(account: ServiceAccount) -> bool:
    return account.email.startswith(PREFIX) and account.description == MARK
