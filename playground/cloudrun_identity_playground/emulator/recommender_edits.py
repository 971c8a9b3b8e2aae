"""Edits of what Recommender knows about a project: the use of permissions, or whole findings."""

from __future__ import annotations

from typing import Any

from google.cloud import recommender_v1 as recommender
from google.protobuf import json_format
from pydantic import BaseModel, ConfigDict, Field

from .apis.recommendation_findings import Usage
from .cloud import Cloud
from .edit_errors import EditError
from .sender import Sender


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UsageEdit(_Model):
    """The use of permissions in a project since 90 days, from which all its findings are computed.

    `{"usage": "projects/P", "used": {MEMBER: [PERMISSION, …]}, "inferred": {…}, "unusedAccounts": {EMAIL:
    TIME}}`. Members that are not in `used` were not observed long enough. The time of an unused account is
    that of its last authentication, such as `2026-01-31T08:00:00Z`; empty for never.
    """

    project: str = Field(alias="usage", pattern=r"^projects/[^/]+$")
    used: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    inferred: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    unused_accounts: dict[str, str] = Field(default_factory=dict, alias="unusedAccounts")

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        """Compute the findings of the project."""
        project = cloud.registry.resolve_name(self.project)
        usage = Usage(
            {member: frozenset(used) for member, used in self.used.items()},
            {member: frozenset(inferred) for member, inferred in self.inferred.items()},
            self.unused_accounts,
        )
        found = cloud.analysis.of(project, usage, cloud.clock())
        prefix = f"projects/{project.number}/"
        cloud.recommender.refresh(prefix, found.recommendations, found.insights)


class RecommendationEdit(_Model):
    """`{"recommendation": RECOMMENDATION}`: a recommendation in the JSON of the REST API."""

    recommendation: dict[str, Any]

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        """Store the recommendation."""
        cloud.recommender.plant(_parsed(recommender.Recommendation, self.recommendation))


class InsightEdit(_Model):
    """`{"insight": INSIGHT}`: an insight in the JSON of the REST API."""

    insight: dict[str, Any]

    def apply(self, cloud: Cloud, _sender: Sender) -> None:
        """Store the insight."""
        cloud.recommender.plant(_parsed(recommender.Insight, self.insight))


def _parsed(message: Any, document: dict[str, Any]) -> Any:
    try:
        return message.wrap(json_format.ParseDict(document, message.pb()()))
    except json_format.ParseError as error:
        raise EditError(f"{message.__name__}: {error}") from error
