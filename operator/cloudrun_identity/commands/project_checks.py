"""Checks of a ManagedProject in Google Cloud: project, APIs, permissions, organization policies, quotas."""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from cloudrun_identity.api import (
    MULTI_REGION,
    TARGET_KINDS,
    CrossProjectUsage,
    KeyAdmission,
    ManagedProject,
    TargetKind,
    TargetKindDescriptor,
    WorkloadKind,
)
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.gcp.client_pool import ClientPool, credential_of
from cloudrun_identity.gcp.clients import GoogleClients, ProjectClients
from cloudrun_identity.gcp.custom_roles import CustomRoles
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.org_policies import CROSS_PROJECT_USAGE, OrgPolicies
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS, FEATURES, needed
from cloudrun_identity.gcp.policies import Policies
from cloudrun_identity.gcp.projects import Projects
from cloudrun_identity.gcp.run import Run
from cloudrun_identity.gcp.service_accounts import ServiceAccounts, expected_email
from cloudrun_identity.gcp.workloads import Workload
from cloudrun_identity.iam.delegation import entries_on
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.reconcile.advice import advised

from .check_results import Result, failed, passed, skipped
from .feed_checks import check_feed
from .granting import additions
from .quota_checks import check_quotas

PROBE: Final = "cloudrun-identity-check"
"""Name of a resource that probably does not exist. Reading it shows whether an API is enabled."""

_UNUSABLE: Final = frozenset(
    {Fault.API_DISABLED, Fault.UNAVAILABLE, Fault.PERIMETER_VIOLATION, Fault.UNIMPLEMENTED}
)
"""Faults that show that an API cannot be used. A resource that does not exist shows that it can."""

ANYWHERE: Final = "us-central1"
"""Location of the probe in projects without `spec.locations`."""

NO_ACCOUNTS: Final = "iam.disableServiceAccountCreation"
NO_KEYS: Final = "iam.disableServiceAccountKeyCreation"


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of Google Cloud, with the credentials of each ManagedProject."""

    projects: Projects
    """The project itself."""
    policies: Policies
    """Permissions, and policies of secrets."""
    service_accounts: ServiceAccounts
    """The IAM API."""
    run: Run
    """The Cloud Run API."""
    org_policies: OrgPolicies
    """Organization policies."""
    custom_roles: CustomRoles
    """Custom roles of projects."""

    @classmethod
    def of(cls, clients: ProjectClients) -> "Clients":
        """Return the clients on one pool of connections."""
        return cls(
            Projects(clients),
            Policies(clients),
            ServiceAccounts(clients),
            Run(clients),
            OrgPolicies(clients),
            CustomRoles(clients, time.monotonic),
        )


async def check_projects(raws: Iterable[Object], own: GoogleClients, operator: str) -> tuple[Result, ...]:
    """Return the results for all ManagedProjects, each read with the credentials that it declares.

    `own` are the clients with the credentials of the operator, and `operator` is its principal.
    """
    projects: list[ManagedProject] = []
    results: list[Result] = []
    for raw in raws:
        try:
            projects.append(ManagedProject.model_validate(raw))
        except ValidationError as error:
            name = f"ManagedProject {raw['metadata']['name']}"
            results.append(failed(name, f"is invalid: {misfits(error)[0]}"))
    credentials = {project.project_id: credential_of(project) for project in projects}
    pool = ClientPool(own, lambda project_id: credentials[project_id])
    try:
        clients = Clients.of(pool)
        found = await asyncio.gather(*(check_project(each, clients, operator) for each in projects))
        feeds = await asyncio.gather(*(check_feed(_name_of(each), each, own, operator) for each in projects))
    finally:
        await pool.close()
    return (
        *results,
        *(result for pair in zip(found, feeds, strict=True) for each in pair for result in each),
    )


async def check_project(project: ManagedProject, clients: Clients, operator: str) -> tuple[Result, ...]:
    """Return the results for one ManagedProject. `operator` is the operator's principal."""
    name = _name_of(project)
    if project.spec.suspend:
        return (skipped(name, "is suspended, so the operator makes no calls"),)
    project_id = project.project_id
    try:
        found = await clients.projects.get(project_id)
    except GoogleError as error:
        if error.fault is not Fault.PERMISSION_DENIED:
            return (failed(name, f"project {project_id} cannot be read: {advised(error)}"),)
        message = f"project {project_id} does not exist, or the operator may not read it"
        return (failed(name, message, *additions(project, operator, _wanted(project))),)
    if not found.active:
        message = f"project {project_id} is being deleted"
        return (failed(name, message, f"gcloud projects undelete {project_id}"),)
    return tuple(
        await asyncio.gather(
            _check_apis(f"{name}: APIs", project, clients),
            _check_permissions(f"{name}: permissions", project, clients, operator),
            _check_org_policies(f"{name}: organization policies", project, clients),
            check_quotas(
                f"{name}: quotas",
                project_id,
                clients.service_accounts,
                clients.custom_roles,
                clients.policies,
            ),
        )
    )


