from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from cloudrun_identity_playground.emulator import Emulator

from .clients import LOCATION, Clients

ACCOUNTS = "/v1/projects/shop/serviceAccounts"
EMAIL = "checkout@shop.iam.gserviceaccount.com"


class Rest:
    """JSON requests with an expected status."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, verb: str, path: str, body: Any = None, status: int = 200) -> Any:
        async with self._session.request(verb, self._url + path, json=body) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer


@pytest.fixture
async def rest(emulator: Emulator) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(session, emulator.rest_url)


async def test_account_life_cycle_matches_the_recordings(rest: Rest) -> None:
    missing = await rest("GET", f"{ACCOUNTS}/{EMAIL}?alt=json&prettyPrint=false", status=404)
    assert missing == {
        "error": {
            "code": 404,
            "errors": [{"domain": "global", "message": "Unknown service account", "reason": "notFound"}],
            "message": "Unknown service account",
            "status": "NOT_FOUND",
        }
    }
    fields = {"description": "d", "displayName": "n"}
    created = await rest("POST", ACCOUNTS, {"accountId": "checkout", "serviceAccount": fields})
    assert created == {
        "description": "d",
        "displayName": "n",
        "email": EMAIL,
        "etag": "MDEwMjE5MjA=",
        "name": f"projects/shop/serviceAccounts/{EMAIL}",
        "oauth2ClientId": created["uniqueId"],
        "projectId": "shop",
        "uniqueId": created["uniqueId"],
    }
    again = await rest("POST", ACCOUNTS, {"accountId": "checkout", "serviceAccount": {}}, status=409)
    assert again["error"]["errors"][0]["reason"] == "alreadyExists"
    assert again["error"]["message"] == (
        "Service account checkout already exists within project projects/shop."
    )

    body = {
        "serviceAccount": {"description": "d2", "displayName": "n2", "etag": "MDEwMjE5MjA="},
        "updateMask": "description,display_name",
    }
    assert await rest("PATCH", f"{ACCOUNTS}/{EMAIL}", body) == {
        "description": "d2",
        "displayName": "n2",
        "name": f"projects/shop/serviceAccounts/{EMAIL}",
    }
    assert (await rest("GET", f"{ACCOUNTS}/{EMAIL}"))["description"] == "d2"
    assert len((await rest("GET", ACCOUNTS))["accounts"]) == 1
    assert await rest("DELETE", f"{ACCOUNTS}/{EMAIL}") == {}
    await rest("POST", f"{ACCOUNTS}/{created['uniqueId']}:undelete", {})
    await rest("POST", f"{ACCOUNTS}/{EMAIL}:disable", {})
    assert (await rest("GET", f"{ACCOUNTS}/{EMAIL}"))["disabled"] is True


async def test_project_policy_is_shared_by_v1_v3_and_grpc(rest: Rest, clients: Clients) -> None:
    policy = await rest("POST", "/v1/projects/shop:getIamPolicy", {"options": {"requestedPolicyVersion": 3}})
    policy["bindings"] = [{"role": "roles/viewer", "members": ["user:ann@example.com"]}]
    written = await rest("POST", "/v1/projects/shop:setIamPolicy", {"policy": policy})

    assert await rest("POST", "/v3/projects/shop:getIamPolicy", {}) == written
    assert (await clients.policy()).bindings[0].role == "roles/viewer"
    stale = await rest("POST", "/v3/projects/shop:setIamPolicy", {"policy": policy | {"etag": "AAAA"}}, 409)
    assert stale["error"]["status"] == "ABORTED"


async def test_a_project_is_shown_by_both_versions(rest: Rest) -> None:
    newer = await rest("GET", "/v3/projects/shop")
    older = await rest("GET", "/v1/projects/shop")

    assert newer["projectId"] == older["projectId"] == "shop"
    assert newer["name"] == f"projects/{older['projectNumber']}"
    assert older["lifecycleState"] == "ACTIVE"


async def test_a_service_is_created_read_changed_and_deleted(rest: Rest) -> None:
    template = {"containers": [{"image": "hello"}]}
    started = await rest("POST", f"/v2/{LOCATION}/services?serviceId=web", {"template": template})
    assert started["response"]["@type"] == "type.googleapis.com/google.cloud.run.v2.Service"
    assert (await rest("GET", f"/v2/{started['name']}"))["done"] is True

    service = await rest("GET", f"/v2/{LOCATION}/services/web")
    assert service["generation"] == "1"
    assert service["terminalCondition"]["type"] == "Ready"
    body = {"template": {"timeout": "60s"}, "etag": service["etag"]}
    await rest("PATCH", f"/v2/{LOCATION}/services/web?updateMask=template.timeout", body)
    changed = await rest("GET", f"/v2/{LOCATION}/services/web")
    assert changed["template"]["timeout"] == "60s"
    assert changed["template"]["containers"] == service["template"]["containers"]

    assert [each["name"] for each in (await rest("GET", f"/v2/{LOCATION}/services"))["services"]] == [
        f"{LOCATION}/services/web"
    ]
    await rest("DELETE", f"/v2/{LOCATION}/services/web")
    gone = await rest("GET", f"/v2/{LOCATION}/services/web", status=404)
    assert "errors" not in gone["error"]  # an API of version 2


async def test_enums_are_numbers_on_request(rest: Rest) -> None:
    job = {"template": {"template": {"containers": [{"image": "hello"}]}}}
    await rest("POST", f"/v2/{LOCATION}/jobs?jobId=nightly", job)
    shown = await rest("GET", f"/v2/{LOCATION}/jobs/nightly?%24alt=json%3Benum-encoding%3Dint")
    assert shown["launchStage"] == 4


async def test_worker_pools_roles_and_organization_policies_are_served(rest: Rest) -> None:
    pool = {"template": {"containers": [{"image": "hello"}]}}
    await rest("POST", f"/v2/{LOCATION}/workerPools?workerPoolId=queue", pool)
    assert (await rest("GET", f"/v2/{LOCATION}/workerPools/queue"))["observedGeneration"] == "1"
    assert "run.routes.invoke" in (await rest("GET", "/v1/roles/run.invoker"))["includedPermissions"]
    assert (await rest("GET", "/v1/roles?pageSize=3"))["nextPageToken"]
    role = {"roleId": "deployer", "role": {"title": "Deployer"}}
    assert (await rest("POST", "/v1/projects/shop/roles", role))["name"] == "projects/shop/roles/deployer"
    await rest("DELETE", "/v1/projects/shop/roles/deployer")
    assert await rest("GET", "/v1/projects/shop/roles?showDeleted=false") == {}
    assert (await rest("GET", "/v1/projects/shop/roles?showDeleted=true"))["roles"][0]["deleted"]
    constraint = "iam.disableCrossProjectServiceAccountUsage"
    effective = await rest("GET", f"/v2/projects/shop/policies/{constraint}:getEffectivePolicy")
    assert effective["spec"]["rules"] == [{"enforce": True}]
    body = {"name": f"projects/shop/policies/{constraint}", "spec": {"rules": [{"enforce": False}]}}
    await rest("POST", "/v2/projects/shop/policies", body)
    body["spec"]["rules"][0]["enforce"] = True
    path = f"/v2/projects/shop/policies/{constraint}?updateMask=policy.spec,policy.dryRunSpec"
    assert (await rest("PATCH", path, body))["spec"]["rules"] == [{"enforce": True}]


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "t", "yes", "Y", "1"])
async def test_boolean_of_a_query_takes_every_true_form(rest: Rest, word: str) -> None:
    await rest("POST", "/v1/projects/shop/roles", {"roleId": "deployer", "role": {"title": "Deployer"}})
    await rest("DELETE", "/v1/projects/shop/roles/deployer")
    for name in ("showDeleted", "show_deleted"):
        assert (await rest("GET", f"/v1/projects/shop/roles?{name}={word}"))["roles"][0]["deleted"]


@pytest.mark.parametrize("word", ["false", "False", "F", "no", "n", "0"])
async def test_boolean_of_a_query_takes_every_false_form(rest: Rest, word: str) -> None:
    await rest("POST", "/v1/projects/shop/roles", {"roleId": "deployer", "role": {"title": "Deployer"}})
    await rest("DELETE", "/v1/projects/shop/roles/deployer")
    assert await rest("GET", f"/v1/projects/shop/roles?showDeleted={word}") == {}


@pytest.mark.parametrize("word", ["maybe", "on", "2", ""])
async def test_other_words_for_a_boolean_are_refused(rest: Rest, word: str) -> None:
    refused = await rest("GET", f"/v1/projects/shop/roles?showDeleted={word}", status=400)
    [detail] = refused["error"]["details"]
    assert refused["error"]["message"] == f"Invalid value at 'show_deleted' (TYPE_BOOL), \"{word}\""
    assert detail["fieldViolations"][0]["field"] == "show_deleted"


async def test_a_permission_error_carries_its_error_info(rest: Rest) -> None:
    answer = await rest("GET", f"/v1/projects/-/serviceAccounts/{EMAIL}", status=403)
    [info] = answer["error"]["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["reason"] == "IAM_PERMISSION_DENIED"


@pytest.mark.parametrize("body", ["{", "[]"])
async def test_body_that_is_not_a_json_object_is_refused(emulator: Emulator, body: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.rest_url + ACCOUNTS, data=body) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["status"] == "INVALID_ARGUMENT"


async def test_value_of_a_wrong_type_is_refused(rest: Rest) -> None:
    answer = await rest("POST", ACCOUNTS, {"accountId": 7}, status=400)
    assert answer["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/projects/shop/serviceAccounts", {"accountId": "checkout", "nonsense": 1}),
        ("/v1/projects/shop/serviceAccounts?nonsense=1", {"accountId": "checkout"}),
    ],
    ids=["body", "query"],
)
async def test_an_unknown_field_is_refused_as_google_does(
    rest: Rest, path: str, body: dict[str, Any]
) -> None:
    answer = await rest("POST", path, body, status=400)
    what = 'Invalid JSON payload received. Unknown name "nonsense": Cannot find field.'
    assert (answer["error"]["status"], answer["error"]["message"]) == ("INVALID_ARGUMENT", what)
    [detail] = answer["error"]["details"]
    assert detail == {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"description": what}],
    }


async def test_method_that_is_not_served_is_named_and_not_retried(rest: Rest) -> None:
    answer = await rest("GET", "/v9/nonsense", status=405)
    assert "GET /v9/nonsense" in answer["error"]["message"]


async def test_rest_and_grpc_calls_are_counted_together(
    rest: Rest, clients: Clients, emulator: Emulator
) -> None:
    await rest("POST", "/v1/projects/shop:getIamPolicy", {})
    await clients.policy()
    assert dict(emulator.calls) == {"google.cloud.resourcemanager.v3.Projects/GetIamPolicy": 2}


async def test_rest_is_not_served_without_its_port() -> None:
    async with Emulator() as emulator:
        assert emulator.rest_url == ""
