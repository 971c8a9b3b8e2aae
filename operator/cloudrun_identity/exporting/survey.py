"""Survey of a project: its accounts, custom roles and workloads, and the IAM policies on them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cloudrun_identity.api import MULTI_REGION, WorkloadKind
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.keys import Keys
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.run_regions import RUN_LOCATIONS
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import is_default_account
from cloudrun_identity.policy.merge import grants_in

CONCURRENT_READS = 16
"""Reads at the same time."""

Progress = Callable[[str], None]
"""Shows what is read at the moment."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DeclaredKey:
    """A key that another tool delivers, and that an IdentityKey replaces."""

    name: str
    """Name of the IdentityKey."""
    account: str
    """E-mail of the account."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The resources of a project, sorted."""

    project_id: str
    """The project."""
    locations: tuple[str, ...] = ()
    """The locations to list in the ManagedProject."""
    accounts: tuple[ServiceAccount, ...] = ()
    """All service accounts."""
    roles: tuple[CustomRoleState, ...] = ()
    """All custom roles, deleted ones included."""
    workloads: tuple[WorkloadState, ...] = ()
    """All workloads in the locations."""
    grants: tuple[Grant, ...] = ()
    """The grants in all policies that were read."""
    keys: tuple[DeclaredKey, ...] = ()
    """The keys to declare. Google Cloud does not know who uses a key, so a read of a project has none."""
    permissions: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Permissions by granted role: None if they cannot be read, no entry if the role does not exist."""
    hand_made_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """IDs of user-managed keys by e-mail of their account. The operator did not create them."""
    notes: tuple[str, ...] = ()
    """Parts of the project that could not be read."""
    attaching: frozenset[str] = frozenset()
    """Namespaces of other exports with attachments that refer to identities of the project."""
    referring: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Namespaces of other exports with objects that refer to an account, by its lower-case e-mail."""
    identities: Mapping[str, DeclaredIdentity] = field(default_factory=dict)
    """Identities in other exports, by the lower-case e-mails of their accounts."""


async def survey(
    clients: ProjectClients,
    project_id: str,
    locations: Iterable[str],
    named: Iterable[Target],
    progress: Progress = lambda _: None,
) -> Survey:
    """Read the project, Cloud Run in these locations, and the IAM policies of the named targets.

    Without locations, it reads all of Cloud Run, and the survey has the locations with workloads. `progress`
    is called with what is read at the moment.

    Raises:
        GoogleError: a read failed.

    """
    await Projects(clients).get(project_id)
    progress("reading the service accounts and custom roles")
    accounts = sorted(await ServiceAccounts(clients).list(project_id), key=lambda account: account.email)
    roles = (await CustomRoles(clients, time.monotonic).roles(project_id, 0.0)).values()
    reads = _Reads(progress)
    workloads, notes = await _workloads(clients, project_id, tuple(sorted(set(locations))), reads)
    found = tuple(sorted({state.workload.location for state in workloads}))
    targets = [
        Target.project(project_id),
        *(
            Target.service_account(project_id, account.email)
            for account in accounts
            if not is_default_account(account.email)
        ),
        # A multi-region service has its policy in its regions.
        *sorted(state.workload.target for state in workloads if state.workload.location != MULTI_REGION),
        *sorted(set(named)),
    ]
    grants = await _present(Policies(clients), targets, reads)
    keys, key_notes = await _hand_made_keys(Keys(clients, time.monotonic), accounts, reads)
    return Survey(
        project_id,
        tuple(sorted(set(locations))) or found,
        tuple(accounts),
        tuple(sorted(roles, key=lambda role: role.name)),
        tuple(sorted(workloads, key=lambda state: state.workload)),
        grants,
        permissions=await _expanded(Roles(clients), {grant.role for grant in grants}, project_id, reads),
        hand_made_keys=keys,
        notes=(*notes, *key_notes),
    )


class _Reads:
    """Runs reads at the same time, up to a limit, and reports their number."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._free = asyncio.Semaphore(CONCURRENT_READS)

    async def all(
        self, what: str, read: Callable[[Item], Awaitable[Result]], of: Iterable[Item]
    ) -> list[Result]:
        """Return the results of `read` for each item, in order. Raises what the first failing read raises."""
        items, done = list(of), 0

        async def one(item: Item) -> Result:
            nonlocal done
            async with self._free:
                result = await read(item)
            done += 1
            self._progress(f"reading {what}: {done:,} of {len(items):,}")
            return result

        return await asyncio.gather(*map(one, items))


async def _workloads(
    clients: ProjectClients, project_id: str, locations: tuple[str, ...], reads: _Reads
) -> tuple[list[WorkloadState], tuple[str, ...]]:
    """Return the workloads in the locations, and notes about what could not be read.

    Without locations, those that do not exist for the project are skipped, and so is Cloud Run if it is off.
    """
    run = Run(clients)

    async def listed(place: tuple[str, WorkloadKind]) -> list[WorkloadState] | GoogleError:
        try:
            return await run.list(project_id, *place)
        except GoogleError as error:
            if not locations and error.fault in _ABSENT:
                return error
            raise

    places = [(location, kind) for location in locations or RUN_LOCATIONS for kind in WorkloadKind]
    found = await reads.all("the lists of workloads", listed, places)
    is_off = any(isinstance(each, GoogleError) and each.fault is Fault.API_DISABLED for each in found)
    notes = (f"Cloud Run is not enabled in project {project_id}: there are no workloads",) if is_off else ()
    return [state for states in found if not isinstance(states, GoogleError) for state in states], notes


async def _hand_made_keys(
    keys: Keys, accounts: Iterable[ServiceAccount], reads: _Reads
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the IDs of user-managed keys by e-mail, and notes about what could not be read."""
    accounts = list(accounts)
    try:
        found = await reads.all(
            "the keys of accounts", lambda each: keys.list(each.project_id, each.email, 0.0), accounts
        )
    except GoogleError as error:
        if error.fault is not Fault.PERMISSION_DENIED:
            raise
        return {}, ("the keys of accounts cannot be read; grant yourself iam.serviceAccountKeys.list",)
    return {
        account.email: tuple(sorted(ids)) for account, ids in zip(accounts, found, strict=True) if ids
    }, ()


async def _present(policies: Policies, targets: Iterable[Target], reads: _Reads) -> tuple[Grant, ...]:
    """Return every grant on the targets, by target."""

    async def on(target: Target) -> list[Grant]:
        return sorted(grants_in(await policies.get(target), target), key=_order)

    found = await reads.all("IAM policies", on, targets)
    return tuple(grant for grants in found for grant in grants)


async def _expanded(
    roles: Roles, granted: Iterable[str], project_id: str, reads: _Reads
) -> dict[str, frozenset[str] | None]:
    """Return the permissions of roles, without those of roles that do not exist."""

    async def one(role: str) -> tuple[str, frozenset[str] | None] | None:
        try:
            return role, await roles.permissions(role, project_id)
        except GoogleError as error:
            if error.fault is Fault.PERMISSION_DENIED:
                return role, None
            if error.fault in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
                return None
            raise

    return dict(filter(None, await reads.all("roles", one, sorted(granted))))


def _order(grant: Grant) -> tuple[str, str, str]:
    condition = grant.condition
    return grant.role, f"{condition.title}\0{condition.expression}" if condition else "", grant.member


_ABSENT = frozenset({Fault.LOCATION_NOT_FOUND, Fault.API_DISABLED})
