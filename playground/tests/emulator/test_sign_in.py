"""Clients with the key of a service account, and clients that impersonate one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import google.auth.transport.requests
import pytest
from google.api_core import exceptions
from google.auth import crypt, jwt
from google.auth import exceptions as auth_exceptions
from google.cloud import iam_admin_v1 as iam
from google.cloud import iam_credentials_v1 as credentials
from google.oauth2 import service_account

from cloudrun_identity_playground.emulator import Emulator

from .clients import Clients

EMAIL = "checkout@shop.iam.gserviceaccount.com"
NAME = f"projects/shop/serviceAccounts/{EMAIL}"
BORROWED = "projects/-/serviceAccounts/{}@shop.iam.gserviceaccount.com"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@pytest.fixture
async def emulator() -> Any:
    """An emulator with the real time, because the client library reads the clock."""
    async with Emulator(rest_port=0) as running:
        yield running


@pytest.fixture
async def key(clients: Clients) -> iam.ServiceAccountKey:
    await clients.create_account()
    return await clients.iam.create_service_account_key(name=NAME)


async def sign_in(key: iam.ServiceAccountKey) -> str:
    """Return the token that Google's client library gets for a key."""
    found = service_account.Credentials.from_service_account_info(
        json.loads(key.private_key_data), scopes=SCOPES
    )
    await asyncio.to_thread(found.refresh, google.auth.transport.requests.Request())
    return str(found.token)


async def project(clients: Clients, token: str) -> Any:
    return await clients.projects.get_project(
        name="projects/shop", metadata=[("authorization", f"Bearer {token}")]
    )


async def test_client_with_a_key_calls_as_its_account(
    emulator: Emulator, clients: Clients, key: iam.ServiceAccountKey
) -> None:
    token = await sign_in(key)
    with pytest.raises(exceptions.PermissionDenied):
        await project(clients, token)
    await clients.grant("roles/browser", f"serviceAccount:{EMAIL}")
    assert (await project(clients, token)).project_id == "shop"
    assert emulator.calls.log[-1].caller == EMAIL


async def test_self_signed_token_is_accepted(clients: Clients, key: iam.ServiceAccountKey) -> None:
    await clients.grant("roles/browser", f"serviceAccount:{EMAIL}")
    own = jwt.Credentials.from_service_account_info(
        json.loads(key.private_key_data), audience="https://cloudresourcemanager.googleapis.com/"
    )
    own.refresh(None)
    assert (await project(clients, own.token.decode())).project_id == "shop"


@pytest.mark.parametrize("end", ["disable_key", "delete_key", "disable_account", "delete_account"])
async def test_deleted_key_or_account_cannot_sign_in(
    clients: Clients, key: iam.ServiceAccountKey, end: str
) -> None:
    match end:
        case "disable_key":
            await clients.iam.disable_service_account_key(iam.DisableServiceAccountKeyRequest(name=key.name))
        case "delete_key":
            await clients.iam.delete_service_account_key(name=key.name)
        case "disable_account":
            await clients.iam.disable_service_account(iam.DisableServiceAccountRequest(name=NAME))
        case _:
            await clients.iam.delete_service_account(name=NAME)
    with pytest.raises(auth_exceptions.RefreshError, match="invalid_grant"):
        await sign_in(key)


async def test_key_signs_in_after_it_is_enabled(clients: Clients, key: iam.ServiceAccountKey) -> None:
    await clients.iam.disable_service_account_key(iam.DisableServiceAccountKeyRequest(name=key.name))
    await clients.iam.enable_service_account_key(iam.EnableServiceAccountKeyRequest(name=key.name))
    assert await sign_in(key)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b"}, "invalid_grant"),
        ({}, "unsupported_grant_type"),
    ],
)
async def test_invalid_token_request_is_refused_with_an_oauth_error(
    emulator: Emulator, form: dict[str, str], error: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{emulator.rest_url}/token", data=form) as response,
    ):
        assert (response.status, (await response.json())["error"]) == (400, error)


