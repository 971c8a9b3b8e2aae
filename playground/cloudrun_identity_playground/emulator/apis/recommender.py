"""Recommender v1: recommendations and insights of projects, and the states that callers mark them with.

Names have the number of the project. Contents come from `recommendation_findings`, or from an edit that
plants one. https://cloud.google.com/recommender/docs/reference/rpc/google.cloud.recommender.v1
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from google.cloud import recommender_v1 as recommender

from cloudrun_identity_playground.emulator.errors import aborted, failed_precondition, invalid, not_found

from .paging import page, page_size
from .projects import ProjectRegistry
from .rpc import serves

RecommendationState = recommender.RecommendationStateInfo.State
InsightState = recommender.InsightStateInfo.State
Finding = TypeVar("Finding", recommender.Recommendation, recommender.Insight)

PERMISSION_PREFIXES: Mapping[str, str] = {
    "google.iam.policy.Recommender": "recommender.iamPolicyRecommendations",
    "google.run.service.IdentityRecommender": "recommender.runServiceIdentityRecommendations",
    "google.iam.policy.Insight": "recommender.iamPolicyInsights",
    "google.iam.policy.LateralMovementInsight": "recommender.iamPolicyLateralMovementInsights",
    "google.iam.serviceAccount.Insight": "recommender.iamServiceAccountInsights",
    "google.run.service.IdentityInsight": "recommender.runServiceIdentityInsights",
}
"""Prefixes of the permissions, by the ID of the recommender or of the type of insights.

