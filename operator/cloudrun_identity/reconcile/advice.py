"""Remedies for errors of Google Cloud. Google's message rarely contains one.

Google's message also omits who made the call, and often where. Both are part of the advice.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from cloudrun_identity.api.predefined_roles import USER
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.operator_role import SET_POLICY, add_permissions_in_one_line
from cloudrun_identity.gcp.permissions import ACCOUNT_PERMISSIONS, FEATURES
from cloudrun_identity.iam.principals import service_account_member

QUOTAS_PAGE = "https://console.cloud.google.com/iam-admin/quotas"


CHECK = "cloudrun-identity check"
"""Command that prints what the operator lacks in each project, and the commands that grant it."""


def advised(error: GoogleError, project_ids: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the message of the error with its remedy: the exact command, page or field.

    `project_ids` are IDs of projects by their numbers, which Google's errors have.
    """
    if error.fault is Fault.API_DISABLED and error.metadata.get("service"):
        return _enable_api(error, project_ids)  # says everything that Google's paragraph does
    remedy = _remedy(error)
    return f"{error.message.rstrip('.')}; {remedy}" if remedy else error.message


def _remedy(error: GoogleError) -> str:
    match error.fault:
        case Fault.PERMISSION_DENIED:
            return _grant_permission(error)
        case Fault.QUOTA_EXCEEDED if error.rate_limited:
            return _raise_rate(error)
        case Fault.QUOTA_EXCEEDED:
            return _make_room(error)
        case Fault.PERIMETER_VIOLATION:
            return _admit_to_perimeter(error)
        case Fault.LOCATION_NOT_FOUND:
            location = error.metadata.get("location", "this location")
            return (
                f"Cloud Run does not exist in {location}, or the project may not use it: correct the "
                "location in the spec (gcloud run regions list)"
            )
        case Fault.UNIMPLEMENTED if error.method.startswith("google.iam.v1.IAMPolicy/"):
            return (
                "the API does not serve google.iam.v1.IAMPolicy over gRPC, so target.resource cannot name "
                "its resources: delete the grant, and make it with gcloud"
            )
        case _:
            return ""


def denied_permission(error: GoogleError) -> str:
    """Return the permission that a refused call lacks, in Google's spelling; empty if the error names none.

    Older methods name it in the message only, and some in lower case (`iam.serviceaccounts.actAs`).
    """
    found = _DENIED.search(error.message)
    named = error.metadata.get("permission") or (found.group(1) if found else "")
    return _SPELLING.get(named.lower(), named)


def operator_name(email: str) -> str:
    """Return the operator as messages name it, with the e-mail that it acts as."""
    return f"the operator ({service_account_member(email)})" if email else "the operator"


def grant_permissions(project_id: str, email: str, permissions: frozenset[str]) -> str:
    """Return how to grant the operator permissions in a project. Without permissions, refer to `CHECK`."""
    if not project_id or not email or not permissions or SET_POLICY in permissions:
        # The grant to change the policy has a condition with the roles in the guardrails.
        return f"run `{CHECK}`, which prints the commands that grant what is missing"
    return f"run: {add_permissions_in_one_line(project_id, service_account_member(email), permissions)}"


def _grant_permission(error: GoogleError) -> str:
    permission, project = denied_permission(error), error.project_id or _project_in(error.resource)
    who = operator_name(error.caller)
    where = f" in project {project}" if project else ""
    if not permission and not error.caller:
        return ""
    if not permission:
        return f"{who} made the call{where}; run `{CHECK}`, which prints what the operator lacks"
    found = _DENIED.search(error.message)
    account = (found and found.group(2)) or _account_in(error.resource)
    if account and error.caller and permission in _ACCOUNT_ROLES:
        grant = (
            f"run: gcloud iam service-accounts add-iam-policy-binding {account} "
            f"--member={service_account_member(error.caller)} --role={_ACCOUNT_ROLES[permission]}"
            + (f" --project={project}" if project else "")
        )
        return f"{who} lacks {permission} on {account}; {grant}"
    remedy = grant_permissions(project, error.caller, frozenset([permission]))
    return f"{who} lacks {permission}{where}; {remedy}"


