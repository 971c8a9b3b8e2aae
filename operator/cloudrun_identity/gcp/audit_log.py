"""Entries of the Admin Activity audit log (google.logging.v2.LogEntry as JSON), as a log sink exports them.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry and
https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog describe the fields.
The methods are those of the pages "audit-logging" of each product, such as
https://cloud.google.com/iam/docs/audit-logging and https://cloud.google.com/run/docs/audit-logging.

An entry names resources in several forms. IAM names accounts by their unique id, in the project `-`. Version
1 of Cloud Run names the project as a namespace, and the location only in a label. Some products name the
project by its number.

A program with the permission to write logs or to publish to the topic can write entries with any content. So
only the name of the log decides which project, folder or organization an entry is about: a sink exports no
log of another project, and Google alone writes the audit logs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cloudrun_identity.api import TARGET_KINDS, TargetKind, TargetKindDescriptor, kind_containing
from cloudrun_identity.api.generic_target import ResourceName
from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    AuditedChange,
    BindingDelta,
    Cause,
    DeltaAction,
    PolicyChange,
    ProjectChange,
    RoleChange,
    Subject,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Target

from .audit_methods import (
    ACCOUNT_METHODS,
    POLICY_METHODS,
    PROJECT_METHODS,
    ROLE_METHODS,
    WORKLOAD_METHODS,
)
from .errors import one_line


class IgnoredReason(StrEnum):
    """Reason why an entry causes no sync."""

    MALFORMED = "malformed"
    """It is no LogEntry in JSON, or lacks a field that each has."""
    OTHER_LOG = "other-log"
    """It is no audit log of Admin Activity."""
    UNKNOWN_METHOD = "unknown-method"
    """The method changes nothing that the operator manages."""
    UNKNOWN_RESOURCE = "unknown-resource"
    """The name of the resource has an unknown form."""
    REFUSED = "refused"
    """Google refused the call, so that nothing was changed."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An entry that causes no sync."""

    reason: IgnoredReason
    detail: str = ""
    """Content of the entry instead of the expected one; no personal data."""


def parse_entry(data: bytes | str) -> AuditedChange | Ignored:
    """Return the change that an entry reports, or why it reports none. Never raises for any input."""
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        return Ignored(IgnoredReason.MALFORMED, "no JSON")
    if not isinstance(entry, dict):
        return Ignored(IgnoredReason.MALFORMED, "no object")
    if not _LOG.fullmatch(_text(entry, "logName")):
        return Ignored(IgnoredReason.OTHER_LOG)
    method, time = _text(entry, "protoPayload", "methodName"), _time(_text(entry, "timestamp"))
    resource = _text(entry, "protoPayload", "resourceName")
    if not method or time is None:
        return Ignored(IgnoredReason.MALFORMED, "no methodName" if time else "no timestamp")
    if _is_refused(entry):
        return Ignored(IgnoredReason.REFUSED, one_line(method))
    subject = _subject(entry, method, resource)
    if isinstance(subject, Ignored):
        return subject
    caller = _text(entry, "protoPayload", "authenticationInfo", "principalEmail")
    return AuditedChange(
        subject,
        Cause(one_line(method), time, _principal(entry, caller), one_line(_user_agent(entry))),
        caller.lower(),
        _text(entry, "protoPayload", "requestMetadata", "requestAttributes", "reason"),
        _deltas(entry),
    )


