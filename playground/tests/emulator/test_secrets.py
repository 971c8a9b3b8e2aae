from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.iam.v1 import iam_policy_pb2
from google.type import expr_pb2

from cloudrun_identity_playground.emulator import Emulator, Seed, SeedError

from .clients import Clients, Clock, members

SECRET = "projects/shop/secrets/stripe-key"
FULL_NAME = f"//secretmanager.googleapis.com/{SECRET}"
ACCESSOR = "roles/secretmanager.secretAccessor"
PLANTED = Seed.model_validate(
    {
        "projects": [
            {
                "projectID": "shop",
                "projectNumber": "123456789012",
                "secrets": [
                    {
                        "name": "stripe-key",
                        "policy": [{"role": ACCESSOR, "members": ["user:ann@example.com"]}],
                    },
                    {"name": "other"},
                ],
            }
        ]
    }
)


@pytest.fixture
async def emulator(clock: Clock) -> AsyncIterator[Emulator]:
    async with Emulator(seed=PLANTED, clock=clock, rest_port=0) as running:
        yield running


async def test_secret_has_its_seeded_policy_and_accepts_another(clients: Clients) -> None:
    before = await clients.policy(SECRET)
    assert members(before, ACCESSOR) == ["user:ann@example.com"]

    after = await clients.grant("roles/secretmanager.viewer", "user:bob@example.com", resource=SECRET)
    assert members(after, "roles/secretmanager.viewer") == ["user:bob@example.com"]
    with pytest.raises(exceptions.Aborted):
        await clients.set_policy(before, SECRET)
    assert not (await clients.policy("projects/shop/secrets/other")).bindings


async def test_project_number_addresses_the_same_secret(clients: Clients) -> None:
    assert await clients.policy("projects/123456789012/secrets/stripe-key") == await clients.policy(SECRET)


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ("projects/shop/secrets/none", exceptions.NotFound),
        ("projects/shop/locations/europe-west1/secrets/stripe-key", exceptions.NotFound),
    ],
)
async def test_unseeded_secret_is_not_found(clients: Clients, resource: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await clients.policy(resource)
    with pytest.raises(error):
        await clients.grant(ACCESSOR, "user:ann@example.com", resource=resource)


async def test_secret_accepts_conditions(clients: Clients) -> None:
    expiry = expr_pb2.Expr(title="until 2040", expression="request.time < timestamp('2040-01-01T00:00:00Z')")
    written = await clients.grant(ACCESSOR, "user:bob@example.com", resource=SECRET, condition=expiry)
    assert written.version == 3
    assert [each.condition.title for each in written.bindings] == ["", "until 2040"]


async def test_roles_of_other_services_are_refused(clients: Clients) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=r"roles/run\.invoker is not supported"):
        await clients.grant("roles/run.invoker", "user:ann@example.com", resource=SECRET)


async def test_test_permissions_needs_an_existing_secret(clients: Clients) -> None:
    async def held(resource: str) -> list[str]:
        request = iam_policy_pb2.TestIamPermissionsRequest(
            resource=resource, permissions=["secretmanager.secrets.setIamPolicy"]
        )
        return list((await clients.secrets.test_iam_permissions(request)).permissions)

    assert await held(SECRET) == ["secretmanager.secrets.setIamPolicy"]
    assert await held("projects/shop/secrets/none") == []


async def test_the_policy_of_a_secret_is_edited_and_shown_by_the_control_api(
    clients: Clients, emulator: Emulator
) -> None:
    grant = {"role": ACCESSOR, "member": "user:eve@example.com"}
    emulator.edit({"policy": FULL_NAME, "add": [grant]})
    assert members(await clients.policy(SECRET), ACCESSOR) == ["user:ann@example.com", "user:eve@example.com"]

    async with aiohttp.ClientSession() as session, session.get(f"{emulator.rest_url}/control/state") as reply:
        state = await reply.json()
    assert state["resources"] == ["projects/shop/secrets/other", SECRET]
    assert state["policies"][SECRET]["bindings"][0]["members"][-1] == "user:eve@example.com"


async def test_rest_serves_the_same_policy(clients: Clients, emulator: Emulator) -> None:
    url = f"{emulator.rest_url}/v1/{SECRET}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}:getIamPolicy?options.requestedPolicyVersion=3") as reply:
            policy = await reply.json()
        policy["bindings"][0]["members"].append("user:bob@example.com")
        async with session.post(f"{url}:setIamPolicy", json={"policy": policy}) as reply:
            assert reply.status == 200
        async with session.get(f"{emulator.rest_url}/v1/projects/shop/secrets/none:getIamPolicy") as reply:
            assert (reply.status, (await reply.json())["error"]["status"]) == (404, "NOT_FOUND")
    assert members(await clients.policy(SECRET), ACCESSOR) == ["user:ann@example.com", "user:bob@example.com"]


def test_invalid_secret_name_in_a_seed_is_refused() -> None:
    bad = Seed.model_validate({"projects": [{"projectID": "shop", "secrets": [{"name": "a/b"}]}]})
    with pytest.raises(SeedError, match=r"project shop: secret a/b: Invalid secret 'a/b'"):
        Emulator(seed=bad)


async def test_recreated_secret_has_another_creation_time_and_an_empty_policy(emulator: Emulator) -> None:
    async with aiohttp.ClientSession(emulator.rest_url) as session:

        async def get(path: str) -> dict[str, Any]:
            async with session.get(path) as reply:
                found: dict[str, Any] = await reply.json()
                return found

        before = await get(f"/v1/{SECRET}")
        emulator.edit({"resource": FULL_NAME, "recreate": True})
        after = await get(f"/v1/{SECRET}")
        policy = await get(f"/v1/{SECRET}:getIamPolicy")

    assert before["name"] == after["name"] == "projects/123456789012/secrets/stripe-key"
    assert before["createTime"] != after["createTime"]
    assert "bindings" not in policy
