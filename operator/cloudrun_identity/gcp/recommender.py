"""The Recommender API: recommendations and insights of a project, and the states of recommendations.

Google keeps one quota per recommender and organization: 100 reads per minute and per day without a support
package (https://cloud.google.com/recommender/quotas). Callers share what was read: see `findings_reader`.
"""

from collections.abc import Sequence
from enum import StrEnum

from cloudrun_identity.iam.google_findings import (
    FindingSource,
    LateralMovement,
    PermissionUsage,
    RoleRecommendation,
    UnusedAccount,
    WorkloadIdentityRecommendation,
)

from .clients import ProjectClients
from .libraries import recommender_v1
from .ratelimit import Api
from .recommender_messages import (
    Insight,
    Recommendation,
    lateral_movement,
    permission_usage,
    role_recommendation,
    unused_account,
    workload_identity,
)
from .service_client import ServiceClient

GLOBAL = "global"
"""Location of everything about IAM policies of projects and about accounts."""


class Mark(StrEnum):
    """States that a user can set, by the last word of the method."""

    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Recommender:
    """Methods of the Recommender API. Every method raises GoogleError."""

    def __init__(self, clients: ProjectClients) -> None:
        self._service = ServiceClient(
            clients, Api.RECOMMENDER, recommender_v1, "google.cloud.recommender.v1.Recommender"
        )

    async def roles(self, project_id: str) -> tuple[RoleRecommendation, ...]:
        """Return the open recommendations about roles on the project."""
        found = await self._recommendations(project_id, GLOBAL, FindingSource.ROLES)
        return tuple(filter(None, (role_recommendation(each, project_id) for each in found)))

    async def usage(self, project_id: str) -> tuple[PermissionUsage, ...]:
        """Return the use of the roles on the project."""
        found = await self._insights(project_id, FindingSource.PERMISSION_USAGE)
        return tuple(filter(None, (permission_usage(each, project_id) for each in found)))

    async def unused_accounts(self, project_id: str) -> tuple[UnusedAccount, ...]:
        """Return the accounts that did not authenticate for 90 days."""
        found = await self._insights(project_id, FindingSource.UNUSED_ACCOUNTS)
        return tuple(filter(None, map(unused_account, found)))

    async def lateral_movements(self, project_id: str) -> tuple[LateralMovement, ...]:
        """Return the accounts of other projects that can act as accounts of this one."""
        found = await self._insights(project_id, FindingSource.LATERAL_MOVEMENT)
        return tuple(filter(None, map(lateral_movement, found)))

    async def workload_identities(
        self, project_id: str, location: str
    ) -> tuple[WorkloadIdentityRecommendation, ...]:
        """Return the open recommendations to run services of a location as accounts of their own."""
        found = await self._recommendations(project_id, location, FindingSource.WORKLOAD_IDENTITIES)
        return tuple(filter(None, (workload_identity(each, location) for each in found)))

    async def mark(self, project_id: str, name: str, etag: str, mark: Mark) -> None:
        """Set the state of a recommendation. ABORTED if it is not the version with this etag."""
        verb = f"mark_recommendation_{mark}"
        request = getattr(recommender_v1, f"MarkRecommendation{mark.capitalize()}Request")(
            name=name, etag=etag, state_metadata={"marked-by": "cloudrun-identity"}
        )
        await self._service.call(project_id, verb, request, repeatable=True, has_etag=True)

    async def _recommendations(
        self, project_id: str, location: str, source: FindingSource
    ) -> Sequence[Recommendation]:
        request = recommender_v1.ListRecommendationsRequest(
            parent=f"projects/{project_id}/locations/{location}/recommenders/{source}", page_size=_PAGE_SIZE
        )
        found: list[Recommendation] = []
        while True:
            page = await self._service.call(project_id, "list_recommendations", request)
            found += page.recommendations
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def _insights(self, project_id: str, source: FindingSource) -> Sequence[Insight]:
        request = recommender_v1.ListInsightsRequest(
            parent=f"projects/{project_id}/locations/{GLOBAL}/insightTypes/{source}", page_size=_PAGE_SIZE
        )
        found: list[Insight] = []
        while True:
            page = await self._service.call(project_id, "list_insights", request)
            found += page.insights
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


_PAGE_SIZE = 500
"""A page counts as one read of the quota."""
