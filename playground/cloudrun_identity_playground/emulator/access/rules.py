"""Which permission each method needs, and on what: the one table of it.

From the reference of each API and https://cloud.google.com/iam/docs/permissions-reference. Deploying to Cloud
Run needs more than stands here: see `deployments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias


@dataclass(frozen=True)
class Needs:
    """`permission` on the resource that the request names in `on` (dotted: a field of a field).

    `with_field` are further permissions on it that a request needs which sets a field.
    """

    permission: str
    on: str
    with_field: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finds:
    """Everybody may search; of what `results` holds, the caller sees what it has `permission` on."""

    permission: str
    results: str


@dataclass(frozen=True)
class Tells:
    """Everybody may ask which permissions it has on the resource that the request names in `on`."""

    on: str = "resource"


@dataclass(frozen=True)
class Lends:
    """A token or a signature of the account in `name`: `permission` on it, through `delegates` if any."""

    permission: str


@dataclass(frozen=True)
class Free:
    """No permission at all."""


Rule: TypeAlias = Needs | Finds | Tells | Lends | Free


def _policies(service: str, prefix: str) -> Iterator[tuple[str, Rule]]:
    """The three methods of every resource that has a policy."""
    yield f"{service}/GetIamPolicy", Needs(f"{prefix}.getIamPolicy", "resource")
    yield f"{service}/SetIamPolicy", Needs(f"{prefix}.setIamPolicy", "resource")
    yield f"{service}/TestIamPermissions", Tells()


def _workloads(noun: str, field_name: str) -> Iterator[tuple[str, Rule]]:
    """The methods of a kind of Cloud Run workload."""
    service, prefix = f"google.cloud.run.v2.{noun}s", f"run.{noun.lower()}s"
    yield f"{service}/Create{noun}", Needs(f"{prefix}.create", "parent")
    yield f"{service}/Get{noun}", Needs(f"{prefix}.get", "name")
    yield f"{service}/List{noun}s", Needs(f"{prefix}.list", "parent")
    yield f"{service}/Update{noun}", Needs(f"{prefix}.update", f"{field_name}.name")
    yield f"{service}/Delete{noun}", Needs(f"{prefix}.delete", "name")
    yield from _policies(service, prefix)


def _in(service: str, rules: Mapping[str, Rule]) -> Iterator[tuple[str, Rule]]:
    for method, rule in rules.items():
        yield f"{service}/{method}", rule


RULES: Final[Mapping[str, Rule]] = dict(
    [
        *_policies("google.iam.admin.v1.IAM", "iam.serviceAccounts"),
        *_in(
            "google.iam.admin.v1.IAM",
            {
                "CreateServiceAccount": Needs("iam.serviceAccounts.create", "name"),
                "GetServiceAccount": Needs("iam.serviceAccounts.get", "name"),
                "ListServiceAccounts": Needs("iam.serviceAccounts.list", "name"),
                "PatchServiceAccount": Needs("iam.serviceAccounts.update", "service_account.name"),
                "UpdateServiceAccount": Needs("iam.serviceAccounts.update", "name"),
                "DeleteServiceAccount": Needs("iam.serviceAccounts.delete", "name"),
                "UndeleteServiceAccount": Needs("iam.serviceAccounts.undelete", "name"),
                "EnableServiceAccount": Needs("iam.serviceAccounts.enable", "name"),
                "DisableServiceAccount": Needs("iam.serviceAccounts.disable", "name"),
                "SignBlob": Lends("iam.serviceAccounts.signBlob"),
                "SignJwt": Lends("iam.serviceAccounts.signJwt"),
                "CreateServiceAccountKey": Needs("iam.serviceAccountKeys.create", "name"),
                "UploadServiceAccountKey": Needs("iam.serviceAccountKeys.create", "name"),
                "GetServiceAccountKey": Needs("iam.serviceAccountKeys.get", "name"),
                "ListServiceAccountKeys": Needs("iam.serviceAccountKeys.list", "name"),
                "DeleteServiceAccountKey": Needs("iam.serviceAccountKeys.delete", "name"),
                "DisableServiceAccountKey": Needs("iam.serviceAccountKeys.disable", "name"),
                "EnableServiceAccountKey": Needs("iam.serviceAccountKeys.enable", "name"),
                # Predefined roles are everybody's: their names, and no parent, lead to no resource.
                "GetRole": Needs("iam.roles.get", "name"),
                "ListRoles": Needs("iam.roles.list", "parent"),
                "CreateRole": Needs("iam.roles.create", "parent"),
                "UpdateRole": Needs("iam.roles.update", "name"),
                "DeleteRole": Needs("iam.roles.delete", "name"),
                "UndeleteRole": Needs("iam.roles.undelete", "name"),
                "QueryGrantableRoles": Free(),
                "QueryTestablePermissions": Free(),
            },
        ),
        *_in(
            "google.iam.credentials.v1.IAMCredentials",
            {
                "GenerateAccessToken": Lends("iam.serviceAccounts.getAccessToken"),
                "GenerateIdToken": Lends("iam.serviceAccounts.getOpenIdToken"),
                "SignBlob": Lends("iam.serviceAccounts.signBlob"),
                "SignJwt": Lends("iam.serviceAccounts.signJwt"),
            },
        ),
        *_policies("google.cloud.resourcemanager.v3.Projects", "resourcemanager.projects"),
        *_policies("google.cloud.resourcemanager.v3.Folders", "resourcemanager.folders"),
        *_policies("google.cloud.resourcemanager.v3.Organizations", "resourcemanager.organizations"),
        *_in(
            "google.cloud.resourcemanager.v3.Projects",
            {
                "GetProject": Needs("resourcemanager.projects.get", "name"),
                "ListProjects": Needs("resourcemanager.projects.list", "parent"),
                "SearchProjects": Finds("resourcemanager.projects.get", "projects"),
            },
        ),
        *_in(
            "google.cloud.resourcemanager.v3.Folders",
            {
                "GetFolder": Needs("resourcemanager.folders.get", "name"),
                "ListFolders": Needs("resourcemanager.folders.list", "parent"),
                "SearchFolders": Finds("resourcemanager.folders.get", "folders"),
            },
        ),
        *_in(
            "google.cloud.resourcemanager.v3.Organizations",
            {
                "GetOrganization": Needs("resourcemanager.organizations.get", "name"),
                "SearchOrganizations": Finds("resourcemanager.organizations.get", "organizations"),
            },
        ),
        *_workloads("Service", "service"),
        *_workloads("Job", "job"),
        *_workloads("WorkerPool", "worker_pool"),
        *_in(
            "google.cloud.run.v2.Jobs",
            {
                "RunJob": Needs(
                    "run.jobs.run", "name", with_field={"overrides": "run.jobs.runWithOverrides"}
                ),
            },
        ),
        *_in(
            "google.cloud.run.v2.Revisions",
            {
                "GetRevision": Needs("run.revisions.get", "name"),
                "ListRevisions": Needs("run.revisions.list", "parent"),
                "DeleteRevision": Needs("run.revisions.delete", "name"),
            },
        ),
        *_in(
            "google.cloud.run.v2.Executions",
            {
                "GetExecution": Needs("run.executions.get", "name"),
                "ListExecutions": Needs("run.executions.list", "parent"),
                "DeleteExecution": Needs("run.executions.delete", "name"),
                "CancelExecution": Needs("run.executions.cancel", "name"),
            },
        ),
        *_in(
            "google.longrunning.Operations",
            {
                "GetOperation": Needs("run.operations.get", "name"),
                "WaitOperation": Needs("run.operations.get", "name"),
                "ListOperations": Needs("run.operations.list", "name"),
                "DeleteOperation": Needs("run.operations.delete", "name"),
            },
        ),
        *_policies("google.cloud.secretmanager.v1.SecretManagerService", "secretmanager.secrets"),
        *_in(
            "google.cloud.orgpolicy.v2.OrgPolicy",
            {
                "GetPolicy": Needs("orgpolicy.policy.get", "name"),
                "GetEffectivePolicy": Needs("orgpolicy.policy.get", "name"),
                "ListPolicies": Needs("orgpolicy.policies.list", "parent"),
                "ListConstraints": Needs("orgpolicy.constraints.list", "parent"),
                "CreatePolicy": Needs("orgpolicy.policies.create", "parent"),
                "UpdatePolicy": Needs("orgpolicy.policies.update", "policy.name"),
                "DeletePolicy": Needs("orgpolicy.policies.delete", "name"),
                "CreateCustomConstraint": Needs("orgpolicy.customConstraints.create", "parent"),
                "GetCustomConstraint": Needs("orgpolicy.customConstraints.get", "name"),
                "ListCustomConstraints": Needs("orgpolicy.customConstraints.list", "parent"),
                "UpdateCustomConstraint": Needs(
                    "orgpolicy.customConstraints.update", "custom_constraint.name"
                ),
                "DeleteCustomConstraint": Needs("orgpolicy.customConstraints.delete", "name"),
            },
        ),
    ]
)
"""By `package.Service/Method`; every method that is served stands here."""
