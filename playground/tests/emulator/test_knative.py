"""Cloud Run v1, organization policies of Resource Manager v1, and the proxy for hosts of Google."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator

from .clients import LOCATION, Clients

HOST = {"Host": "europe-west1-run.googleapis.com"}
SERVICES = "/apis/serving.knative.dev/v1/namespaces/shop/services"
JOBS = "/apis/run.googleapis.com/v1/namespaces/shop/jobs"
POOLS = "/apis/run.googleapis.com/v1/namespaces/shop/workerpools"


class Rest:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(
        self, verb: str, path: str, body: Any = None, status: int = 200, host: Any = HOST
    ) -> Any:
        async with self._session.request(verb, self._url + path, json=body, headers=host) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer


@pytest.fixture
async def rest(emulator: Emulator) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(session, emulator.rest_url)


def service(**template: Any) -> dict[str, Any]:
    spec = {"containers": [{"image": "hello"}], **template}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "web", "annotations": {"run.googleapis.com/ingress": "internal"}},
        "spec": {"template": {"metadata": {}, "spec": spec}},
    }


async def test_service_created_in_v1_is_a_service_of_v2(rest: Rest, clients: Clients) -> None:
    account = await clients.create_account()
    await rest("POST", SERVICES, service(serviceAccountName=account.email, timeoutSeconds=30))
    created = await clients.services.get_service(name=f"{LOCATION}/services/web")
    assert created.ingress is run.IngressTraffic.INGRESS_TRAFFIC_INTERNAL_ONLY
    assert (created.template.service_account, created.template.timeout.seconds) == (account.email, 30)

    shown = await rest("GET", f"{SERVICES}/web")
    assert shown["metadata"]["labels"]["cloud.googleapis.com/location"] == "europe-west1"
    ready = {each["type"]: each["status"] for each in shown["status"]["conditions"]}
    assert ready == {"Ready": "True", "ConfigurationsReady": "True", "RoutesReady": "True"}
    assert shown["status"]["url"] == created.uri


async def test_stale_resource_version_is_a_conflict(rest: Rest) -> None:
    first = await rest("POST", SERVICES, service())
    await rest("PUT", f"{SERVICES}/web", first | {"spec": service(timeoutSeconds=20)["spec"]})
    stale = await rest("PUT", f"{SERVICES}/web", first, status=409)
    assert stale["error"]["status"] == "ABORTED"


async def test_missing_service_is_not_found_by_its_region(rest: Rest) -> None:
    missing = await rest("GET", f"{SERVICES}/web", status=404)
    assert "in region 'europe-west1'" in missing["error"]["message"]


async def test_workload_needs_a_region_in_the_host(rest: Rest) -> None:
    answer = await rest("GET", f"{SERVICES}/web", status=400, host={"Host": "run.googleapis.com"})
    assert "https://REGION-run.googleapis.com" in answer["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"apiVersion": "run.googleapis.com/v1"},
        {
            "spec": {
                "template": {
                    "spec": {"containers": [{"image": "x", "env": [{"name": "A", "valueFrom": {}}]}]}
                }
            }
        },
        {"spec": {"template": {"spec": {"containers": [], "volumes": [{"name": "v", "hostPath": {}}]}}}},
    ],
)
async def test_invalid_object_is_refused(rest: Rest, change: Any) -> None:
    answer = await rest("POST", SERVICES, service() | change, status=400)
    assert answer["error"]["status"] == "INVALID_ARGUMENT"


async def test_replacing_a_job_by_what_is_shown_changes_nothing(rest: Rest, clients: Clients) -> None:
    secret = run.EnvVarSource(secret_key_ref=run.SecretKeySelector(secret="stripe-key", version="3"))
    container = run.Container(
        image="hello",
        command=["run"],
        env=[run.EnvVar(name="MODE", value="fast"), run.EnvVar(name="KEY", value_source=secret)],
        volume_mounts=[run.VolumeMount(name="data", mount_path="/data")],
    )
    volumes = [
        run.Volume(name="data", gcs=run.GCSVolumeSource(bucket="orders", read_only=True)),
        run.Volume(name="db", cloud_sql_instance=run.CloudSqlInstance(instances=["shop:us-east1:orders"])),
    ]
    task = run.TaskTemplate(containers=[container], volumes=volumes, max_retries=1)
    job = run.Job(labels={"team": "shop"}, template=run.ExecutionTemplate(template=task, task_count=2))
    creating = await clients.jobs.create_job(parent=LOCATION, job_id="nightly", job=job)
    before = await creating.result()

    await rest("PUT", f"{JOBS}/nightly", await rest("GET", f"{JOBS}/nightly"))
    after = await clients.jobs.get_job(name=f"{LOCATION}/jobs/nightly")
    kept = {each.name: each for each in after.template.template.volumes}
    assert kept["data"].gcs.bucket == "orders"
    assert after.template.template.containers[0].env == before.template.template.containers[0].env
    assert (after.labels, after.template.task_count) == ({"team": "shop"}, 2)


async def test_worker_pool_is_listed_and_deleted(rest: Rest, clients: Clients) -> None:
    await clients.create_worker_pool()
    listed = await rest("GET", POOLS)
    assert [each["metadata"]["name"] for each in listed["items"]] == ["queue"]
    await rest("DELETE", f"{POOLS}/queue")
    await rest("GET", f"{POOLS}/queue", status=404)


async def test_revisions_are_listed_by_label(rest: Rest, clients: Clients) -> None:
    await clients.create_service("web")
    await clients.create_service("shop")
    path = "/apis/serving.knative.dev/v1/namespaces/shop/revisions"
    listed = await rest("GET", f"{path}?labelSelector=serving.knative.dev%2Fservice+%3D+web")
    [revision] = listed["items"]
    assert revision["metadata"]["name"].startswith("web-00001-")
    assert await rest("GET", f"{path}/{revision['metadata']['name']}") == revision


async def test_job_is_executed(rest: Rest, clients: Clients) -> None:
    await clients.create_job()
    execution = await rest("POST", f"{JOBS}/nightly:run", {})
    [listed] = (await rest("GET", JOBS.replace("/jobs", "/executions")))["items"]
    assert listed["metadata"]["name"] == execution["metadata"]["name"]
    states = {each["type"]: each["status"] for each in listed["status"]["conditions"]}
    assert states == {"Completed": "True", "ResourcesAvailable": "True", "Started": "True"}


async def test_organization_policy_is_set_and_cleared_in_v1(rest: Rest) -> None:
    constraint = {"constraint": "constraints/iam.disableCrossProjectServiceAccountUsage"}
    assert await rest("POST", "/v1/projects/shop:getOrgPolicy", constraint) == constraint
    policy = {**constraint, "booleanPolicy": {"enforced": True}}
    await rest("POST", "/v1/projects/shop:setOrgPolicy", {"policy": policy})
    shown = await rest("POST", "/v1/projects/shop:getEffectiveOrgPolicy", constraint)
    assert shown["booleanPolicy"] == {"enforced": True}
    assert await rest("POST", "/v1/projects/shop:clearOrgPolicy", constraint) == {}
    assert await rest("POST", "/v1/projects/shop:getOrgPolicy", constraint) == constraint


async def test_proxy_answers_for_hosts_of_google_only(clients: Clients) -> None:
    async with Emulator(proxy_port=0) as emulator, aiohttp.ClientSession() as session:
        context = ssl.create_default_context(cadata=emulator.proxy_ca.decode())
        url = "https://cloudresourcemanager.googleapis.com/v3/projects/shop"
        async with session.get(url, proxy=emulator.proxy_url, ssl=context) as response:
            assert (await response.json())["projectId"] == "shop"
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await session.get("https://example.com/", proxy=emulator.proxy_url, ssl=context)


async def test_execution_is_cancelled_and_deleted(rest: Rest, emulator: Emulator, clients: Clients) -> None:
    emulator.switches.update({"executionTime": "3600s"})
    await clients.create_job()
    name = (await rest("POST", f"{JOBS}/nightly:run", {}))["metadata"]["name"]
    execution = f"{JOBS.replace('/jobs', '/executions')}/{name}"

    cancelled = await rest("POST", f"{execution}:cancel", {})
    assert cancelled["status"]["cancelledCount"] == 1
    assert [each.get("reason") for each in cancelled["status"]["conditions"]][:1] == ["Cancelled"]
    assert (await rest("PUT", execution, {}, status=405))["error"]["status"] == "UNIMPLEMENTED"
    assert await rest("DELETE", execution) == {"apiVersion": "v1", "kind": "Status", "status": "Success"}
    await rest("GET", execution, status=404)


async def test_other_apis_of_google_are_not_served(rest: Rest) -> None:
    jobs = "/v1/projects/shop/locations/europe-west1/jobs"
    assert (await rest("GET", jobs))["kind"] == "JobList"
    answer = await rest("GET", jobs, status=405, host={"Host": "cloudscheduler.googleapis.com"})
    assert (
        answer["error"]["message"] == f"The emulator does not serve GET cloudscheduler.googleapis.com{jobs}."
    )
    regional = {"Host": "secretmanager.europe-west1.rep.googleapis.com"}
    await rest("GET", "/v1/projects/shop/locations/europe-west1/secrets/none", status=404, host=regional)


async def test_apis_are_enabled_and_can_be_enabled(rest: Rest) -> None:
    run = {"name": "projects/shop/services/run.googleapis.com", "parent": "projects/shop"}
    state = {**run, "config": {"name": "run.googleapis.com"}, "state": "ENABLED"}
    assert await rest("GET", f"/v1/{run['name']}", host=None) == state
    one = await rest("POST", f"/v1/{run['name']}:enable", {}, host=None)
    assert (one["done"], one["response"]["service"]) == (True, state)
    many = {"serviceIds": ["run.googleapis.com"]}
    batch = await rest("POST", "/v1/projects/shop/services:batchEnable", many, host=None)
    assert (batch["done"], batch["response"]["services"]) == (True, [state])
