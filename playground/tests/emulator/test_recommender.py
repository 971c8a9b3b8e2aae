"""Recommender: lists, states with etags, permissions, and findings that are computed from the use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import recommender_v1 as recommender
from google.protobuf import json_format

from cloudrun_identity_playground.emulator import Emulator
from cloudrun_identity_playground.emulator.edit_errors import EditError
from cloudrun_identity_playground.emulator.seed import Binding, Project, Seed, ServiceAccount, Workload

from .clients import Clients

NUMBER = "123456789012"
ROLES = f"projects/{NUMBER}/locations/global/recommenders/google.iam.policy.Recommender"
USAGE = f"projects/{NUMBER}/locations/global/insightTypes/google.iam.policy.Insight"
MEMBER = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
STRANGER = "serviceAccount:deploy@other.iam.gserviceaccount.com"
State = recommender.RecommendationStateInfo.State

SEED = Seed(
    projects=(
        Project(project_id="other", service_accounts=(ServiceAccount(account_id="deploy"),)),
        Project(
            project_id="shop",
            project_number=NUMBER,
            service_accounts=(ServiceAccount(account_id="checkout"),),
            services=(
                Workload(location="europe-west1", name="web", image="image"),
                Workload(location="europe-west1", name="own", image="image", service_account=MEMBER[15:]),
            ),
            policy=(
                Binding(role="roles/storage.admin", members=(MEMBER,)),
                Binding(role="roles/run.viewer", members=(MEMBER,)),
                Binding(role="roles/iam.serviceAccountUser", members=(STRANGER,)),
            ),
        ),
    )
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=SEED) as running:
        yield running


def use(emulator: Emulator, **usage: Any) -> None:
    emulator.edit({"usage": "projects/shop", **usage})


def client(clients: Clients) -> recommender.RecommenderAsyncClient:
    return clients.recommender


async def recommendations(clients: Clients, parent: str = ROLES) -> dict[str, recommender.Recommendation]:
    """Return the recommendations by what they are about."""
    found = await client(clients).list_recommendations(parent=parent)
    return {_subject(each): each async for each in found}


def _subject(found: recommender.Recommendation) -> str:
    overview = json_format.MessageToDict(type(found).pb(found).content.overview)
    return str(overview.get("removedRole") or overview.get("serviceName") or found.recommender_subtype)


async def insights(clients: Clients, kind: str, location: str = "global") -> list[dict[str, Any]]:
    parent = f"projects/shop/locations/{location}/insightTypes/{kind}"
    return [
        json_format.MessageToDict(type(each).pb(each))
        async for each in await client(clients).list_insights(parent=parent)
    ]


async def test_unused_role_is_recommended_to_be_removed(emulator: Emulator, clients: Clients) -> None:
    use(emulator, used={MEMBER: ["storage.objects.get"]})
    found = (await recommendations(clients))["roles/run.viewer"]
    assert found.recommender_subtype == "REMOVE_ROLE"
    [operation] = found.content.operation_groups[0].operations
    assert operation.action == "remove"
    assert operation.path_filters["/iamPolicy/bindings/*/members/*"] == MEMBER


async def test_large_role_is_replaced_by_the_smallest_sufficient_one(
    emulator: Emulator, clients: Clients
) -> None:
    use(emulator, used={MEMBER: ["storage.objects.get"]})
    found = (await recommendations(clients))["roles/storage.admin"]
    assert found.recommender_subtype == "REPLACE_ROLE"
    [added] = found.content.overview["addedRoles"]
    used = await insights(clients, "google.iam.policy.Insight")
    admin = next(each for each in used if each["content"]["role"] == "roles/storage.admin")
    assert admin["content"]["exercisedPermissions"] == [{"permission": "storage.objects.get"}]
    assert "storage.objects.get" in emulator.cloud.role_table.permissions(added)
    assert len(emulator.cloud.role_table.permissions(added)) < int(
        admin["content"]["currentTotalPermissionsCount"]
    )


async def test_role_without_a_smaller_one_can_be_customized(emulator: Emulator, clients: Clients) -> None:
    use(emulator, used={MEMBER: ["storage.buckets.create", "storage.objects.get", "run.jobs.list"]})
    subtypes = {each.recommender_subtype for each in (await recommendations(clients)).values()}
    assert "REPLACE_ROLE_CUSTOMIZABLE" in subtypes


async def test_member_without_observation_has_no_findings(emulator: Emulator, clients: Clients) -> None:
    use(emulator)
    assert not await recommendations(clients)


async def test_service_on_the_default_account_is_recommended_an_own_one(
    emulator: Emulator, clients: Clients
) -> None:
    use(emulator)
    parent = "projects/shop/locations/europe-west1/recommenders/google.run.service.IdentityRecommender"
    assert list(await recommendations(clients, parent)) == ["web"]
    [insight] = await insights(clients, "google.run.service.IdentityInsight", "europe-west1")
    assert insight["content"] == {"serviceName": "web", "serviceRegion": "europe-west1"}


async def test_unused_account_has_an_insight(emulator: Emulator, clients: Clients) -> None:
    use(emulator, unusedAccounts={MEMBER[15:]: "2026-01-31T08:00:00Z"})
    [insight] = await insights(clients, "google.iam.serviceAccount.Insight")
    assert insight["insightSubtype"] == "SERVICE_ACCOUNT_USAGE"
    assert insight["content"]["lastAuthenticatedTime"] == "2026-01-31T08:00:00Z"


async def test_account_of_another_project_that_can_impersonate_has_an_insight(
    emulator: Emulator, clients: Clients
) -> None:
    use(emulator)
    [insight] = await insights(clients, "google.iam.policy.LateralMovementInsight")
    assert insight["insightSubtype"] == "CROSS_PROJECT_IMPERSONATION"
    assert insight["content"]["impersonationPolicy"]["role"] == "roles/iam.serviceAccountUser"


async def test_claimed_recommendation_keeps_its_content_and_accepts_its_insight(
    emulator: Emulator, clients: Clients
) -> None:
    use(emulator, used={MEMBER: []})
    found = (await recommendations(clients))["roles/run.viewer"]
    claimed = await client(clients).mark_recommendation_claimed(
        name=found.name, etag=found.etag, state_metadata={"by": "ann"}
    )
    assert (claimed.state_info.state, claimed.state_info.state_metadata["by"]) == (State.CLAIMED, "ann")
    assert claimed.etag != found.etag
    insight = await client(clients).get_insight(name=found.associated_insights[0].insight)
    assert insight.state_info.state == recommender.InsightStateInfo.State.ACCEPTED
    use(emulator, used={MEMBER: ["run.services.list"]})
    assert (await recommendations(clients))["roles/run.viewer"].state_info.state == State.CLAIMED


async def test_stale_etag_marks_nothing(emulator: Emulator, clients: Clients) -> None:
    use(emulator, used={MEMBER: []})
    found = (await recommendations(clients))["roles/run.viewer"]
    with pytest.raises(exceptions.Aborted):
        await client(clients).mark_recommendation_succeeded(name=found.name, etag='"old"')
    with pytest.raises(exceptions.InvalidArgument):
        await client(clients).mark_recommendation_succeeded(name=found.name)


async def test_succeeded_recommendation_cannot_be_dismissed(emulator: Emulator, clients: Clients) -> None:
    use(emulator, used={MEMBER: []})
    found = (await recommendations(clients))["roles/run.viewer"]
    done = await client(clients).mark_recommendation_succeeded(name=found.name, etag=found.etag)
    request = recommender.MarkRecommendationDismissedRequest(name=found.name, etag=done.etag)
    with pytest.raises(exceptions.FailedPrecondition):
        await client(clients).mark_recommendation_dismissed(request)


async def test_each_recommender_needs_its_own_permission(
    emulator: Emulator, sign_in: Callable[[str], Clients]
) -> None:
    emulator.edit(
        {
            "policy": "//cloudresourcemanager.googleapis.com/projects/shop",
            "add": [{"role": "roles/recommender.iamViewer", "member": "user:ann@example.com"}],
        }
    )
    ann = sign_in(emulator.cloud.callers.mint("user:ann@example.com", 3600))
    await client(ann).list_insights(parent=USAGE)
    parent = "projects/shop/locations/europe-west1/recommenders/google.run.service.IdentityRecommender"
    with pytest.raises(exceptions.PermissionDenied, match="runServiceIdentityRecommendations"):
        await recommendations(ann, parent)


async def test_unknown_recommender_is_invalid(clients: Clients) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await recommendations(clients, "projects/shop/locations/global/recommenders/google.none.Recommender")


async def test_planted_recommendation_is_listed(emulator: Emulator, clients: Clients) -> None:
    name = f"{ROLES}/recommendations/0b1"
    emulator.edit({"recommendation": {"name": name, "recommenderSubtype": "REMOVE_ROLE"}})
    assert (await client(clients).get_recommendation(name=name)).recommender_subtype == "REMOVE_ROLE"
    with pytest.raises(EditError, match="Recommendation"):
        emulator.edit({"recommendation": {"nme": name}})
