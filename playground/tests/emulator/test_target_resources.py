"""Resources of the target kinds: existence, policies and quotas, alike for every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from cloudrun_identity.api import TargetKind, TargetKindDescriptor
from cloudrun_identity_playground.emulator import Emulator, Seed, SeedError
from cloudrun_identity_playground.emulator.apis.target_messages import SERVED

OVER_REST = [descriptor for descriptor in SERVED.values() if descriptor.is_named_in_project]
NAME = "orders-1"


def resource(descriptor: TargetKindDescriptor) -> dict[str, str]:
    return {
        "kind": descriptor.kind,
        "name": NAME,
        "location": "europe-west1" if descriptor.has_location else "",
        "parent": "shop-1" if descriptor.parent else "",
    }


def seed(*resources: dict[str, str]) -> Seed:
    return Seed.model_validate({"projects": [{"projectID": "shop", "resources": resources}]})


def url(emulator: Emulator, descriptor: TargetKindDescriptor) -> str:
    path = descriptor.resource_pattern.format(
        project_id="shop", location="europe-west1", parent="shop-1", name=NAME
    )
    version = descriptor.get_method.partition("/")[0].split(".")[-2]
    return f"{emulator.rest_url}/{version}/{path}"


async def answer(method: str, url: str, body: Any = None) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as reply:
        return reply.status, await reply.json()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=seed(*map(resource, SERVED.values())), rest_port=0) as running:
        yield running


@pytest.mark.parametrize("descriptor", OVER_REST, ids=lambda each: each.kind)
async def test_policy_is_served_over_rest(emulator: Emulator, descriptor: TargetKindDescriptor) -> None:
    there = url(emulator, descriptor)
    assert (await answer("GET", there))[1]["name"].endswith(f"/{NAME}")
    permission = f"{descriptor.permission_prefix}.getIamPolicy"
    assert await answer("POST", f"{there}:testIamPermissions", {"permissions": [permission]}) == (
        200,
        {"permissions": [permission]},
    )
    for method in ("GET", "POST"):
        status, policy = await answer(method, f"{there}:getIamPolicy", None if method == "GET" else {})
        assert (status, policy["etag"]) == (200, "ACAB")
    refused = {"bindings": [{"role": "roles/run.invoker", "members": ["user:ann@example.com"]}]}
    assert (await answer("POST", f"{there}:setIamPolicy", {"policy": refused}))[0] == 400


async def test_seeded_name_of_another_form_is_refused() -> None:
    with pytest.raises(SeedError, match="project shop: bucket Orders: Invalid bucket 'Orders': it must be"):
        Emulator(seed=seed({"kind": "StorageBucket", "name": "Orders"}))
    with pytest.raises(SeedError, match="Invalid location or parent of queue 'orders-1'"):
        Emulator(seed=seed({"kind": "CloudTasksQueue", "name": NAME}))


async def test_bucket_name_is_taken_in_all_projects(emulator: Emulator) -> None:
    bucket = f"//storage.googleapis.com/projects/_/buckets/{NAME}"
    with pytest.raises(Exception, match="exists in another project"):
        emulator.edit({"resource": bucket, "create": "other"})
    emulator.edit({"resource": bucket, "delete": True})
    with pytest.raises(Exception, match="not found"):
        emulator.edit({"resource": bucket, "recreate": True})


async def test_quota_counts_the_api_of_the_resource(emulator: Emulator) -> None:
    kms, topics = SERVED[TargetKind.KMS_KEY_RING], SERVED[TargetKind.PUB_SUB_TOPIC]
    emulator.switches.update({"requestsPerMinute": {"cloudkms.googleapis.com": {"reads": 1}}})
    assert (await answer("GET", f"{url(emulator, kms)}:getIamPolicy"))[0] == 200
    assert (await answer("GET", f"{url(emulator, kms)}:getIamPolicy"))[0] == 429
    assert (await answer("GET", f"{url(emulator, topics)}:getIamPolicy"))[0] == 200
