"""Tokens of an impersonated account."""

import asyncio
from typing import Any

import pytest
from google.cloud.iam_credentials_v1 import types

from cloudrun_identity.gcp.credentials import SCOPE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.impersonation import (
    LIFETIME,
    MIN_VALIDITY,
    RENEW_BEFORE_EXPIRY,
    ImpersonatedTokens,
)

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
DELEGATE = "middle@ops-1234.iam.gserviceaccount.com"


class Google:
    """Clients that return numbered tokens with a lifetime of an hour, or raise `refusal`."""

    identity = "operator@ops-1234.iam.gserviceaccount.com"

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.refusal: GoogleError | None = None
        self.requests: list[types.GenerateAccessTokenRequest] = []

    def client(self, *_: object) -> Any:
        return type("Client", (), {"generate_access_token": None})

    async def call(self, _api: object, _method: str, _invoke: object, request: Any, **_: object) -> Any:
        self.requests.append(request)
        if self.refusal:
            raise self.refusal
        return types.GenerateAccessTokenResponse(
            access_token=f"token-{len(self.requests)}", expire_time={"seconds": int(self.now) + LIFETIME}
        )


@pytest.fixture
def google() -> Google:
    return Google()


def impersonated(google: Google, *delegates: str) -> ImpersonatedTokens:
    return ImpersonatedTokens(google, ACCOUNT, delegates, lambda: google.now)


async def bearer(tokens: ImpersonatedTokens) -> str:
    await tokens.refresh()
    return tokens.headers()["authorization"]


async def test_token_is_requested_once_through_the_delegation_chain(google: Google) -> None:
    tokens = impersonated(google, DELEGATE)
    assert [await bearer(tokens), await bearer(tokens)] == ["Bearer token-1", "Bearer token-1"]

    [request] = google.requests
    assert request.name == f"projects/-/serviceAccounts/{ACCOUNT}"
    assert list(request.delegates) == [f"projects/-/serviceAccounts/{DELEGATE}"]
    assert list(request.scope) == [SCOPE]
    assert request.lifetime.total_seconds() == LIFETIME


async def test_token_is_renewed_in_background_before_expiry_and_awaited_after(
    google: Google,
) -> None:
    tokens = impersonated(google)
    await tokens.refresh()
    google.now += LIFETIME - RENEW_BEFORE_EXPIRY + 1
    assert await bearer(tokens) == "Bearer token-1"
    await asyncio.sleep(0)
    assert await bearer(tokens) == "Bearer token-2"

    google.now += LIFETIME - MIN_VALIDITY
    assert await bearer(tokens) == "Bearer token-3"


@pytest.mark.parametrize(
    "fault", [Fault.PERMISSION_DENIED, Fault.NOT_FOUND, Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION]
)
async def test_refusal_is_unauthenticated_and_names_the_missing_grant(google: Google, fault: Fault) -> None:
    google.refusal = GoogleError(fault, "m", "no", code=fault)
    with pytest.raises(GoogleError) as raised:
        await impersonated(google).refresh()
    assert raised.value.fault is Fault.UNAUTHENTICATED
    assert f"grant roles/iam.serviceAccountTokenCreator on it to {google.identity}" in raised.value.message
    assert ACCOUNT in raised.value.message


async def test_refusal_names_the_whole_delegation_chain(google: Google) -> None:
    google.refusal = GoogleError(Fault.PERMISSION_DENIED, "m", "no")
    with pytest.raises(GoogleError) as raised:
        await impersonated(google, DELEGATE).refresh()
    assert f"{google.identity} → {DELEGATE} → {ACCOUNT}" in raised.value.message


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.QUOTA_EXCEEDED, Fault.API_DISABLED])
async def test_temporary_fault_keeps_its_kind_and_details(google: Google, fault: Fault) -> None:
    metadata = {"service": "iamcredentials.googleapis.com"}
    google.refusal = GoogleError(fault, "m", "later", metadata=metadata, retry_after=7)
    with pytest.raises(GoogleError) as raised:
        await impersonated(google).refresh()
    assert raised.value.fault is fault
    assert "later" in raised.value.message
    assert (raised.value.metadata, raised.value.retry_after) == (metadata, 7)