class TestBorrowing:
    @pytest.fixture
    async def borrower(self, clients: Clients) -> credentials.IAMCredentialsAsyncClient:
        """A caller who may impersonate `target` through `lender`."""
        for account in ("borrower", "lender", "target"):
            await clients.create_account(account)
        own = "projects/shop/serviceAccounts/{}@shop.iam.gserviceaccount.com"
        for resource, holder in (("lender", "borrower"), ("target", "lender")):
            member = f"serviceAccount:{holder}@shop.iam.gserviceaccount.com"
            await clients.grant("roles/iam.serviceAccountTokenCreator", member, resource=own.format(resource))
        transport = credentials.IAMCredentialsAsyncClient.get_transport_class("grpc_asyncio")
        return credentials.IAMCredentialsAsyncClient(transport=transport(channel=clients.channel))

    AS_BORROWER = (("authorization", "Bearer serviceAccount:borrower@shop.iam.gserviceaccount.com"),)

    async def test_impersonation_needs_the_delegation_chain(
        self, clients: Clients, borrower: credentials.IAMCredentialsAsyncClient, emulator: Emulator
    ) -> None:
        request: dict[str, Any] = {"name": BORROWED.format("target"), "scope": SCOPES}
        with pytest.raises(exceptions.PermissionDenied):
            await borrower.generate_access_token(request=request, metadata=self.AS_BORROWER)
        request["delegates"] = [BORROWED.format("lender")]
        lent = await borrower.generate_access_token(request=request, metadata=self.AS_BORROWER)

        await clients.grant("roles/browser", "serviceAccount:target@shop.iam.gserviceaccount.com")
        assert (await project(clients, lent.access_token)).project_id == "shop"
        assert emulator.calls.log[-1].caller == "target@shop.iam.gserviceaccount.com"

    async def test_signatures_verify_with_published_certificates(
        self, borrower: credentials.IAMCredentialsAsyncClient, emulator: Emulator
    ) -> None:
        name = BORROWED.format("lender")
        signed = await borrower.sign_jwt(name=name, payload=json.dumps({"aud": "x", "iat": 1, "exp": 2}))
        lent = await borrower.generate_id_token(
            request={"name": name, "audience": "https://shop.example.com", "include_email": True}
        )
        async with aiohttp.ClientSession(emulator.rest_url) as session:
            email = name.rpartition("/")[2]
            async with session.get(f"/service_accounts/v1/metadata/x509/{email}") as response:
                certificates = await response.json()
            async with session.get("/oauth2/v1/certs") as response:
                googles = await response.json()

        assert jwt.decode(lent.token, googles, audience="https://shop.example.com")["email"] == email
        header, claims, *_ = jwt._unverified_decode(signed.signed_jwt)
        assert (header["kid"], claims["aud"]) == (signed.key_id, "x")
        blob = await borrower.sign_blob(name=name, payload=b"content")

        assert crypt.verify_signature(b"content", blob.signed_blob, certificates[blob.key_id])

    @pytest.mark.parametrize(
        ("method", "request_"),
        [
            ("generate_access_token", {"scope": []}),
            ("generate_access_token", {"scope": SCOPES, "lifetime": {"seconds": 3601}}),
            ("generate_id_token", {"audience": ""}),
            ("sign_jwt", {"payload": "no JSON"}),
            ("sign_jwt", {"payload": '{"exp": 99999999999}'}),
        ],
    )
    async def test_invalid_signing_requests_are_refused(
        self, borrower: credentials.IAMCredentialsAsyncClient, method: str, request_: dict[str, Any]
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            await getattr(borrower, method)(request={"name": BORROWED.format("lender"), **request_})

    async def test_missing_account_cannot_be_impersonated(
        self, borrower: credentials.IAMCredentialsAsyncClient
    ) -> None:
        with pytest.raises(exceptions.NotFound):
            await borrower.sign_blob(name=BORROWED.format("nobody"), payload=b"x")
