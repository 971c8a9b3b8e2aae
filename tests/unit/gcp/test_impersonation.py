import asyncio
from typing import Any

import pytest
from google.cloud.iam_credentials_v1 import types

from cloudrun_identity.gcp.credentials import SCOPE
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.impersonation import AHEAD, LIFETIME, TOO_LATE, Impersonated

ACCOUNT = "cri@ops-1234.iam.gserviceaccount.com"
DELEGATE = "middle@ops-1234.iam.gserviceaccount.com"


class Google:
    """Makes numbered tokens that live for an hour, or refuses to; what the operator's own clients offer."""

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


def impersonated(google: Google, *delegates: str) -> Impersonated:
    return Impersonated(google, ACCOUNT, delegates, lambda: google.now)


async def bearer(tokens: Impersonated) -> str:
    await tokens.refresh()
    return tokens.headers()["authorization"]


async def test_a_token_is_asked_for_once_for_everything_and_through_the_whole_chain(google: Google) -> None:
    tokens = impersonated(google, DELEGATE)
    assert [await bearer(tokens), await bearer(tokens)] == ["Bearer token-1", "Bearer token-1"]

    [request] = google.requests
    assert request.name == f"projects/-/serviceAccounts/{ACCOUNT}"
    assert list(request.delegates) == [f"projects/-/serviceAccounts/{DELEGATE}"]
    assert list(request.scope) == [SCOPE]
    assert request.lifetime.total_seconds() == LIFETIME


async def test_a_token_is_renewed_while_it_still_serves_and_waited_for_when_it_does_not(
    google: Google,
) -> None:
    tokens = impersonated(google)
    await tokens.refresh()
    google.now += LIFETIME - AHEAD + 1
    assert await bearer(tokens) == "Bearer token-1"
    await asyncio.sleep(0)
    assert await bearer(tokens) == "Bearer token-2"

    google.now += LIFETIME - TOO_LATE
    assert await bearer(tokens) == "Bearer token-3"


@pytest.mark.parametrize(
    "fault", [Fault.PERMISSION_DENIED, Fault.NOT_FOUND, Fault.INVALID_ARGUMENT, Fault.FAILED_PRECONDITION]
)
async def test_a_refusal_says_what_to_grant_and_never_passes_for_an_answer_about_something_else(
    google: Google, fault: Fault
) -> None:
    google.refusal = GoogleError(fault, "m", "no", code=fault)
    with pytest.raises(GoogleError) as raised:
        await impersonated(google).refresh()
    assert raised.value.fault is Fault.UNAUTHENTICATED
    assert f"grant {google.identity} roles/iam.serviceAccountTokenCreator" in raised.value.message
    assert ACCOUNT in raised.value.message


async def test_a_refused_chain_is_named_from_end_to_end(google: Google) -> None:
    google.refusal = GoogleError(Fault.PERMISSION_DENIED, "m", "no")
    with pytest.raises(GoogleError) as raised:
        await impersonated(google, DELEGATE).refresh()
    assert f"{google.identity} → {DELEGATE} → {ACCOUNT}" in raised.value.message


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.QUOTA_EXCEEDED, Fault.API_DISABLED])
async def test_what_heals_by_itself_or_elsewhere_stays_what_it_is(google: Google, fault: Fault) -> None:
    google.refusal = GoogleError(fault, "m", "later")
    with pytest.raises(GoogleError) as raised:
        await impersonated(google).refresh()
    assert raised.value.fault is fault
    assert "later" in raised.value.message
