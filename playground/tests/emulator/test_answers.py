"""Fields of answers that recordings of the real Google Cloud show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.cloud import run_v2 as run
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator import Emulator, Seed

from .clients import LOCATION, Clients, revision_template

SHOP = {"projectID": "shop", "parent": "folders/12", "displayName": "The shop", "labels": {"team": "shop"}}
SEED = {
    "folders": [{"folderID": "12", "displayName": "Production"}],
    "projects": [SHOP],
    "operationTime": "60s",
}


@pytest.fixture
async def emulator(clock: Any) -> AsyncIterator[Emulator]:
    async with Emulator(seed=Seed.model_validate(SEED), clock=clock, rest_port=0) as running:
        yield running


async def answer(emulator: Emulator, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(emulator.rest_url + path) as response:
        return await response.json()


async def test_project_shows_labels_times_and_etag(emulator: Emulator) -> None:
    shown = await answer(emulator, "/v3/projects/shop")
    assert (shown["displayName"], shown["labels"]) == ("The shop", {"team": "shop"})
    assert shown["createTime"] == shown["updateTime"] == "2027-01-15T08:00:00Z"
    assert shown["etag"].startswith('W/"')

    older = await answer(emulator, "/v1/projects/shop")
    assert (older["name"], older["labels"]) == ("The shop", {"team": "shop"})
    assert "createTime" in older
    assert not {"etag", "updateTime"} & older.keys()


async def test_folder_shows_times_and_etag(emulator: Emulator) -> None:
    assert {"createTime", "updateTime", "etag"} <= (await answer(emulator, "/v3/folders/12")).keys()
    older = await answer(emulator, "/v2/folders/12")
    assert "createTime" in older
    assert not {"updateTime", "etag"} & older.keys()


async def test_policy_that_was_never_written_has_an_etag_only(clients: Clients) -> None:
    never = await clients.policy()
    assert (never.etag, never.version, list(never.bindings)) == (b"\x00\x20\x01", 0, [])

    policy = await clients.grant("roles/viewer", "user:ann@example.com")
    del policy.bindings[:]
    assert (await clients.set_policy(policy)).version == 1


async def test_created_service_shows_its_ingress_once_it_is_ready(clients: Clients, clock: Any) -> None:
    creating = await clients.services.create_service(
        parent=LOCATION, service_id="web", service=run.Service(template=revision_template())
    )
    assert creating.metadata.ingress is run.IngressTraffic.INGRESS_TRAFFIC_UNSPECIFIED
    clock.now += 60
    assert (await creating.result()).ingress is run.IngressTraffic.INGRESS_TRAFFIC_ALL


@pytest.mark.parametrize("sent", ["/elsewhere", ""])
async def test_cloud_sql_volume_is_always_mounted_at_its_own_path(
    clients: Clients, clock: Any, sent: str
) -> None:
    container = run.Container(image="hello", volume_mounts=[run.VolumeMount(name="db", mount_path=sent)])
    volume = run.Volume(
        name="db", cloud_sql_instance=run.CloudSqlInstance(instances=["shop:us-east1:orders"])
    )
    task = run.TaskTemplate(containers=[container], volumes=[volume])
    job = run.Job(template=run.ExecutionTemplate(template=task))
    creating = await clients.jobs.create_job(parent=LOCATION, job_id="nightly", job=job)
    clock.now += 60
    created = await creating.result()
    assert created.template.template.containers[0].volume_mounts[0].mount_path == "/cloudsql"


async def test_update_of_an_organization_policy_drops_an_unsent_dry_run(clients: Clients) -> None:
    name = "projects/shop/policies/iam.disableServiceAccountKeyCreation"
    spec = orgpolicy.PolicySpec(rules=[orgpolicy.PolicySpec.PolicyRule(enforce=True)])
    policy = orgpolicy.Policy(name=name, spec=spec, dry_run_spec=spec)
    await clients.org_policy.create_policy(parent="projects/shop", policy=policy)
    request = orgpolicy.UpdatePolicyRequest(
        policy=orgpolicy.Policy(name=name, spec=spec), update_mask=FieldMask(paths=["policy.spec"])
    )
    updated = await clients.org_policy.update_policy(request)
    assert "spec" in updated
    assert "dry_run_spec" not in updated


async def test_only_a_read_of_a_key_returns_its_public_half(clients: Clients) -> None:
    account = await clients.create_account()
    created = await clients.iam.create_service_account_key(name=account.name)
    assert not created.public_key_data


async def test_ancestors_of_a_project_are_shown_up_to_the_organization(emulator: Emulator) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{emulator.rest_url}/v1/projects/shop:getAncestry"
        async with session.post(url, json={}) as response:
            shown = await response.json()
    found = [(each["resourceId"]["type"], each["resourceId"]["id"]) for each in shown["ancestor"]]
    assert found == [("project", "shop"), ("folder", "12")]


async def test_grantable_roles_fit_the_resource(clients: Clients) -> None:
    async def roles(resource: str) -> set[str]:
        request = iam.QueryGrantableRolesRequest(full_resource_name=resource, page_size=1000)
        return {role.name async for role in await clients.iam.query_grantable_roles(request)}

    of_project = await roles("//cloudresourcemanager.googleapis.com/projects/shop")
    account = "projects/shop/serviceAccounts/x@shop.iam.gserviceaccount.com"
    of_account = await roles(f"//iam.googleapis.com/{account}")
    assert {"roles/run.invoker", "roles/iam.serviceAccountUser"} <= of_project
    assert "roles/resourcemanager.organizationAdmin" not in of_project
    assert "roles/iam.serviceAccountUser" in of_account
    assert "roles/storage.admin" not in of_account


async def test_constraints_are_listed_with_their_kind(clients: Clients) -> None:
    listed = await clients.org_policy.list_constraints(parent="projects/shop")
    kinds = {each.name: "list_constraint" in each async for each in listed}
    assert kinds["projects/shop/constraints/iam.disableServiceAccountKeyCreation"] is False
    assert kinds["projects/shop/constraints/iam.allowedPolicyMemberDomains"] is True
