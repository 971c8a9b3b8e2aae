"""Application Default Credentials, and the renewal of tokens."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import google.auth.exceptions
import pytest

from cloudrun_identity.gcp.credentials import MIN_RENEWAL_INTERVAL, ApplicationDefaultTokens
from cloudrun_identity.gcp.errors import CredentialsError, Fault, GoogleError


class Credentials(google.auth.credentials.Credentials):
    """Credentials that return numbered tokens, or raise `refusal`."""

    def __init__(self, refusal: Exception | None = None) -> None:
        super().__init__()
        self.refreshes = 0
        self.refusal = refusal

    def refresh(self, request: Any) -> None:
        if self.refusal:
            raise self.refusal
        self.refreshes += 1
        self.token = f"token-{self.refreshes}"
        self.expiry = None

    def expire_soon(self) -> None:
        """Let the token expire in two minutes."""
        self.expiry = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=2)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    credentials = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    return credentials


async def renewed(adc: ApplicationDefaultTokens) -> None:
    """Wait until the renewal in flight has ended."""
    assert adc._renewal
    await asyncio.wait([adc._renewal])
    await asyncio.sleep(0)


async def test_valid_token_is_kept_and_missing_token_is_renewed(found: Credentials) -> None:
    adc = ApplicationDefaultTokens()
    await adc.refresh()
    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-1"}

    found.token = None
    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_token_that_expires_soon_is_renewed_in_background(found: Credentials) -> None:
    adc = ApplicationDefaultTokens()
    await adc.refresh()
    found.expire_soon()

    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-1"}

    await renewed(adc)
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_failed_background_renewal_fails_no_call_and_is_delayed(
    found: Credentials,
) -> None:
    adc = ApplicationDefaultTokens()
    await adc.refresh()
    found.expire_soon()
    found.refusal = google.auth.exceptions.TransportError("connection refused")
    await adc.refresh()
    await renewed(adc)
    found.refusal = None

    await adc.refresh()
    assert adc._renewal is None

    adc._renew_after -= MIN_RENEWAL_INTERVAL
    await adc.refresh()
    await renewed(adc)
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_refused_token_is_renewed_before_its_expiry(found: Credentials) -> None:
    adc = ApplicationDefaultTokens()
    await adc.refresh()
    refused = adc.headers()

    await asyncio.gather(*(adc.refresh(refused) for _ in range(5)))
    assert adc.headers() == {"authorization": "Bearer token-2"}

    await adc.refresh(refused)
    assert found.refreshes == 2


async def test_failed_renewal_of_a_refused_token_fails_the_call(
    found: Credentials,
) -> None:
    adc = ApplicationDefaultTokens()
    await adc.refresh()
    found.refusal = google.auth.exceptions.RefreshError("invalid_grant: the account is deleted")

    with pytest.raises(GoogleError) as raised:
        await adc.refresh(adc.headers())

    assert raised.value.fault is Fault.UNAUTHENTICATED
    assert raised.value.message == "invalid_grant: the account is deleted"


async def test_calls_without_a_token_share_one_renewal(found: Credentials) -> None:
    adc = ApplicationDefaultTokens()
    await asyncio.gather(*(adc.refresh() for _ in range(5)))
    assert found.refreshes == 1


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        (google.auth.exceptions.RefreshError("invalid_grant"), Fault.UNAUTHENTICATED),
        (google.auth.exceptions.TransportError("connection refused"), Fault.UNAVAILABLE),
    ],
)
async def test_failed_first_token_fails_the_call(
    found: Credentials, refusal: Exception, fault: Fault
) -> None:
    found.refusal = refusal
    with pytest.raises(GoogleError) as raised:
        await ApplicationDefaultTokens().refresh()
    assert raised.value.fault is fault


async def test_missing_credentials_error_names_the_file_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))

    with pytest.raises(CredentialsError) as raised:
        await ApplicationDefaultTokens().check()

    message = str(raised.value)
    assert message.startswith("no Google Cloud credentials: ")
    assert str(tmp_path / "absent.json") in message
    assert "gcloud auth application-default login" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "refusal",
    [
        google.auth.exceptions.RefreshError("invalid_grant: expired", {"assertion": "s3cr3t"}),
        google.auth.exceptions.TransportError("connection refused"),
    ],
)
async def test_refused_credentials_error_omits_the_reply(found: Credentials, refusal: Exception) -> None:
    found.refusal = refusal

    with pytest.raises(CredentialsError) as raised:
        await ApplicationDefaultTokens().check()

    message = str(raised.value)
    assert message.startswith(f"the Google Cloud credentials do not work: {refusal.args[0]} ")
    assert "s3cr3t" not in message
