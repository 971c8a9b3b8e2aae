"""Authentication: bearer tokens, callers without one, accounts that cannot call."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud import run_v2 as run

from cloudrun_identity_playground.emulator import Emulator

from .clients import Clients, Clock, revision_template

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
CHECKOUT = "serviceAccount:checkout@shop.iam.gserviceaccount.com"
SignIn = Callable[[str], Clients]


async def mint(emulator: Emulator, principal: str, seconds: float = 3600) -> str:
    async with aiohttp.ClientSession() as session:
        url = f"{emulator.rest_url}/control/tokens"
        async with session.post(url, json={"principal": principal, "seconds": seconds}) as response:
            token: str = (await response.json())["token"]
            return token


async def unauthenticated(clients: Clients) -> exceptions.Unauthenticated:
    with pytest.raises(exceptions.Unauthenticated) as error:
        await clients.projects.get_project(name="projects/shop", retry=None)
    return error.value


async def test_caller_without_token_is_allowed_everything_by_default(clients: Clients) -> None:
    await clients.create_account()
    await clients.grant("roles/viewer", "user:ann@example.com")


async def test_token_with_a_principal_has_its_grants(clients: Clients, sign_in: SignIn) -> None:
    await clients.grant("roles/iam.serviceAccountCreator", "user:ann@example.com")
    assert (await sign_in("user:ann@example.com").create_account()).project_id == "shop"
    with pytest.raises(exceptions.PermissionDenied):
        await sign_in("user:bob@example.com").create_account("other")


async def test_token_admin_is_allowed_everything(emulator: Emulator, sign_in: SignIn) -> None:
    emulator.switches.update({"withoutToken": "nobody"})
    await sign_in("admin").create_account()


async def test_minted_token_is_valid_until_it_expires(
    emulator: Emulator, clients: Clients, sign_in: SignIn, clock: Clock
) -> None:
    await clients.grant("roles/browser", "user:ann@example.com")
    ann = sign_in(await mint(emulator, "user:ann@example.com", 60))
    await ann.projects.get_project(name="projects/shop")
    clock.advance(60)
    assert (await unauthenticated(ann)).reason == "ACCESS_TOKEN_EXPIRED"


async def test_switch_sets_the_caller_without_token(emulator: Emulator, clients: Clients) -> None:
    await clients.create_account()
    emulator.switches.update({"withoutToken": "user:ann@example.com"})
    with pytest.raises(exceptions.PermissionDenied):
        await clients.create_account("other")

    emulator.switches.update({"withoutToken": "nobody"})
    error = await unauthenticated(clients)
    assert (error.reason, error.domain) == ("CREDENTIALS_MISSING", "googleapis.com")
    assert error.metadata == {
        "service": "cloudresourcemanager.googleapis.com",
        "method": "google.cloud.resourcemanager.v3.Projects.GetProject",
    }


@pytest.mark.parametrize("token", ["ya29.unknown", "group:ops@example.com", ""])
async def test_unknown_token_is_refused(sign_in: SignIn, token: str) -> None:
    assert (await unauthenticated(sign_in(token))).reason == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


async def test_disabled_or_deleted_account_cannot_call(clients: Clients, sign_in: SignIn) -> None:
    account = await clients.create_account()
    await clients.grant("roles/browser", CHECKOUT)
    checkout = sign_in(CHECKOUT)
    await checkout.projects.get_project(name="projects/shop")

    await clients.iam.disable_service_account(request={"name": ACCOUNT})
    error = await unauthenticated(checkout)
    assert (error.reason, error.metadata["email"]) == ("ACCOUNT_STATE_INVALID", account.email)

    await clients.iam.enable_service_account(request={"name": ACCOUNT})
    await checkout.projects.get_project(name="projects/shop")
    await clients.iam.delete_service_account(name=ACCOUNT)
    assert (await unauthenticated(checkout)).reason == "ACCOUNT_STATE_INVALID"


async def test_token_ends_with_its_account(emulator: Emulator, clients: Clients, sign_in: SignIn) -> None:
    await clients.create_account()
    old = sign_in(await mint(emulator, CHECKOUT))
    await clients.recreate_account(ACCOUNT)
    assert (await unauthenticated(old)).reason == "ACCOUNT_STATE_INVALID"


async def test_recreated_account_has_no_old_grants(clients: Clients, sign_in: SignIn) -> None:
    await clients.create_account()
    await clients.grant("roles/browser", CHECKOUT)
    await sign_in(CHECKOUT).projects.get_project(name="projects/shop")
    await clients.recreate_account(ACCOUNT)
    with pytest.raises(exceptions.PermissionDenied):
        await sign_in(CHECKOUT).projects.get_project(name="projects/shop")


async def test_rest_accepts_the_same_tokens(emulator: Emulator) -> None:
    url = f"{emulator.rest_url}/v1/{ACCOUNT}"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers={"Authorization": "Bearer user:ann@example.com"}) as response:
            refused = (response.status, (await response.json())["error"])
        async with session.get(url, headers={"Authorization": "Basic abc"}) as response:
            assert response.status == 401
    assert refused[0] == 403
    message = "Permission 'iam.serviceAccounts.get' denied on resource (or it may not exist)."
    assert refused[1]["message"] == message
    assert refused[1]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "iam.googleapis.com",
            "metadata": {"permission": "iam.serviceAccounts.get"},
        }
    ]


async def test_changes_and_log_record_the_caller(
    emulator: Emulator, clients: Clients, sign_in: SignIn
) -> None:
    await clients.grant("roles/owner", "user:ann@example.com")
    operation = await sign_in("user:ann@example.com").services.create_service(
        parent="projects/shop/locations/europe-west1",
        service_id="web",
        service=run.Service(template=revision_template()),
    )
    assert (await operation.result()).creator == "ann@example.com"
    assert emulator.calls.log[-1].caller == "ann@example.com"
