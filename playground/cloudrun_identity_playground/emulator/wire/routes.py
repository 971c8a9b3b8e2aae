"""REST routes from the client libraries' http rules, and those of the APIs of version 1.

The libraries contain the rules of Cloud Run v2, Resource Manager v3, Organization Policy v2 and IAM
Credentials. google-cloud-iam has none for IAM v1, Resource Manager v1 has no library, and those of the
other target kinds are not dependencies.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.cloud.iam_credentials_v1.services.iam_credentials.transports import (
    rest_base as credentials,
)
from google.cloud.orgpolicy_v2.services.org_policy.transports import rest_base as org_policy
from google.cloud.resourcemanager_v3.services.folders.transports import rest_base as folders
from google.cloud.resourcemanager_v3.services.organizations.transports import rest_base as organizations
from google.cloud.resourcemanager_v3.services.projects.transports import rest_base as projects
from google.cloud.run_v2.services.executions.transports import rest_base as executions
from google.cloud.run_v2.services.jobs.transports import rest_base as jobs
from google.cloud.run_v2.services.revisions.transports import rest_base as revisions
from google.cloud.run_v2.services.services.transports import rest_base as services
from google.cloud.run_v2.services.worker_pools.transports import rest_base as worker_pools
from google.pubsub_v1.services.publisher.transports import rest_base as publisher
from google.pubsub_v1.services.subscriber.transports import rest_base as subscriber

from cloudrun_identity.api import TargetKindDescriptor
from cloudrun_identity_playground.emulator.apis.target_messages import SERVED
from cloudrun_identity_playground.emulator.log_router import messages as log_router

from .methods import Method, library_methods, methods

_RULES: Mapping[str, Any] = {
    "google.cloud.orgpolicy.v2.OrgPolicy": org_policy,
    "google.iam.credentials.v1.IAMCredentials": credentials,
    "google.cloud.resourcemanager.v3.Folders": folders,
    "google.cloud.resourcemanager.v3.Organizations": organizations,
    "google.cloud.resourcemanager.v3.Projects": projects,
    "google.cloud.run.v2.Executions": executions,
    "google.cloud.run.v2.Jobs": jobs,
    "google.cloud.run.v2.Revisions": revisions,
    "google.cloud.run.v2.Services": services,
    "google.cloud.run.v2.WorkerPools": worker_pools,
    "google.pubsub.v1.Publisher": publisher,
    "google.pubsub.v1.Subscriber": subscriber,
}

_RESOURCE_MANAGER = "google.cloud.resourcemanager.v3"

# Verb, path, body field (`*`: the whole request, `-`: no body), method.
_IAM_V1 = """
POST   /v1/{name=projects/*}/serviceAccounts                               *    CreateServiceAccount
GET    /v1/{name=projects/*}/serviceAccounts                               -    ListServiceAccounts
GET    /v1/{name=projects/*/serviceAccounts/*}                             -    GetServiceAccount
PATCH  /v1/{service_account.name=projects/*/serviceAccounts/*}             *    PatchServiceAccount
DELETE /v1/{name=projects/*/serviceAccounts/*}                             -    DeleteServiceAccount
POST   /v1/{name=projects/*/serviceAccounts/*}:undelete                    *    UndeleteServiceAccount
POST   /v1/{name=projects/*/serviceAccounts/*}:enable                      *    EnableServiceAccount
POST   /v1/{name=projects/*/serviceAccounts/*}:disable                     *    DisableServiceAccount
POST   /v1/{resource=projects/*/serviceAccounts/*}:getIamPolicy            -    GetIamPolicy
POST   /v1/{resource=projects/*/serviceAccounts/*}:setIamPolicy            *    SetIamPolicy
POST   /v1/{resource=projects/*/serviceAccounts/*}:testIamPermissions      *    TestIamPermissions
GET    /v1/{name=projects/*/serviceAccounts/*}/keys                        -    ListServiceAccountKeys
POST   /v1/{name=projects/*/serviceAccounts/*}/keys                        *    CreateServiceAccountKey
GET    /v1/{name=projects/*/serviceAccounts/*/keys/*}                      -    GetServiceAccountKey
DELETE /v1/{name=projects/*/serviceAccounts/*/keys/*}                      -    DeleteServiceAccountKey
POST   /v1/{name=projects/*/serviceAccounts/*/keys/*}:disable              *    DisableServiceAccountKey
POST   /v1/{name=projects/*/serviceAccounts/*/keys/*}:enable               *    EnableServiceAccountKey
POST   /v1/{name=projects/*/serviceAccounts/*}/keys:upload                 *    UploadServiceAccountKey
GET    /v1/roles                                                           -    ListRoles
GET    /v1/{name=roles/*}                                                  -    GetRole
GET    /v1/{parent=projects/*}/roles                                       -    ListRoles
POST   /v1/{parent=projects/*}/roles                                       *    CreateRole
GET    /v1/{name=projects/*/roles/*}                                       -    GetRole
PATCH  /v1/{name=projects/*/roles/*}                                       role UpdateRole
DELETE /v1/{name=projects/*/roles/*}                                       -    DeleteRole
POST   /v1/{name=projects/*/roles/*}:undelete                              *    UndeleteRole
GET    /v1/{parent=organizations/*}/roles                                  -    ListRoles
POST   /v1/{parent=organizations/*}/roles                                  *    CreateRole
GET    /v1/{name=organizations/*/roles/*}                                  -    GetRole
PATCH  /v1/{name=organizations/*/roles/*}                                  role UpdateRole
DELETE /v1/{name=organizations/*/roles/*}                                  -    DeleteRole
POST   /v1/{name=organizations/*/roles/*}:undelete                         *    UndeleteRole
POST   /v1/permissions:queryTestablePermissions                            *    QueryTestablePermissions
POST   /v1/roles:queryGrantableRoles                                       *    QueryGrantableRoles
"""
_PROJECTS_V1 = """
GET    /v1/projects                                                        -    SearchProjects
GET    /v1/projects/{name=*}                                               -    GetProject
POST   /v1/projects/{resource=*}:getIamPolicy                              *    GetIamPolicy
POST   /v1/projects/{resource=*}:setIamPolicy                              *    SetIamPolicy
POST   /v1/projects/{resource=*}:testIamPermissions                        *    TestIamPermissions
"""
_ORGANIZATIONS_V1 = """
POST   /v1/organizations:search                                            *    SearchOrganizations
GET    /v1/{name=organizations/*}                                          -    GetOrganization
POST   /v1/{resource=organizations/*}:getIamPolicy                         *    GetIamPolicy
POST   /v1/{resource=organizations/*}:setIamPolicy                         *    SetIamPolicy
POST   /v1/{resource=organizations/*}:testIamPermissions                   *    TestIamPermissions
"""
_FOLDERS_V2 = """
GET    /v2/folders                                                         -    ListFolders
POST   /v2/folders:search                                                  *    SearchFolders
GET    /v2/{name=folders/*}                                                -    GetFolder
POST   /v2/{resource=folders/*}:getIamPolicy                               *    GetIamPolicy
POST   /v2/{resource=folders/*}:setIamPolicy                               *    SetIamPolicy
POST   /v2/{resource=folders/*}:testIamPermissions                         *    TestIamPermissions
"""
_RUN_V1 = """
GET    /v1/{resource=projects/*/locations/*/%s/*}:getIamPolicy             -    GetIamPolicy
POST   /v1/{resource=projects/*/locations/*/%s/*}:setIamPolicy             *    SetIamPolicy
POST   /v1/{resource=projects/*/locations/*/%s/*}:testIamPermissions       *    TestIamPermissions
"""
# %s: projects, folders or organizations.
_SINKS = """
POST   /v2/{parent=%s/*}/sinks                                             sink CreateSink
GET    /v2/{parent=%s/*}/sinks                                             -    ListSinks
GET    /v2/{sink_name=%s/*/sinks/*}                                        -    GetSink
PUT    /v2/{sink_name=%s/*/sinks/*}                                        sink UpdateSink
PATCH  /v2/{sink_name=%s/*/sinks/*}                                        sink UpdateSink
DELETE /v2/{sink_name=%s/*/sinks/*}                                        -    DeleteSink
"""
_LOGS = """
POST   /v2/entries:list                                                    *    ListLogEntries
"""
# Google has getIamPolicy with GET in some APIs and with POST in others.
_TARGETS = """
GET    /{version}/{{resource={path}}}:getIamPolicy                         -    {policy}/GetIamPolicy
POST   /{version}/{{resource={path}}}:getIamPolicy                         *    {policy}/GetIamPolicy
POST   /{version}/{{resource={path}}}:setIamPolicy                         *    {policy}/SetIamPolicy
POST   /{version}/{{resource={path}}}:testIamPermissions                   *    {policy}/TestIamPermissions
GET    /{version}/{{name={path}}}                                          -    {get}
"""


@dataclass(frozen=True)
class Route:
    """A verb and a path, and their method.

    `body` is the request field that the body fills: `*` for the request itself, empty for none. `prefix` is
    put before the values in the path: Resource Manager v1 omits `projects/`. With `older`, the response is
    converted to an older version (`older.RESHAPES`).
    """

    verb: str
    pattern: re.Pattern[str]
    body: str
    method: Method
    prefix: str = ""
    older: bool = False

    def fields(self, path: str) -> Mapping[str, str] | None:
        """Return the request fields in `path` by their dotted names, or None if the path does not match."""
        match = self.pattern.fullmatch(path)
        if match is None:
            return None
        return {name.replace("__", "."): self.prefix + value for name, value in match.groupdict().items()}


@cache
def routes() -> Sequence[Route]:
    """Return all routes."""
    found = [
        *_written(_IAM_V1, "google.iam.admin.v1.IAM"),
        *_written(_PROJECTS_V1, f"{_RESOURCE_MANAGER}.Projects", older=True, prefix="projects/"),
        *_written(_ORGANIZATIONS_V1, f"{_RESOURCE_MANAGER}.Organizations", older=True),
        *_written(_FOLDERS_V2, f"{_RESOURCE_MANAGER}.Folders", older=True),
        *_written(_RUN_V1.replace("%s", "services"), "google.cloud.run.v2.Services"),
        *_written(_RUN_V1.replace("%s", "jobs"), "google.cloud.run.v2.Jobs"),
        *_written(_RUN_V1.replace("%s", "workerpools"), "google.cloud.run.v2.WorkerPools"),
        *(
            route
            for collection in ("projects", "folders", "organizations")
            for route in _written(_SINKS.replace("%s", collection), log_router.CONFIG)
        ),
        *_written(_LOGS, log_router.LOGGING),
        *(route for descriptor in SERVED.values() for route in _of_target(descriptor)),
        *(route for service, module in _RULES.items() for route in _shipped(service, module)),
    ]
    return tuple({(route.verb, route.pattern.pattern, route.body): route for route in found}.values())


def _written(table: str, service: str, *, prefix: str = "", older: bool = False) -> Iterator[Route]:
    for line in table.strip().splitlines():
        verb, path, body, name = line.split()
        method = methods()[f"{service}/{name}"]
        yield Route(verb, _pattern(path), "" if body == "-" else body, method, prefix, older)


def _of_target(descriptor: TargetKindDescriptor) -> Iterator[Route]:
    """Yield the routes of a target kind. Cloud Storage has other ones over REST, which are not served."""
    if not descriptor.is_named_in_project:
        return
    table = _TARGETS.format(
        version=descriptor.get_method.partition("/")[0].split(".")[-2],
        path=re.sub(r"\{\w+\}", "*", descriptor.resource_pattern),
        policy=descriptor.policy_service,
        get=descriptor.get_method,
    )
    for line in table.strip().splitlines():
        verb, path, body, rpc = line.split()
        # The libraries have the rule of a method that is theirs, with its name of the resource's field.
        if rpc not in library_methods() or rpc.startswith("google.iam.v1."):
            yield Route(verb, _pattern(path), "" if body == "-" else body, methods()[rpc])


def _shipped(service: str, module: Any) -> Iterator[Route]:
    """Yield the rules of a generated `rest_base` module: one class per method in the transport class."""
    for _, transport in inspect.getmembers(
        module, lambda each: inspect.isclass(each) and each.__module__ == module.__name__
    ):
        for class_name, rule in inspect.getmembers(transport, inspect.isclass):
            if not hasattr(rule, "_get_http_options"):
                continue
            name = class_name.removeprefix("_Base")
            method = methods().get(f"{service}/{name}") or methods().get(
                f"google.longrunning.Operations/{name}"
            )
            if method is not None:
                for option in rule._get_http_options():
                    yield Route(
                        option["method"].upper(), _pattern(option["uri"]), option.get("body", ""), method
                    )


def _pattern(path: str) -> re.Pattern[str]:
    """Compile `/v2/{name=projects/*}/services` to a pattern with a group for each variable."""

    def group(variable: re.Match[str]) -> str:
        segments = re.escape(variable[2] or "*").replace(r"\*\*", ".+").replace(r"\*", "[^/]+?")
        return f"(?P<{variable[1].replace('.', '__')}>{segments})"

    literal_and_variable = re.split(r"(\{[^}]+\})", path)
    return re.compile(
        "".join(
            re.sub(r"\{([^=}]+)(?:=([^}]*))?\}", group, part) if part.startswith("{") else re.escape(part)
            for part in literal_and_variable
        )
    )
