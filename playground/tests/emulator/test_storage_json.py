"""The JSON API of Cloud Storage: the form of its policies and errors, and uniform bucket-level access."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from cloudrun_identity_playground.emulator import Emulator, Seed, SeedError

BUCKET = "/storage/v1/b/receipts"
POLICY = f"{BUCKET}/iam"
NAME = "//storage.googleapis.com/projects/_/buckets/receipts"
READER = {"role": "roles/storage.objectViewer", "members": ["user:ann@example.com"]}
UNTIL = {"title": "until", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
CONDITIONAL = {"version": 3, "bindings": [{**READER, "condition": UNTIL}]}


def seed(**bucket: Any) -> Seed:
    resources = [{"kind": "StorageBucket", "name": "receipts", **bucket}]
    projects = [{"projectID": "shop", "projectNumber": "123456789012", "resources": resources}]
    return Seed.model_validate({"projects": projects})


async def answer(emulator: Emulator, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, emulator.rest_url + path, json=body) as reply,
    ):
        return reply.status, await reply.json()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(seed=seed(), rest_port=0) as running:
        yield running


async def test_policy_has_the_form_of_cloud_storage(emulator: Emulator) -> None:
    empty = {"kind": "storage#policy", "resourceId": "projects/_/buckets/receipts", "version": 1}
    assert await answer(emulator, "GET", POLICY) == (200, {**empty, "etag": "CAE="})
    written = {**empty, "etag": "CAI=", "bindings": [READER]}
    assert await answer(emulator, "PUT", POLICY, {**empty, "etag": "CAE=", "bindings": [READER]}) == (
        200,
        written,
    )
    assert await answer(emulator, "GET", POLICY) == (200, written)


async def test_errors_have_the_form_of_cloud_storage(emulator: Emulator) -> None:
    status, missing = await answer(emulator, "GET", "/storage/v1/b/missing/iam")
    [detail] = missing["error"]["errors"]
    assert (status, missing["error"]["code"], detail["reason"]) == (404, 404, "notFound")
    assert "status" not in missing["error"]
    status, stale = await answer(emulator, "PUT", POLICY, {"etag": "CAk=", "bindings": [READER]})
    assert (status, stale["error"]["errors"][0]["reason"]) == (412, "conditionNotMet")
    status, unknown = await answer(emulator, "GET", "/storage/v1/b?project=shop")
    assert (status, unknown["error"]["message"]) == (405, "The emulator does not serve GET /storage/v1/b.")
    assert (await answer(emulator, "PUT", POLICY, {"bindings": 5}))[0] == 400


async def test_conditional_policy_is_read_in_version_3_only(emulator: Emulator) -> None:
    assert (await answer(emulator, "PUT", POLICY, CONDITIONAL))[0] == 200
    assert (await answer(emulator, "GET", POLICY))[0] == 400
    status, policy = await answer(emulator, "GET", f"{POLICY}?optionsRequestedPolicyVersion=3")
    assert (status, policy["version"], policy["bindings"][0]["condition"]) == (200, 3, UNTIL)


async def test_condition_needs_uniform_bucket_level_access(emulator: Emulator) -> None:
    emulator.edit({"resource": NAME, "uniformBucketLevelAccess": False})
    assert (await answer(emulator, "PUT", POLICY, CONDITIONAL))[0] == 400
    _, bucket = await answer(emulator, "GET", BUCKET)
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"] == {"enabled": False}
    assert (bucket["kind"], bucket["projectNumber"]) == ("storage#bucket", "123456789012")

    emulator.edit({"resource": NAME, "uniformBucketLevelAccess": True})
    assert (await answer(emulator, "PUT", POLICY, CONDITIONAL))[0] == 200
    with pytest.raises(Exception, match="the policy has IAM Conditions"):
        emulator.edit({"resource": NAME, "uniformBucketLevelAccess": False})


async def test_seed_sets_uniform_bucket_level_access() -> None:
    condition = {"role": READER["role"], "members": READER["members"], "condition": UNTIL}
    with pytest.raises(SeedError, match="Conditions are not supported on this resource"):
        Emulator(seed=seed(uniformBucketLevelAccess=False, policy=[condition]))
    Emulator(seed=seed(policy=[condition]))
    topic = {"kind": "PubSubTopic", "name": "orders", "uniformBucketLevelAccess": False}
    with pytest.raises(SeedError, match="topic has no uniform bucket-level access"):
        Emulator(seed=Seed.model_validate({"projects": [{"projectID": "shop", "resources": [topic]}]}))


async def test_permissions_on_a_bucket_are_tested(emulator: Emulator) -> None:
    tested = f"{POLICY}/testPermissions?permissions=storage.buckets.get&permissions=storage.objects.get"
    assert await answer(emulator, "GET", tested) == (
        200,
        {
            "kind": "storage#testIamPermissionsResponse",
            "permissions": ["storage.buckets.get", "storage.objects.get"],
        },
    )