def _subject(entry: dict[str, object], method: str, resource: str) -> Subject | Ignored:
    service, project_id = _text(entry, "protoPayload", "serviceName"), _project(entry)
    name = method.rpartition(".")[2]
    if name.lower() in POLICY_METHODS:
        target = _target(entry, service, resource, project_id)
        return PolicyChange(target) if target else Ignored(IgnoredReason.UNKNOWN_RESOURCE, one_line(resource))
    found: Subject | None
    if service == TARGET_KINDS[TargetKind.SERVICE_ACCOUNT].host and name in ACCOUNT_METHODS:
        found = _account(entry, resource, project_id, of_keys=name.endswith("Key"))
    elif service == TARGET_KINDS[TargetKind.SERVICE_ACCOUNT].host and name in ROLE_METHODS:
        found = _role(entry, resource, project_id)
    elif service == TARGET_KINDS[TargetKind.SERVICE].host and name in WORKLOAD_METHODS:
        found = _workload(entry, resource, project_id)
    elif name in PROJECT_METHODS.get(service, ()):
        found = ProjectChange(project_id) if project_id and _is_of_project(resource) else None
    else:
        return Ignored(IgnoredReason.UNKNOWN_METHOD, one_line(method))
    return found or Ignored(IgnoredReason.UNKNOWN_RESOURCE, one_line(resource))


def _target(entry: dict[str, object], service: str, resource: str, project_id: str) -> Target | None:
    """Return the resource with the policy."""
    relative = resource.removeprefix(f"//{service}/")
    workload = _workload_target(entry, relative, project_id) if service == _RUN_HOST else None
    if workload:
        return workload
    descriptor = kind_containing(service, relative)
    if descriptor is None:
        return _generic_target(service, relative, project_id)
    parts = descriptor.parts_of(relative)
    if descriptor.contains_projects and not _is_in_log_of(entry, relative):
        return None
    if descriptor.kind is TargetKind.SERVICE_ACCOUNT and project_id:
        email = _text(entry, "resource", "labels", "email_id")
        return Target.service_account(project_id, email or parts["name"])
    return _of_kind(descriptor, parts, "" if descriptor.contains_projects else project_id)


def _of_kind(descriptor: TargetKindDescriptor, parts: Mapping[str, str], project_id: str) -> Target | None:
    if not project_id and not descriptor.contains_projects:
        return None
    return Target(
        descriptor.kind,
        project_id,
        parts.get("location", ""),
        parts.get("name", ""),
        parts.get("parent", ""),
    )


def _generic_target(service: str, relative: str, project_id: str) -> Target | None:
    """Return a resource without a kind of its own, under the name that specs use: with the project's ID."""
    collection, _, rest = relative.partition("/")
    name = rest.partition("/")[2]
    found = ResourceName.parse(f"//{service}/projects/{project_id}/{name}")
    if collection != "projects" or found is None:
        return None
    return Target(
        TargetKind.RESOURCE, project_id, location=found.location, name=found.name, service=found.service
    )


def _workload(entry: dict[str, object], resource: str, project_id: str) -> WorkloadChange | None:
    target = _workload_target(entry, resource, project_id)
    return WorkloadChange(target) if target else None


def _workload_target(entry: dict[str, object], resource: str, project_id: str) -> Target | None:
    """Return a workload named as in version 1 (`namespaces/P/services/S`) or 2 of the API."""
    found = _WORKLOAD.fullmatch(resource)
    if found is None or not project_id:
        return None
    location = found["location"] or _text(entry, "resource", "labels", "location")
    kind = _WORKLOAD_KINDS[found["collection"].lower()]
    return Target(kind, project_id, location, found["name"]) if location else None


def _account(
    entry: dict[str, object], resource: str, project_id: str, *, of_keys: bool
) -> AccountChange | None:
    """Return the account, by its e-mail in a label, and by its unique id in the name of the resource.

    The create of an account names the project as its resource.
    """
    named = _ACCOUNT.match(resource)
    name = named["name"] if named else ""
    email = _text(entry, "resource", "labels", "email_id") or (name if "@" in name else "")
    unique_id = _text(entry, "resource", "labels", "unique_id") or (name if name.isdecimal() else "")
    email = email or _text(entry, "protoPayload", "response", "email")
    if not project_id or not (email or unique_id):
        return None
    return AccountChange(project_id, email, unique_id, of_keys)


