"""Survey of a project: its accounts, custom roles and workloads, and the IAM policies on them."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloudrun_identity.api import MULTI_REGION, WorkloadKind
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.custom_roles import CustomRoles, CustomRoleState
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccount, ServiceAccounts
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import is_default_account
from cloudrun_identity.policy.merge import grants_in

CONCURRENT_READS = 16
"""Policies read at the same time."""


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
    """The locations whose workloads were read."""
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
    referring: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Namespaces of other exports whose objects refer to an account, by its lower-case e-mail."""
    identities: Mapping[str, DeclaredIdentity] = field(default_factory=dict)
    """Identities in other exports, by the lower-case e-mails of their accounts."""


async def survey(
    clients: ProjectClients, project_id: str, locations: Iterable[str], named: Iterable[Target]
) -> Survey:
    """Read the project, Cloud Run in these locations, and the IAM policies of the named targets.

    Raises:
        GoogleError: a read failed.

    """
    await Projects(clients).get(project_id)
    accounts = sorted(await ServiceAccounts(clients).list(project_id), key=lambda account: account.email)
    roles = (await CustomRoles(clients, time.monotonic).roles(project_id, 0.0)).values()
    run, locations = Run(clients), tuple(sorted(set(locations)))
    workloads = [
        state
        for location in locations
        for kind in WorkloadKind
        for state in await run.list(project_id, location, kind)
    ]
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
    grants = await _present(Policies(clients), targets)
    return Survey(
        project_id,
        locations,
        tuple(accounts),
        tuple(sorted(roles, key=lambda role: role.name)),
        tuple(sorted(workloads, key=lambda state: state.workload)),
        grants,
        permissions=await _expanded(Roles(clients), {grant.role for grant in grants}, project_id),
    )


async def _present(policies: Policies, targets: Iterable[Target]) -> tuple[Grant, ...]:
    """Return every grant on the targets, by target."""
    free = asyncio.Semaphore(CONCURRENT_READS)

    async def on(target: Target) -> list[Grant]:
        async with free:
            return sorted(grants_in(await policies.get(target), target), key=_order)

    return tuple(grant for grants in await asyncio.gather(*map(on, targets)) for grant in grants)


async def _expanded(
    roles: Roles, granted: Iterable[str], project_id: str
) -> dict[str, frozenset[str] | None]:
    expanded: dict[str, frozenset[str] | None] = {}
    for role in sorted(granted):
        try:
            expanded[role] = await roles.permissions(role, project_id)
        except GoogleError as error:
            if error.fault is Fault.PERMISSION_DENIED:
                expanded[role] = None
            elif error.fault not in (Fault.NOT_FOUND, Fault.INVALID_ARGUMENT):
                raise
    return expanded


def _order(grant: Grant) -> tuple[str, str, str]:
    condition = grant.condition
    return grant.role, f"{condition.title}\0{condition.expression}" if condition else "", grant.member