def _name_of(project: ManagedProject) -> str:
    """Return the start of the names of a project's checks."""
    return f"ManagedProject {project.metadata.name}"


def _wanted(project: ManagedProject) -> set[str]:
    """Return the permissions that the guardrails of the project make necessary."""
    return {permission for feature in needed(project) for permission in FEATURES[feature]}


async def _check_apis(check: str, project: ManagedProject, clients: Clients) -> Result:
    """Check the APIs with a read each. A refusal shows that the API is enabled."""
    probes = dict(_probes(project, clients))
    errors = await asyncio.gather(*map(_error_of, probes.values()))
    unusable = {
        api: error for api, error in zip(probes, errors, strict=True) if error and error.fault in _UNUSABLE
    }
    if not unusable:
        return passed(check, ", ".join(probes))
    disabled = " ".join(api for api, error in unusable.items() if error.fault is Fault.API_DISABLED)
    message = "; ".join(f"{api}: {_told(error)}" for api, error in unusable.items())
    remedy = [f"gcloud services enable {disabled} --project={project.project_id}"] if disabled else []
    return failed(check, message, *remedy)


def _told(error: GoogleError) -> str:
    """Return the message of an error, with the remedy that no command of the check contains."""
    return advised(error) if error.fault is Fault.UNIMPLEMENTED else error.message


def _probes(project: ManagedProject, clients: Clients) -> Iterator[tuple[str, Awaitable[object]]]:
    project_id = project.project_id
    # A multi-region service has its policy in its regions.
    location = next((each for each in project.spec.locations if each != MULTI_REGION), ANYWHERE)
    account = expected_email(project_id, PROBE)
    yield "iam.googleapis.com", clients.service_accounts.get(project_id, account)
    workload = Workload(WorkloadKind.SERVICE, project_id, location, PROBE)
    yield "run.googleapis.com", clients.run.get(workload)
    yield "orgpolicy.googleapis.com", clients.org_policies.is_enforced(project_id, NO_ACCOUNTS)
    admitted = {
        descriptor.host: descriptor
        for kind, descriptor in TARGET_KINDS.items()
        # The name of the probe could belong to another project.
        if descriptor.is_admitted_by_name_only
        and descriptor.is_named_in_project
        and descriptor.host
        and entries_on(project, kind)
    }
    services = {each for entry in entries_on(project, TargetKind.RESOURCE) for each in entry.services or ()}
    for service in sorted(services - admitted.keys()):
        name = f"locations/{location}/{PROBE}s/{PROBE}"
        target = Target(TargetKind.RESOURCE, project_id, location, name, service=service)
        yield service, clients.policies.get(target)
    for host, descriptor in admitted.items():
        yield host, clients.policies.get(_probe_of(descriptor, project_id, location))


def _probe_of(descriptor: TargetKindDescriptor, project_id: str, location: str) -> Target:
    """Return a target of the kind that probably does not exist."""
    return Target(
        descriptor.kind,
        project_id,
        location if descriptor.has_location else "",
        PROBE,
        PROBE if descriptor.parent else "",
    )


async def _check_permissions(check: str, project: ManagedProject, clients: Clients, operator: str) -> Result:
    wanted = _wanted(project)
    try:
        held = await clients.policies.test_permissions(Target.project(project.project_id), wanted)
    except GoogleError as error:
        return failed(check, f"cannot be tested: {advised(error)}")
    missing = wanted - held - ACCOUNT_PERMISSIONS
    if missing:
        commands = additions(project, operator, missing)
        return failed(check, f"missing: {', '.join(sorted(missing))}", *commands)
    on_accounts = sorted(wanted - held)
    if on_accounts:
        return passed(check, f"all, if these are granted on single accounts: {', '.join(on_accounts)}")
    return passed(check, f"all {len(wanted)}")


async def _check_org_policies(check: str, project: ManagedProject, clients: Clients) -> Result:
    """Check the constraints that block what the ManagedProject admits.

    Source: https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts
    """
    constraints = [NO_ACCOUNTS]
    if project.spec.guardrails.keys is not KeyAdmission.DENIED:
        constraints.append(NO_KEYS)
    if project.spec.cross_project_usage is CrossProjectUsage.ALLOW:
        constraints.append(CROSS_PROJECT_USAGE)
    try:
        enforced = [
            each for each in constraints if await clients.org_policies.is_enforced(project.project_id, each)
        ]
    except GoogleError as error:
        return skipped(check, f"cannot be read: {advised(error)}")
    if not enforced:
        return passed(check, f"none of {', '.join(constraints)} is enforced")
    remedy = (
        f"gcloud resource-manager org-policies disable-enforce {each} --project={project.project_id}"
        for each in enforced
    )
    return failed(check, f"enforced: {', '.join(enforced)}", *remedy)


async def _error_of(call: Awaitable[object]) -> GoogleError | None:
    try:
        await call
    except GoogleError as error:
        return error
    return None
