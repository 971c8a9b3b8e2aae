"""Workloads to make suggestions for: from manifests of Cloud Run, from attachments, and by name."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudrun_identity.api import IdentityAttachment, WorkloadKind
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.cloud_run_manifests import project_in, workload_in
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permission_checks import AccessState, PermissionChecks
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccounts
from cloudrun_identity.gcp.unique_ids import UniqueIDs
from cloudrun_identity.gcp.workloads import Workload, WorkloadState
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.principals import is_default_account
from cloudrun_identity.reconcile.references import declared_workload

from .declared import Declared
from .selection import LeftOut
from .suggestions import SuggestedGrant, Suggestion


class UnknownProject(Exception):
    """The project of a manifest is unknown. The message is one line."""


@dataclass(slots=True)
class Found:
    """Workloads, and what is known about their projects."""

    states: list[WorkloadState] = field(default_factory=list)
    """The workloads."""
    numbers: dict[str, str] = field(default_factory=dict)
    """Numbers of projects by ID."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Workloads that no suggestions are made for."""

    def add(self, state: WorkloadState) -> None:
        """Add a workload that was read. An attachment cannot replace the default account of a function."""
        if state.managed_by and (not state.service_account or is_default_account(state.service_account)):
            why = f"runs as the default account and is deployed by {state.managed_by}; set its account there"
            self.left_out.append(LeftOut(str(state.workload), why))
        else:
            self.states.append(state)


def in_manifest(
    document: Mapping[str, Any], declared: Declared, project: str, location: str, found: Found
) -> None:
    """Add the workload of a manifest. `project` and `location` are used if the manifest has none.

    The namespace in the manifest is the number of the project, or its ID.

    Raises:
        InvalidManifest: the manifest is not that of a workload.
        UnknownProject: the ID of the project is unknown.

    """
    named = project_in(document)
    known = declared.project_on(named)
    project_id = known.project_id if known else project or (named if not named.isdigit() else "")
    if not project_id:
        what = f"project {named}, by its number only" if named else "no project"
        raise UnknownProject(f"names {what}: name the ID of its project with --project")
    if named.isdigit():
        found.numbers[project_id] = named
    found.states.append(workload_in(document, project_id, location))


def attached_workloads(
    attachments: Iterable[IdentityAttachment], declared: Declared, found: Found
) -> tuple[Workload, ...]:
    """Return the workloads of attachments that are not among those found in manifests."""
    known = {state.workload for state in found.states}
    named = (declared_workload(each, declared.project_id(each.spec.project_ref.name)) for each in attachments)
    return tuple(workload for workload in dict.fromkeys(named) if workload not in known)


def permission_checks(clients: ProjectClients) -> PermissionChecks:
    """Return the checks of what the policies grant."""
    unique_ids = UniqueIDs(clients, ServiceAccounts(clients))
    return PermissionChecks(Policies(clients), Roles(clients), unique_ids, time.monotonic)


async def read_workloads(clients: ProjectClients, workloads: Iterable[Workload], found: Found) -> None:
    """Read workloads by name. Raises GoogleError."""
    run = Run(clients)
    for workload in workloads:
        try:
            found.add(await run.get(workload))
        except GoogleError as error:
            if error.fault is not Fault.NOT_FOUND:
                raise
            why = f"does not exist in project {workload.project_id}"
            found.left_out.append(LeftOut(str(workload), why))


async def list_workloads(
    clients: ProjectClients, project_id: str, locations: Sequence[str], found: Found
) -> None:
    """Read all workloads of a project in some locations. Raises GoogleError."""
    run = Run(clients)
    for location in locations:
        for kind in WorkloadKind:
            for state in await run.list(project_id, location, kind):
                found.add(state)


async def read_numbers(clients: ProjectClients, found: Found) -> None:
    """Read the numbers of the workloads' projects. One that may not be read stays unknown.

    Raises GoogleError.
    """
    projects = Projects(clients)
    for project_id in sorted({state.workload.project_id for state in found.states} - found.numbers.keys()):
        try:
            found.numbers[project_id] = (await projects.get(project_id)).number
        except GoogleError as error:
            if error.fault is not Fault.PERMISSION_DENIED:
                raise


async def held_grants(
    checks: PermissionChecks, suggestions: Iterable[Suggestion]
) -> frozenset[SuggestedGrant]:
    """Return the suggested grants whose access the policies in Google Cloud give already."""
    held = set()
    for suggestion in suggestions:
        for grant in suggestion.grants:
            if grant.member and await _is_held(checks, grant):
                held.add(grant)
    return frozenset(held)


async def _is_held(checks: PermissionChecks, grant: SuggestedGrant) -> bool:
    need = grant.need
    targets = dict.fromkeys((need.target, Target.project(need.target.project_id)))
    condition = need.condition.expression if need.condition else ""
    state = await checks.member_access(grant.member, need.access.permission, *targets, condition=condition)
    return state is AccessState.GRANTED