https://cloud.google.com/recommender/docs/recommenders and …/docs/insights/insight-types
"""

_SERVICE = "google.cloud.recommender.v1.Recommender"
_COLLECTIONS = {"recommenders": "recommendations", "insightTypes": "insights"}
_NAME = re.compile(
    r"projects/([^/]+)/locations/([^/]+)/(recommenders|insightTypes)/([^/]+)(?:/([^/]+)/([^/]+))?"
)
_STATE_FILTER = re.compile(r'stateInfo\.state\s*[=:]\s*"?([A-Z]+)"?')
_MARKABLE: Collection[Any] = frozenset(
    {
        RecommendationState.ACTIVE,
        RecommendationState.CLAIMED,
        RecommendationState.SUCCEEDED,
        RecommendationState.FAILED,
    }
)
"""States in which a recommendation can be marked as claimed, succeeded or failed."""


class Recommender:
    """The service `google.cloud.recommender.v1.Recommender`."""

    def __init__(self, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._recommendations: dict[str, recommender.Recommendation] = {}
        self._insights: dict[str, recommender.Insight] = {}

    def recommendations(self) -> Iterable[recommender.Recommendation]:
        """Return all recommendations."""
        return self._recommendations.values()

    def insights(self) -> Iterable[recommender.Insight]:
        """Return all insights."""
        return self._insights.values()

    def plant(self, found: recommender.Recommendation | recommender.Insight) -> None:
        """Store a recommendation or an insight; raises GoogleError for an invalid name."""
        found.name = self._canonical(found.name)
        found.etag = _etag(found)
        if isinstance(found, recommender.Recommendation):
            self._recommendations[found.name] = found
        else:
            self._insights[found.name] = found

    def refresh(
        self,
        prefix: str,
        recommendations: Iterable[recommender.Recommendation],
        insights: Iterable[recommender.Insight],
    ) -> None:
        """Replace the active findings with names below `prefix`. Marked ones are frozen, as at Google."""
        self._recommendations = {
            name: each
            for name, each in self._recommendations.items()
            if not name.startswith(prefix) or each.state_info.state is not RecommendationState.ACTIVE
        }
        self._insights = {
            name: each
            for name, each in self._insights.items()
            if not name.startswith(prefix) or each.state_info.state is not InsightState.ACTIVE
        }
        findings: Iterable[recommender.Recommendation | recommender.Insight] = (*recommendations, *insights)
        for found in findings:
            if found.name not in self._recommendations and found.name not in self._insights:
                self.plant(found)

    @serves(f"{_SERVICE}/ListRecommendations")
    def list_recommendations(
        self, request: recommender.ListRecommendationsRequest
    ) -> recommender.ListRecommendationsResponse:
        """List the recommendations of one recommender in one location."""
        found = self._below(request, self._recommendations, "recommenders")
        shown, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return recommender.ListRecommendationsResponse(recommendations=shown, next_page_token=token)

    @serves(f"{_SERVICE}/GetRecommendation")
    def get_recommendation(self, request: recommender.GetRecommendationRequest) -> recommender.Recommendation:
        """Return a recommendation."""
        return self._find(request.name, self._recommendations)

    @serves(f"{_SERVICE}/MarkRecommendationClaimed")
    def claim(self, request: recommender.MarkRecommendationClaimedRequest) -> recommender.Recommendation:
        """Mark a recommendation as claimed, so that its content stays as it is."""
        return self._mark(request, RecommendationState.CLAIMED, _MARKABLE)

    @serves(f"{_SERVICE}/MarkRecommendationSucceeded")
    def succeed(self, request: recommender.MarkRecommendationSucceededRequest) -> recommender.Recommendation:
        """Mark a recommendation as applied."""
        return self._mark(request, RecommendationState.SUCCEEDED, _MARKABLE)

    @serves(f"{_SERVICE}/MarkRecommendationFailed")
    def fail(self, request: recommender.MarkRecommendationFailedRequest) -> recommender.Recommendation:
        """Mark a recommendation as one that could not be applied."""
        return self._mark(request, RecommendationState.FAILED, _MARKABLE)

    @serves(f"{_SERVICE}/MarkRecommendationDismissed")
    def dismiss(self, request: recommender.MarkRecommendationDismissedRequest) -> recommender.Recommendation:
        """Mark an active recommendation as dismissed. Its insights stay as they are."""
        return self._mark(request, RecommendationState.DISMISSED, {RecommendationState.ACTIVE})

    @serves(f"{_SERVICE}/ListInsights")
    def list_insights(self, request: recommender.ListInsightsRequest) -> recommender.ListInsightsResponse:
        """List the insights of one type in one location."""
        found = self._below(request, self._insights, "insightTypes")
        shown, token = page(found, request.page_token, page_size(request.page_size, 100, 1000))
        return recommender.ListInsightsResponse(insights=shown, next_page_token=token)

    @serves(f"{_SERVICE}/GetInsight")
    def get_insight(self, request: recommender.GetInsightRequest) -> recommender.Insight:
        """Return an insight."""
        return self._find(request.name, self._insights)

    @serves(f"{_SERVICE}/MarkInsightAccepted")
    def accept(self, request: recommender.MarkInsightAcceptedRequest) -> recommender.Insight:
        """Mark an active insight as accepted."""
        insight = self._find(request.name, self._insights)
        _check_etag(request.etag, insight)
        if insight.state_info.state is not InsightState.ACTIVE:
            raise failed_precondition(f"Insight is in state {insight.state_info.state.name}.")
        insight.state_info.state_metadata = request.state_metadata
        self._accept(insight)
        return insight

    def _mark(self, request: Any, state: Any, accepted: Collection[Any]) -> recommender.Recommendation:
        """Set the state of a recommendation, and accept its insights. The metadata is replaced."""
        found = self._find(request.name, self._recommendations)
        _check_etag(request.etag, found)
        if found.state_info.state not in accepted:
            raise failed_precondition(
                f"Recommendation is in state {found.state_info.state.name} and cannot be marked {state.name}."
            )
        found.state_info = recommender.RecommendationStateInfo(
            state=state, state_metadata=request.state_metadata
        )
        found.etag = _etag(found)
        if state is not RecommendationState.DISMISSED:
            for reference in found.associated_insights:
                if reference.insight in self._insights:
                    self._accept(self._insights[reference.insight])
        return found

    @staticmethod
    def _accept(insight: recommender.Insight) -> None:
        accepted = recommender.InsightStateInfo(
            state=InsightState.ACCEPTED, state_metadata=insight.state_info.state_metadata
        )
        insight.state_info = accepted
        insight.etag = _etag(insight)

    def _below(self, request: Any, findings: Mapping[str, Finding], collection: str) -> dict[str, Finding]:
        """Return the findings of a list request, as its filter selects them."""
        match = _NAME.fullmatch(request.parent)
        if match is None or match[3] != collection or match[5]:
            raise invalid(f"Invalid parent '{request.parent}'.")
        prefix = f"{self._canonical(request.parent)}/"
        wanted = ""
        if request.filter:
            state = _STATE_FILTER.fullmatch(request.filter.strip())
            if state is None:
                raise invalid(f"The emulator does not support the filter '{request.filter}'.")
            wanted = state[1]
        return {
            name: each
            for name, each in findings.items()
            if name.startswith(prefix) and wanted in ("", each.state_info.state.name)
        }

    def _find(self, name: str, findings: Mapping[str, Finding]) -> Finding:
        found = findings.get(self._canonical(name))
        if found is None:
            raise not_found(f"Resource '{name}' was not found.")
        return found

    def _canonical(self, name: str) -> str:
        """Return the name with the number of the project. Raises GoogleError if it is not valid."""
        match = _NAME.fullmatch(name)
        if match is None or match[5] not in (None, _COLLECTIONS[match[3]]):
            raise invalid(f"Invalid resource name '{name}'.")
        if match[4] not in PERMISSION_PREFIXES:
            raise invalid(f"Unknown recommender or insight type '{match[4]}'.")
        project = self._projects.resolve(match[1])
        return f"projects/{project.number}{name.removeprefix(f'projects/{match[1]}')}"


def required_permission(name: str, verb: str) -> str | None:
    """Return the permission that a method on a name needs; None for an invalid name."""
    match = _NAME.fullmatch(name)
    prefix = PERMISSION_PREFIXES.get(match[4]) if match else None
    return f"{prefix}.{verb}" if prefix else None


def _check_etag(sent: str, found: recommender.Recommendation | recommender.Insight) -> None:
    """Check the etag, which is required (https://google.aip.dev/154 names the code for a stale one)."""
    if not sent:
        raise invalid("The etag is required.")
    if sent != found.etag:
        raise aborted("The etag does not match; read the resource again.")


def _etag(found: recommender.Recommendation | recommender.Insight) -> str:
    """Return the etag of a content and a state. It includes quotes."""
    plain = type(found)(found)
    plain.etag = ""
    content = type(found).pb(plain).SerializeToString(deterministic=True)
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'
