"""The permission that each method needs, and the resource it needs it on.

Sources are the reference of each API and https://cloud.google.com/iam/docs/permissions-reference. Deploying
to Cloud Run needs more; see `deployments`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cloudrun_identity.api import TARGET_KINDS
from cloudrun_identity_playground.emulator.apis.target_messages import SERVED
from cloudrun_identity_playground.emulator.apis.target_names import DESCRIBED


@dataclass(frozen=True)
class RequiresPermission:
    """A method that needs `permission` on the resource in the request's field `on` (dotted if nested).

    `with_field` are further permissions that a request needs if it sets a field.
    """

    permission: str
    on: str
    with_field: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RequiresPolicyPermission:
    """A policy method that resources of several kinds have. It needs the permission `verb` of the kind."""

    verb: str


@dataclass(frozen=True)
class RequiresActivityPermission:
    """A query of activities on the project in `parent`. It needs the permission of the type of activity."""


@dataclass(frozen=True)
class FiltersResults:
    """A search that everyone may make. It returns the items on which the caller has `permission`."""

    permission: str
    results: str


@dataclass(frozen=True)
class ReturnsPermissions:
    """A method that returns the caller's permissions on the resource in the request's field `on`."""

    on: str = "resource"


@dataclass(frozen=True)
class Impersonates:
    """A token or signature of the account in `name`, through `delegates`, that needs `permission` on it."""

    permission: str


@dataclass(frozen=True)
class Unrestricted:
    """A method that needs no permission."""


Rule: TypeAlias = (
    RequiresPermission
    | RequiresPolicyPermission
    | RequiresActivityPermission
    | FiltersResults
    | ReturnsPermissions
    | Impersonates
    | Unrestricted
)


def _policies(service: str, prefix: str) -> Iterator[tuple[str, Rule]]:
    """Yield the three methods of every resource with a policy."""
    yield f"{service}/GetIamPolicy", RequiresPermission(f"{prefix}.getIamPolicy", "resource")
    yield f"{service}/SetIamPolicy", RequiresPermission(f"{prefix}.setIamPolicy", "resource")
    yield f"{service}/TestIamPermissions", ReturnsPermissions()


def _policies_of_targets() -> Iterator[tuple[str, Rule]]:
    """Yield the methods of the target kinds that read or write a policy."""
    prefixes: defaultdict[str, set[str]] = defaultdict(set)
    for descriptor in (*TARGET_KINDS.values(), *DESCRIBED):
        if not descriptor.permission_prefix:
            continue
        prefixes[descriptor.policy_service].add(descriptor.permission_prefix)
    for service, shared in prefixes.items():
        yield from _policies(service, min(shared))
        if len(shared) > 1:
            for verb in ("getIamPolicy", "setIamPolicy"):
                yield f"{service}/{verb[:1].upper()}{verb[1:]}", RequiresPolicyPermission(verb)


def _workloads(noun: str, field_name: str) -> Iterator[tuple[str, Rule]]:
    """Yield the methods of a kind of Cloud Run workload."""
    service, prefix = f"google.cloud.run.v2.{noun}s", f"run.{noun.lower()}s"
    yield f"{service}/Create{noun}", RequiresPermission(f"{prefix}.create", "parent")
    yield f"{service}/Get{noun}", RequiresPermission(f"{prefix}.get", "name")
    yield f"{service}/List{noun}s", RequiresPermission(f"{prefix}.list", "parent")
    yield f"{service}/Update{noun}", RequiresPermission(f"{prefix}.update", f"{field_name}.name")
    yield f"{service}/Delete{noun}", RequiresPermission(f"{prefix}.delete", "name")


def _in(service: str, rules: Mapping[str, Rule]) -> Iterator[tuple[str, Rule]]:
    for method, rule in rules.items():
        yield f"{service}/{method}", rule


RULES: Final[Mapping[str, Rule]] = dict(
    [
        *_policies_of_targets(),
        *(
            (descriptor.get_method, RequiresPermission(descriptor.read_permission, "name"))
            for descriptor in SERVED.values()
        ),
        *_in(
            "google.iam.admin.v1.IAM",
            {
                "CreateServiceAccount": RequiresPermission("iam.serviceAccounts.create", "name"),
                "GetServiceAccount": RequiresPermission("iam.serviceAccounts.get", "name"),
                "ListServiceAccounts": RequiresPermission("iam.serviceAccounts.list", "name"),
                "PatchServiceAccount": RequiresPermission(
                    "iam.serviceAccounts.update", "service_account.name"
                ),
                "UpdateServiceAccount": RequiresPermission("iam.serviceAccounts.update", "name"),
                "DeleteServiceAccount": RequiresPermission("iam.serviceAccounts.delete", "name"),
                "UndeleteServiceAccount": RequiresPermission("iam.serviceAccounts.undelete", "name"),
                "EnableServiceAccount": RequiresPermission("iam.serviceAccounts.enable", "name"),
                "DisableServiceAccount": RequiresPermission("iam.serviceAccounts.disable", "name"),
                "SignBlob": Impersonates("iam.serviceAccounts.signBlob"),
                "SignJwt": Impersonates("iam.serviceAccounts.signJwt"),
                "CreateServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.create", "name"),
                "UploadServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.create", "name"),
                "GetServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.get", "name"),
                "ListServiceAccountKeys": RequiresPermission("iam.serviceAccountKeys.list", "name"),
                "DeleteServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.delete", "name"),
                "DisableServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.disable", "name"),
                "EnableServiceAccountKey": RequiresPermission("iam.serviceAccountKeys.enable", "name"),
                # Predefined roles and an empty parent are no resources: no permission is needed.
                "GetRole": RequiresPermission("iam.roles.get", "name"),
                "ListRoles": RequiresPermission("iam.roles.list", "parent"),
                "CreateRole": RequiresPermission("iam.roles.create", "parent"),
                "UpdateRole": RequiresPermission("iam.roles.update", "name"),
                "DeleteRole": RequiresPermission("iam.roles.delete", "name"),
                "UndeleteRole": RequiresPermission("iam.roles.undelete", "name"),
                "QueryGrantableRoles": Unrestricted(),
                "QueryTestablePermissions": Unrestricted(),
            },
        ),
        *_in(
            "google.iam.v2.Policies",
            {
                "ListPolicies": RequiresPermission("iam.denypolicies.list", "parent"),
                "GetPolicy": RequiresPermission("iam.denypolicies.get", "name"),
            },
        ),
        *_in(
            "google.iam.v3.PolicyBindings",
            {"ListPolicyBindings": RequiresPermission("iam.policybindings.list", "parent")},
        ),
        *_in(
            "google.iam.credentials.v1.IAMCredentials",
            {
                "GenerateAccessToken": Impersonates("iam.serviceAccounts.getAccessToken"),
                "GenerateIdToken": Impersonates("iam.serviceAccounts.getOpenIdToken"),
                "SignBlob": Impersonates("iam.serviceAccounts.signBlob"),
                "SignJwt": Impersonates("iam.serviceAccounts.signJwt"),
            },
        ),
        *_in(
            "google.cloud.resourcemanager.v3.Projects",
            {
                "GetProject": RequiresPermission("resourcemanager.projects.get", "name"),
                "ListProjects": RequiresPermission("resourcemanager.projects.list", "parent"),
                "SearchProjects": FiltersResults("resourcemanager.projects.get", "projects"),
            },
        ),
        *_in(
            "google.cloud.resourcemanager.v3.Folders",
            {
                "GetFolder": RequiresPermission("resourcemanager.folders.get", "name"),
                "ListFolders": RequiresPermission("resourcemanager.folders.list", "parent"),
                "SearchFolders": FiltersResults("resourcemanager.folders.get", "folders"),
            },
        ),
        *_in(
            "google.cloud.resourcemanager.v3.Organizations",
            {
                "GetOrganization": RequiresPermission("resourcemanager.organizations.get", "name"),
                "SearchOrganizations": FiltersResults("resourcemanager.organizations.get", "organizations"),
            },
        ),
        *_workloads("Service", "service"),
        *_workloads("Job", "job"),
        *_workloads("WorkerPool", "worker_pool"),
        *_in(
            "google.cloud.run.v2.Jobs",
            {
                "RunJob": RequiresPermission(
                    "run.jobs.run", "name", with_field={"overrides": "run.jobs.runWithOverrides"}
                ),
            },
        ),
        *_in(
            "google.cloud.run.v2.Revisions",
            {
                "GetRevision": RequiresPermission("run.revisions.get", "name"),
                "ListRevisions": RequiresPermission("run.revisions.list", "parent"),
                "DeleteRevision": RequiresPermission("run.revisions.delete", "name"),
            },
        ),
        *_in(
            "google.cloud.run.v2.Executions",
            {
                "GetExecution": RequiresPermission("run.executions.get", "name"),
                "ListExecutions": RequiresPermission("run.executions.list", "parent"),
                "DeleteExecution": RequiresPermission("run.executions.delete", "name"),
                "CancelExecution": RequiresPermission("run.executions.cancel", "name"),
            },
        ),
        *_in(
            "google.logging.v2.ConfigServiceV2",
            {
                "CreateSink": RequiresPermission("logging.sinks.create", "parent"),
                "GetSink": RequiresPermission("logging.sinks.get", "sink_name"),
                "UpdateSink": RequiresPermission("logging.sinks.update", "sink_name"),
                "DeleteSink": RequiresPermission("logging.sinks.delete", "sink_name"),
                "ListSinks": RequiresPermission("logging.sinks.list", "parent"),
            },
        ),
        *_in(
            "google.logging.v2.LoggingServiceV2",
            {"ListLogEntries": RequiresPermission("logging.logEntries.list", "resource_names")},
        ),
        *_in(
            "google.pubsub.v1.Publisher",
            {
                "CreateTopic": RequiresPermission("pubsub.topics.create", "name"),
                "GetTopic": RequiresPermission("pubsub.topics.get", "topic"),
                "UpdateTopic": RequiresPermission("pubsub.topics.update", "topic.name"),
                "ListTopics": RequiresPermission("pubsub.topics.list", "project"),
                "ListTopicSubscriptions": RequiresPermission("pubsub.topics.get", "topic"),
                "DeleteTopic": RequiresPermission("pubsub.topics.delete", "topic"),
                "Publish": RequiresPermission("pubsub.topics.publish", "topic"),
            },
        ),
        *_in(
            "google.pubsub.v1.Subscriber",
            {
                "CreateSubscription": RequiresPermission("pubsub.subscriptions.create", "name"),
                "GetSubscription": RequiresPermission("pubsub.subscriptions.get", "subscription"),
                "UpdateSubscription": RequiresPermission("pubsub.subscriptions.update", "subscription.name"),
                "ListSubscriptions": RequiresPermission("pubsub.subscriptions.list", "project"),
                "DeleteSubscription": RequiresPermission("pubsub.subscriptions.delete", "subscription"),
                "Seek": RequiresPermission("pubsub.subscriptions.consume", "subscription"),
                **dict.fromkeys(
                    ("Pull", "StreamingPull", "Acknowledge", "ModifyAckDeadline"),
                    RequiresPermission("pubsub.subscriptions.consume", "subscription"),
                ),
            },
        ),
        *_in(
            "google.longrunning.Operations",
            {
                "GetOperation": RequiresPermission("run.operations.get", "name"),
                "WaitOperation": RequiresPermission("run.operations.get", "name"),
                "ListOperations": RequiresPermission("run.operations.list", "name"),
                "DeleteOperation": RequiresPermission("run.operations.delete", "name"),
            },
        ),
        *_in(
            "google.cloud.policyanalyzer.v1.PolicyAnalyzer", {"QueryActivity": RequiresActivityPermission()}
        ),
        *_in(
            "google.monitoring.v3.MetricService",
            {"ListTimeSeries": RequiresPermission("monitoring.timeSeries.list", "name")},
        ),
        *_in(
            "google.cloud.orgpolicy.v2.OrgPolicy",
            {
                "GetPolicy": RequiresPermission("orgpolicy.policy.get", "name"),
                "GetEffectivePolicy": RequiresPermission("orgpolicy.policy.get", "name"),
                "ListPolicies": RequiresPermission("orgpolicy.policies.list", "parent"),
                "ListConstraints": RequiresPermission("orgpolicy.constraints.list", "parent"),
                "CreatePolicy": RequiresPermission("orgpolicy.policies.create", "parent"),
                "UpdatePolicy": RequiresPermission("orgpolicy.policies.update", "policy.name"),
                "DeletePolicy": RequiresPermission("orgpolicy.policies.delete", "name"),
                "CreateCustomConstraint": RequiresPermission("orgpolicy.customConstraints.create", "parent"),
                "GetCustomConstraint": RequiresPermission("orgpolicy.customConstraints.get", "name"),
                "ListCustomConstraints": RequiresPermission("orgpolicy.customConstraints.list", "parent"),
                "UpdateCustomConstraint": RequiresPermission(
                    "orgpolicy.customConstraints.update", "custom_constraint.name"
                ),
                "DeleteCustomConstraint": RequiresPermission("orgpolicy.customConstraints.delete", "name"),
            },
        ),
    ]
)
"""Rules of all served methods, by `package.Service/Method`."""
