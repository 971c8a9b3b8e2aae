"""Contents of recommendations and insights as values.

Google documents the contents per type, without a schema. A content of another shape is ignored, because an
advisory finding must not make a reconcile fail. Sources:
https://cloud.google.com/policy-intelligence/docs/review-apply-role-recommendations, …/docs/policy-insights,
…/docs/service-account-insights and …/docs/lateral-movement-insights. Google documents no content for Cloud
Run; https://github.com/GoogleCloudPlatform/cloud-provision reads `serviceName` and `serviceRegion`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import json_format

from cloudrun_identity.iam.google_findings import (
    FindingState,
    LateralMovement,
    PermissionUsage,
    RoleRecommendation,
    UnusedAccount,
    WorkloadIdentityRecommendation,
)

if TYPE_CHECKING:
    from google.cloud import recommender_v1

    Recommendation: TypeAlias = recommender_v1.Recommendation
    Insight: TypeAlias = recommender_v1.Insight
else:
    Recommendation = Insight = object

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | float | bool | None"

_PROJECT = "//cloudresourcemanager.googleapis.com/projects/"
_ROLE = "/iamPolicy/bindings/*/role"
_MEMBER = "/iamPolicy/bindings/*/members/*"
_CONDITION = "/iamPolicy/bindings/*/condition/expression"
_ACTIVE = "ACTIVE"
_REMOVAL = "REMOVE_ROLE"
_REPLACEMENT = "REPLACE_ROLE"


def role_recommendation(message: Recommendation, project_id: str) -> RoleRecommendation | None:
    """Return an open recommendation about a role on the project itself; None for another one.

    The operations show the change. `REPLACE_ROLE_CUSTOMIZABLE` has no overview and adds no role. Only
    `REMOVE_ROLE` says that the role is not used; without added roles, an unknown subtype shows nothing.
    """
    document = _json(message)
    state = _open_state(document)
    operations = list(_operations(document))
    removals = [each for each in operations if each.get("action") == "remove"]
    if state is None or len(removals) != 1:
        return None
    [removal] = removals
    filters = _mapping(removal.get("pathFilters"))
    role, member = _text(filters.get(_ROLE)), _text(filters.get(_MEMBER))
    if not role or not member or not _is_project(_text(removal.get("resource")), document, project_id):
        return None
    additions = (_mapping(each.get("pathFilters")) for each in operations if each is not removal)
    added = (_text(each.get(_ROLE)) for each in additions)
    replace_by = tuple(dict.fromkeys(filter(None, added)))
    subtype = _text(document.get("recommenderSubtype"))
    if not replace_by and subtype != _REMOVAL and not subtype.startswith(_REPLACEMENT):
        return None
    return RoleRecommendation(
        name=_text(document.get("name")),
        etag=_text(document.get("etag")),
        state=state,
        member=member,
        role=role,
        replace_by=replace_by,
        is_customizable=not replace_by and subtype != _REMOVAL,
        condition=_text(filters.get(_CONDITION)),
    )


def permission_usage(message: Insight, project_id: str) -> PermissionUsage | None:
    """Return the use of a role on the project itself; None for another insight."""
    document = _json(message)
    content = _mapping(document.get("content"))
    role, member = _text(content.get("role")), _text(content.get("member"))
    targets = _list(document.get("targetResources"))
    if not role or not member or not any(_is_project(_text(each), document, project_id) for each in targets):
        return None
    used = frozenset(_permissions(content.get("exercisedPermissions")))
    inferred = frozenset(_permissions(content.get("inferredPermissions"))) - used
    total = _text(content.get("currentTotalPermissionsCount"))
    return PermissionUsage(
        member=member,
        role=role,
        used=tuple(sorted(used)),
        inferred=tuple(sorted(inferred)),
        total=int(total) if total.isdigit() else 0,
        condition=_text(_mapping(content.get("condition")).get("expression")),
    )


def unused_account(message: Insight) -> UnusedAccount | None:
    """Return an account without use; None for another insight."""
    document = _json(message)
    content = _mapping(document.get("content"))
    email, unique_id = _text(content.get("email")), _text(content.get("serviceAccountId"))
    if not email or not unique_id or not _is_active(document):
        return None
    return UnusedAccount(email, unique_id, _time(_text(content.get("lastAuthenticatedTime"))))


def lateral_movement(message: Insight) -> LateralMovement | None:
    """Return an account of another project that can act as accounts of this one; None for Google's own."""
    document = _json(message)
    content = _mapping(document.get("content"))
    impersonator = _mapping(content.get("impersonator"))
    email = _text(impersonator.get("serviceAccount"))
    role = _text(_mapping(content.get("impersonationPolicy")).get("role"))
    if not email or not role or impersonator.get("isGoogleManaged") or not _is_active(document):
        return None
    targets = frozenset(filter(None, map(_text, _list(content.get("targetServiceAccounts")))))
    return LateralMovement(email, role, targets)


def workload_identity(message: Recommendation, location: str) -> WorkloadIdentityRecommendation | None:
    """Return an open recommendation about the account of a service; None for another one."""
    document = _json(message)
    state = _open_state(document)
    overview = _mapping(_mapping(document.get("content")).get("overview"))
    service = _text(overview.get("serviceName")).rpartition("/")[2]
    if state is None or not service:
        return None
    return WorkloadIdentityRecommendation(
        name=_text(document.get("name")),
        etag=_text(document.get("etag")),
        state=state,
        location=_text(overview.get("serviceRegion")) or location,
        service=service,
    )


def _json(message: Recommendation | Insight) -> Mapping[str, Json]:
    document: Mapping[str, Json] = json_format.MessageToDict(type(message).pb(message))
    return document


def _open_state(document: Mapping[str, Json]) -> FindingState | None:
    state = _text(_mapping(document.get("stateInfo")).get("state"))
    return FindingState(state) if state in {*FindingState} else None


def _is_active(document: Mapping[str, Json]) -> bool:
    return _text(_mapping(document.get("stateInfo")).get("state")) == _ACTIVE


def _operations(document: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    for group in _list(_mapping(document.get("content")).get("operationGroups")):
        yield from map(_mapping, _list(_mapping(group).get("operations")))


def _is_project(resource: str, document: Mapping[str, Json], project_id: str) -> bool:
    """Return whether a full name is that of the project, by its ID or by the number in the finding's name."""
    number = _text(document.get("name")).split("/")[1:2]
    return resource in (f"{_PROJECT}{each}" for each in (project_id, *number))


def _permissions(listed: Json) -> Iterable[str]:
    """Return the names in a list of permissions: objects, and strings in older answers."""
    for each in _list(listed):
        name = _text(each) or _text(_mapping(each).get("permission"))
        if name:
            yield name


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
