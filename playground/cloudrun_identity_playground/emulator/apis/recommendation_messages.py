"""Messages of Recommender in the shapes that Google publishes.

Sources: https://cloud.google.com/policy-intelligence/docs/review-apply-role-recommendations (role
recommendations), …/docs/policy-insights, …/docs/service-account-insights,
…/docs/lateral-movement-insights, and for Cloud Run, whose contents are not documented, the fields that
https://github.com/GoogleCloudPlatform/cloud-provision reads: `serviceName` and `serviceRegion`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud import recommender_v1 as recommender
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

OBSERVED = 90 * 86_400
"""Seconds that a finding looks back."""
_PROJECT = "cloudresourcemanager.googleapis.com/Project"
_ROLE = "/iamPolicy/bindings/*/role"
_MEMBER = "/iamPolicy/bindings/*/members/*"
_CONDITION = "/iamPolicy/bindings/*/condition/expression"
_NO_CONDITION = {"expression": "", "title": "", "description": "", "location": ""}


@dataclass(frozen=True)
class Place:
    """Place and time of findings."""

    number: str
    """Number of the project."""
    location: str
    """`global`, or a region for Cloud Run."""
    now: float
    """Time of the refresh, in seconds since the epoch."""

    @property
    def project(self) -> str:
        """Full name of the project, with its number."""
        return f"//cloudresourcemanager.googleapis.com/projects/{self.number}"

    def insight_name(self, kind: str, *parts: str) -> str:
        """Return the name of an insight about `parts`, which is the same at each refresh."""
        return f"{self._below()}/insightTypes/{kind}/insights/{_identifier(kind, *parts)}"

    def recommendation_name(self, kind: str, *parts: str) -> str:
        """Return the name of a recommendation about `parts`, which is the same at each refresh."""
        return f"{self._below()}/recommenders/{kind}/recommendations/{_identifier(kind, *parts)}"

    def _below(self) -> str:
        return f"projects/{self.number}/locations/{self.location}"


def insight(
    place: Place, name: str, subtype: str, description: str, content: Mapping[str, Any], *targets: str
) -> recommender.Insight:
    """Return an active insight."""
    return recommender.Insight(
        name=name,
        description=description,
        insight_subtype=subtype,
        content=_struct(content),
        last_refresh_time=_time(place.now),
        observation_period=duration_pb2.Duration(seconds=OBSERVED),
        state_info=recommender.InsightStateInfo(state=recommender.InsightStateInfo.State.ACTIVE),
        category=recommender.Insight.Category.SECURITY,
        severity=recommender.Insight.Severity.LOW,
        target_resources=targets or (place.project,),
    )


def usage_content(
    role: str, member: str, exercised: Iterable[str], inferred: Iterable[str], total: int
) -> dict[str, Any]:
    """Return the content of an insight about the permissions that a member used of a role."""
    return {
        "role": role,
        "member": member,
        "condition": _NO_CONDITION,
        "exercisedPermissions": [{"permission": each} for each in exercised],
        "inferredPermissions": [{"permission": each} for each in inferred],
        "currentTotalPermissionsCount": str(total),
    }


def impersonation_content(
    impersonator: str,
    owner: str,
    targets: Iterable[str],
    resource: str,
    role: str,
    permissions: Iterable[str],
) -> dict[str, Any]:
    """Return the content of an insight about an account that may act as accounts of another project."""
    return {
        "impersonator": {
            "serviceAccount": impersonator,
            "serviceAccountOwner": owner,
            "isGoogleManaged": False,
        },
        "targetServiceAccounts": list(targets),
        "impersonationPolicy": {
            "resource": resource,
            "role": role,
            "member": f"serviceAccount:{impersonator}",
            "condition": _NO_CONDITION,
        },
        "impersonationPermissionUsage": [{"permission": each, "used": False} for each in permissions],
        "hasPermissionUsageData": True,
    }


def role_recommendation(
    place: Place,
    member: str,
    role: str,
    added: tuple[str, ...],
    subtype: str,
    about: recommender.Insight,
) -> recommender.Recommendation:
    """Return the recommendation to take a role away from a member, or to replace it.

    `REPLACE_ROLE_CUSTOMIZABLE` has no overview and adds no role: the user defines a custom role.
    """
    operations = [_operation(place, "add", each, member) for each in added]
    operations.append(_operation(place, "remove", role, member))
    overview: dict[str, Any] = {}
    if subtype != "REPLACE_ROLE_CUSTOMIZABLE":
        overview = {
            "resource": place.project,
            "member": member,
            "removedRole": role,
            "minimumObservationPeriodInDays": "0",
            **({"addedRoles": list(added)} if added else {}),
        }
    descriptions = {"REMOVE_ROLE": "This role has not been used during the observation window."}
    return _recommendation(
        place,
        place.recommendation_name("google.iam.policy.Recommender", member, role),
        subtype,
        descriptions.get(
            subtype, "Replace the current role with a smaller role to cover the permissions needed."
        ),
        operations,
        overview,
        about,
    )


def identity_recommendation(
    place: Place, service: str, resource: str, about: recommender.Insight
) -> recommender.Recommendation:
    """Return the recommendation to run a service as an account of its own."""
    kind = "google.run.service.IdentityRecommender"
    operation = recommender.Operation(
        action="replace",
        resource_type="run.googleapis.com/Service",
        resource=resource,
        path="/template/serviceAccount",
    )
    recommender.Operation.pb(operation).value.string_value = ""
    return _recommendation(
        place,
        place.recommendation_name(kind, service),
        "CREATE_SERVICE_ACCOUNT",
        "Create a service account with the minimal set of permissions for this service.",
        [operation],
        {"serviceName": service, "serviceRegion": place.location},
        about,
    )


def _recommendation(
    place: Place,
    name: str,
    subtype: str,
    description: str,
    operations: list[recommender.Operation],
    overview: Mapping[str, Any],
    about: recommender.Insight,
) -> recommender.Recommendation:
    found = recommender.Recommendation(
        name=name,
        description=description,
        recommender_subtype=subtype,
        last_refresh_time=_time(place.now),
        primary_impact=recommender.Impact(category=recommender.Impact.Category.SECURITY),
        priority=recommender.Recommendation.Priority.P4,
        content=recommender.RecommendationContent(
            operation_groups=[recommender.OperationGroup(operations=operations)], overview=_struct(overview)
        ),
        state_info=recommender.RecommendationStateInfo(
            state=recommender.RecommendationStateInfo.State.ACTIVE
        ),
        associated_insights=[recommender.Recommendation.InsightReference(insight=about.name)],
    )
    about.associated_recommendations = [recommender.Insight.RecommendationReference(recommendation=name)]
    return found


def _operation(place: Place, action: str, role: str, member: str) -> recommender.Operation:
    filters = {_CONDITION: "", _ROLE: role} | ({_MEMBER: member} if action == "remove" else {})
    operation = recommender.Operation(
        action=action,
        resource_type=_PROJECT,
        resource=place.project,
        path="/iamPolicy/bindings/*/members/-" if action == "add" else _MEMBER,
    )
    # proto-plus converts neither values nor maps of them.
    plain = recommender.Operation.pb(operation)
    for path, value in filters.items():
        plain.path_filters[path].string_value = value
    if action == "add":
        plain.value.string_value = member
    return operation


def _struct(content: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(content))
    return struct


def _time(seconds: float) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=int(seconds))


def _identifier(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))
