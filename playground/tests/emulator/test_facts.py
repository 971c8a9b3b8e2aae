"""Behavior of Google Cloud that no other test covers; each test names the fact."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run
from google.protobuf.field_mask_pb2 import FieldMask

from cloudrun_identity_playground.emulator import Emulator

from .clients import LOCATION, Clients, Clock, members

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
WEB = f"{LOCATION}/services/web"
OLD, NEW = (f"{name}@shop.iam.gserviceaccount.com" for name in ("oldest", "newest"))


@pytest.fixture
async def moved(clients: Clients) -> run.Service:
    """A service with another account in its second revision than in its first."""
    for email in (OLD, NEW):
        await clients.create_account(email.partition("@")[0])
    service = await clients.create_service(service_account=OLD)
    service.template.service_account = NEW
    return await clients.update_service(service)


async def serving(clients: Clients, *revisions: str) -> set[str]:
    found = [await clients.revisions.get_revision(name=name) for name in revisions]
    return {each.service_account for each in found}


async def test_fact_traffic_pinned_to_an_old_revision_keeps_the_old_account(
    clients: Clients, moved: run.Service
) -> None:
    [first, _] = sorted([each.name async for each in await clients.revisions.list_revisions(parent=WEB)])
    by_name = run.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
    moved.traffic = [run.TrafficTarget(type_=by_name, revision=first.rpartition("/")[2], percent=100)]
    pinned = await clients.update_service(moved, "traffic")

    assert pinned.template.service_account == NEW
    assert pinned.latest_ready_revision == moved.latest_ready_revision
    [status] = pinned.traffic_statuses
    assert await serving(clients, f"{WEB}/revisions/{status.revision}") == {OLD}


async def test_fact_a_tagged_revision_keeps_serving_as_the_old_account(
    clients: Clients, moved: run.Service
) -> None:
    [first, _] = sorted([each.name async for each in await clients.revisions.list_revisions(parent=WEB)])
    kinds = run.TrafficTargetAllocationType
    moved.traffic = [
        run.TrafficTarget(type_=kinds.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST, percent=100),
        run.TrafficTarget(
            type_=kinds.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION,
            revision=first.rpartition("/")[2],
            tag="before",
        ),
    ]
    tagged = await clients.update_service(moved, "traffic")
    [_, status] = tagged.traffic_statuses
    assert (status.tag, status.uri.startswith("https://before---")) == ("before", True)
    assert await serving(clients, f"{WEB}/revisions/{status.revision}") == {OLD}


async def test_fact_an_instance_split_keeps_instances_of_the_old_account(clients: Clients) -> None:
    for email in (OLD, NEW):
        await clients.create_account(email.partition("@")[0])
    pool = await clients.create_worker_pool(service_account=OLD)
    first = pool.latest_ready_revision
    pool.template.service_account = NEW
    kinds = run.InstanceSplitAllocationType
    pool.instance_splits = [
        run.InstanceSplit(type_=kinds.INSTANCE_SPLIT_ALLOCATION_TYPE_LATEST, percent=40),
        run.InstanceSplit(
            type_=kinds.INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION,
            revision=first.rpartition("/")[2],
            percent=60,
        ),
    ]
    split = await (await clients.worker_pools.update_worker_pool(worker_pool=pool)).result()
    assert [(each.percent, each.revision) for each in split.instance_split_statuses] == [
        (40, ""),
        (60, first.rpartition("/")[2]),
    ]
    assert await serving(clients, first, split.latest_ready_revision) == {OLD, NEW}


async def test_fact_etags_of_cloud_run_contain_their_quotes(clients: Clients) -> None:
    etag = (await clients.create_service()).etag
    assert (etag[0], etag[-1]) == ('"', '"')


async def test_fact_the_invoker_check_can_be_disabled(clients: Clients) -> None:
    service = await clients.create_service()
    service.invoker_iam_disabled = True
    assert (await clients.update_service(service, "invoker_iam_disabled")).invoker_iam_disabled


async def test_fact_next_execution_of_a_job_has_the_new_account(clients: Clients) -> None:
    for email in (OLD, NEW):
        await clients.create_account(email.partition("@")[0])
    job = await clients.create_job(service_account=OLD)
    job.template.template.service_account = NEW
    await (await clients.jobs.update_job(job=job)).result()
    execution = await (await clients.jobs.run_job(name=job.name)).result()
    assert execution.template.service_account == NEW


@pytest.mark.parametrize("code", ["ABORTED", "ALREADY_EXISTS"])
async def test_fact_grpc_distinguishes_two_errors_that_rest_maps_to_409(
    clients: Clients, emulator: Emulator, code: str
) -> None:
    if code == "ABORTED":
        policy = await clients.grant("roles/viewer", "user:ann@example.com")
        await clients.grant("roles/viewer", "user:bob@example.com")
        with pytest.raises(exceptions.Aborted):
            await clients.set_policy(policy)
        path, body = "/v3/projects/shop:setIamPolicy", {"policy": {"etag": "BwAAAAAAAAA="}}
    else:
        await clients.create_account()
        with pytest.raises(exceptions.AlreadyExists):
            await clients.create_account()
        path, body = "/v1/projects/shop/serviceAccounts", {"accountId": "checkout"}
    url = emulator.rest_url + path
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert (response.status, (await response.json())["error"]["status"]) == (409, code)


async def test_fact_account_emails_are_case_insensitive(clients: Clients) -> None:
    await clients.create_account()
    policy = await clients.grant("roles/viewer", "serviceAccount:Checkout@shop.iam.gserviceaccount.com")
    assert members(policy, "roles/viewer") == ["serviceAccount:Checkout@shop.iam.gserviceaccount.com"]
    await clients.iam.delete_service_account(name=ACCOUNT)
    [member] = members(await clients.policy(), "roles/viewer")
    assert member.startswith("deleted:serviceAccount:")


async def test_fact_a_mask_of_bindings_and_etag_keeps_the_audit_configs(
    clients: Clients, clock: Clock
) -> None:
    policy = await clients.policy()
    policy.audit_configs.add(service="allServices").audit_log_configs.add(log_type=1)
    policy = await clients.set_policy(policy, mask=("audit_configs",))
    del policy.audit_configs[:]
    policy.bindings.add(role="roles/viewer", members=["user:ann@example.com"])
    clock.advance(1)
    assert (await clients.set_policy(policy, mask=("bindings", "etag"))).audit_configs


async def test_fact_list_of_all_regions_is_refused(clients: Clients) -> None:
    await clients.create_service()
    there: Any = await clients.services.list_services(parent="projects/shop/locations/us-central1")
    assert [each async for each in there] == []
    with pytest.raises(exceptions.InvalidArgument):
        await clients.services.list_services(parent="projects/shop/locations/-")


async def test_fact_an_update_by_mask_needs_a_mask_message_of_paths(clients: Clients) -> None:
    service = await clients.create_service()
    service.template.service_account = ""
    service.labels = {"team": "payments"}
    request = run.UpdateServiceRequest(service=service, update_mask=FieldMask(paths=["labels"]))
    updated = await (await clients.services.update_service(request)).result()
    assert (dict(updated.labels), updated.template.service_account != "") == ({"team": "payments"}, True)