def _enable_api(error: GoogleError, project_ids: Mapping[str, str]) -> str:
    """Return which API is disabled where, and the command that enables it."""
    service, project = error.metadata["service"], _consumer(error)
    project = project_ids.get(project, project)
    where = f"project {project}" if project else "the project"
    called = error.project_id or _project_in(error.resource)
    note = f" (for project {called})" if called and called != project else ""
    enable = f"gcloud services enable {service}" + (f" --project={project}" if project else "")
    return (
        f"{service} is not enabled in {where}{note}; the operator retries within some minutes after you run: "
        f"{enable}"
    )


def _raise_rate(error: GoogleError) -> str:
    """Return where to request a higher rate, if Google's ErrorInfo names it."""
    limit, value = error.metadata.get("quota_limit"), error.metadata.get("quota_limit_value")
    if not limit:
        return ""
    project = _consumer(error)
    named = f"{limit} is {value}" if value else limit
    return (
        f"the operator retries it; if it lasts, request a higher quota ({named}) at {_quotas_page(project)}"
    )


def _make_room(error: GoogleError) -> str:
    """Return how to get below a limit on objects: retries alone do not help."""
    project = _project_in(error.resource) or _consumer(error)
    of = f"project {project}" if project else "the project"
    match error.method.rpartition("/")[2]:
        case "CreateServiceAccount":
            what = f"{of} has the maximum number of service accounts: delete those that are not in use"
        case "CreateRole":
            # https://cloud.google.com/iam/quotas lists it as a limit, which cannot be raised.
            return (
                f"{of} has the maximum number of custom roles: delete those that are not in use; Google "
                "counts deleted roles until they are removed permanently"
            )
        case "CreateServiceAccountKey":
            return f"delete keys of {error.resource.rpartition('/')[2] or 'the account'} that are not in use"
        case _:
            what = f"{of} is at a limit: delete what is not in use"
    return f"{what}, or request a higher quota at {_quotas_page(project)}"


def _admit_to_perimeter(error: GoogleError) -> str:
    uid = error.metadata.get("uid", "")
    project = _project_in(error.resource)
    query = f'protoPayload.metadata.vpcServiceControlsUniqueId="{uid}"'
    of = f" --project={project}" if project else ""
    lookup = f"; the violated rule: gcloud logging read '{query}'{of}" if uid else ""
    return (
        "a perimeter of VPC Service Controls blocks the operator, and no role changes that: an access policy "
        f"administrator has to admit the operator's identity by an ingress rule{lookup}"
    )


def _consumer(error: GoogleError) -> str:
    """Return the project that is charged for the call, if Google's ErrorInfo names it."""
    return error.metadata.get("consumer", "").removeprefix("projects/")


def _project_in(resource: str) -> str:
    collection, _, rest = resource.partition("/")
    return rest.partition("/")[0] if collection == "projects" else ""


def _quotas_page(project: str) -> str:
    return f"{QUOTAS_PAGE}?project={project}" if project else QUOTAS_PAGE


def _account_in(resource: str) -> str:
    """Return the e-mail in the name of an account, or of its keys."""
    segments = resource.split("/")
    found = segments[3] if segments[2:3] == ["serviceAccounts"] and len(segments) > _EMAIL else ""
    return found if "@" in found else ""


_EMAIL = 3  # index of the e-mail in `projects/P/serviceAccounts/E`

_DENIED = re.compile(r"Permission '([\w.-]+)' denied(?: on service account ([^ ]+@[^ ]+))?")
"""A refusal as the IAM API and Cloud Run word it. Other texts may name what another principal lacks."""

_SPELLING: Mapping[str, str] = {
    permission.lower(): permission for permissions in FEATURES.values() for permission in permissions
}

_ACCOUNT_ROLES: Mapping[str, str] = {
    "iam.serviceAccounts.actAs": USER,
    "iam.serviceAccounts.setIamPolicy": "roles/iam.serviceAccountAdmin",
} | {
    permission: "roles/iam.serviceAccountKeyAdmin"
    for permission in ACCOUNT_PERMISSIONS
    if permission.startswith("iam.serviceAccountKeys.")
}
"""Predefined roles on one account, by permission. Source: https://cloud.google.com/iam/docs/roles-permissions/iam"""
