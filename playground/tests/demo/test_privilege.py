"""The calls that the demo makes as the flow runner, against the seed with the examples' grants."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from cloudrun_identity_playground.demo import manifests, privilege
from cloudrun_identity_playground.demo.google import GoogleCloud, Refusal
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed_file import load_seed

FEED = "projects/acme-ledger/subscriptions/changes"
FLOWS = "projects/acme-flows/serviceAccounts/prefect-flows@acme-flows.iam.gserviceaccount.com"


@pytest.fixture
async def cloud() -> AsyncIterator[tuple[GoogleCloud, aiohttp.ClientSession, str]]:
    """The emulator with the seed and the accounts of the example."""
    async with (
        Emulator(rest_port=0, seed=load_seed(manifests.SEED)) as emulator,
        aiohttp.ClientSession() as session,
    ):
        url = emulator.rest_url
        for account_id in ("prefect-runner", "prefect-flows"):
            body = {"accountId": account_id}
            await session.post(f"{url}/v1/projects/acme-flows/serviceAccounts", json=body)
        yield GoogleCloud(session, url), session, url


async def tried(google: GoogleCloud) -> list[str | None]:
    """Return the missing permission of each attempt, or None if the call succeeds."""
    refusals: list[Refusal | None] = [
        await google.attempt(attempt, privilege.RUNNER) for attempt in privilege.ATTEMPTS
    ]
    assert {refusal.code for refusal in refusals if refusal} <= {403}
    return [refusal and refusal.message.split("'")[1] for refusal in refusals]


async def test_account_without_grants_is_refused_everything(
    cloud: tuple[GoogleCloud, aiohttp.ClientSession, str],
) -> None:
    assert None not in await tried(cloud[0])


async def test_broad_roles_allow_what_an_attacker_wants(
    cloud: tuple[GoogleCloud, aiohttp.ClientSession, str],
) -> None:
    google, session, url = cloud
    roles = ("roles/run.admin", "roles/iam.serviceAccountUser")
    bindings = [{"role": role, "members": [privilege.RUNNER]} for role in roles]
    await session.post(f"{url}/v3/projects/acme-flows:setIamPolicy", json={"policy": {"bindings": bindings}})

    assert await tried(google) == [None, None, None]


async def test_least_privilege_allows_only_the_purpose(
    cloud: tuple[GoogleCloud, aiohttp.ClientSession, str],
) -> None:
    google, session, url = cloud
    (role,) = (obj for obj in manifests.load(privilege.EXAMPLE, FEED).objects if obj["kind"] == "CustomRole")
    permissions = role["spec"]["permissions"]
    body = {"roleId": "prefectRunner", "role": {"includedPermissions": permissions}}
    await session.post(f"{url}/v1/projects/acme-flows/roles", json=body)
    for resource, granted in (
        ("v3/projects/acme-flows", "projects/acme-flows/roles/prefectRunner"),
        (f"v1/{FLOWS}", "roles/iam.serviceAccountUser"),
    ):
        policy = {"bindings": [{"role": granted, "members": [privilege.RUNNER]}]}
        await session.post(f"{url}/{resource}:setIamPolicy", json={"policy": policy})

    assert await tried(google) == [None, "iam.serviceaccounts.actAs", "run.services.setIamPolicy"]