def _role(entry: dict[str, object], resource: str, project_id: str) -> RoleChange | None:
    """Return the role. The create of a role may name its project or organization as the resource."""
    named = _ROLE.fullmatch(resource)
    role = resource if named else _text(entry, "protoPayload", "response", "name")
    found = named or _ROLE.fullmatch(role)
    if found is None:
        return None
    if found["collection"] == "projects":
        return RoleChange(project_id, role) if project_id else None
    return RoleChange("", role) if _is_in_log_of(entry, role) else None


def _is_in_log_of(entry: dict[str, object], resource: str) -> bool:
    """Return whether the entry is in the log of the folder or organization that a resource belongs to."""
    return resource.split("/")[:2] == _text(entry, "logName").split("/")[:2]


def _is_of_project(resource: str) -> bool:
    return resource.startswith("projects/") or bool(re.fullmatch(r"[a-z0-9:.-]+", resource))


def _project(entry: dict[str, object]) -> str:
    """Return the ID of the project in whose log the entry is; empty for a folder or an organization.

    The name of the log has the ID even where labels and the name of the resource have the number.
    """
    collection, name, *_ = _text(entry, "logName").split("/")
    return name if collection == "projects" else ""


def _principal(entry: dict[str, object], caller: str) -> str:
    """Return the caller as a member. `principalSubject` has this form already, but older entries lack it."""
    subject = _text(entry, "protoPayload", "authenticationInfo", "principalSubject")
    if subject or not caller:
        return one_line(subject)
    prefix = "serviceAccount" if caller.endswith(".gserviceaccount.com") else "user"
    return one_line(f"{prefix}:{caller}")


def _user_agent(entry: dict[str, object]) -> str:
    return _text(entry, "protoPayload", "requestMetadata", "callerSuppliedUserAgent")


def _deltas(entry: dict[str, object]) -> tuple[BindingDelta, ...]:
    found = _value(entry, "protoPayload", "serviceData", "policyDelta", "bindingDeltas")
    deltas = []
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and _text(each, "action") in list(DeltaAction):
            action = DeltaAction(_text(each, "action"))
            condition = _text(each, "condition", "title")
            deltas.append(BindingDelta(action, _text(each, "role"), _text(each, "member"), condition))
    return tuple(deltas)


def _is_refused(entry: dict[str, object]) -> bool:
    code = _value(entry, "protoPayload", "status", "code")
    return isinstance(code, int) and code in _REFUSALS


def _value(entry: object, *path: str) -> object:
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry


def _text(entry: object, *path: str) -> str:
    found = _value(entry, *path)
    return found if isinstance(found, str) else ""


def _time(text: str) -> datetime | None:
    """Return a time in RFC 3339. Google writes nanoseconds, which a datetime does not have."""
    try:
        time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return time if time.tzinfo else None


_RUN_HOST: Final = TARGET_KINDS[TargetKind.SERVICE].host
_LOG: Final = re.compile(
    r"(?:projects|folders|organizations)/[^/]+/logs/cloudaudit\.googleapis\.com%2Factivity"
)
"""Name of the log of Admin Activity. The log of system events has no change by others."""
_ACCOUNT: Final = re.compile(r"projects/[^/]+/serviceAccounts/(?P<name>[^/]+)")
_ROLE: Final = re.compile(r"(?P<collection>projects|organizations)/[^/]+/roles/[A-Za-z0-9_.]+")
_WORKLOAD: Final = re.compile(
    r"(?:namespaces/[^/]+|projects/[^/]+/locations/(?P<location>[^/]+))"
    r"/(?P<collection>services|jobs|worker[pP]ools)/(?P<name>[^/]+)"
)
_WORKLOAD_KINDS: Final = {
    "services": TargetKind.SERVICE,
    "jobs": TargetKind.JOB,
    "workerpools": TargetKind.WORKER_POOL,
}

_REFUSALS: Final = frozenset({3, 5, 6, 7, 8, 9, 10, 11, 12, 16})
"""Codes of google.rpc.Code after which nothing has changed. The outcome of other failures is unknown."""
