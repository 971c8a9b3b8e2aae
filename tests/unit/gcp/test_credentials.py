import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import google.auth.exceptions
import pytest

from cloudrun_identity.gcp.credentials import RENEW_AGAIN, ApplicationDefault
from cloudrun_identity.gcp.errors import CredentialsError, Fault, GoogleError


class Credentials(google.auth.credentials.Credentials):
    """Credentials whose tokens are numbered, or whose refresh is refused."""

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

    def goes_stale(self) -> None:
        """Let the token serve for two minutes more."""
        self.expiry = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=2)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    credentials = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    return credentials


async def renewed(adc: ApplicationDefault) -> None:
    """Wait until the renewal under way has ended, whichever way."""
    assert adc._renewal
    await asyncio.wait([adc._renewal])
    await asyncio.sleep(0)


async def test_a_valid_token_is_kept_and_one_that_is_gone_is_replaced(found: Credentials) -> None:
    adc = ApplicationDefault()
    await adc.refresh()
    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-1"}

    found.token = None
    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_a_token_about_to_expire_is_renewed_beside_the_calls_that_use_it(found: Credentials) -> None:
    adc = ApplicationDefault()
    await adc.refresh()
    found.goes_stale()

    await adc.refresh()
    assert adc.headers() == {"authorization": "Bearer token-1"}

    await renewed(adc)
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_a_renewal_that_fails_ahead_of_time_fails_no_call_and_is_not_tried_at_once_again(
    found: Credentials,
) -> None:
    adc = ApplicationDefault()
    await adc.refresh()
    found.goes_stale()
    found.refusal = google.auth.exceptions.TransportError("connection refused")
    await adc.refresh()
    await renewed(adc)
    found.refusal = None

    await adc.refresh()
    assert adc._renewal is None

    adc._renew_after -= RENEW_AGAIN
    await adc.refresh()
    await renewed(adc)
    assert adc.headers() == {"authorization": "Bearer token-2"}


async def test_a_token_that_google_refused_is_replaced_before_its_time(found: Credentials) -> None:
    adc = ApplicationDefault()
    await adc.refresh()
    refused = adc.headers()

    await asyncio.gather(*(adc.refresh(refused) for _ in range(5)))
    assert adc.headers() == {"authorization": "Bearer token-2"}

    await adc.refresh(refused)
    assert found.refreshes == 2


async def test_a_refused_token_that_cannot_be_replaced_fails_the_call_as_what_stands_in_its_way(
    found: Credentials,
) -> None:
    adc = ApplicationDefault()
    await adc.refresh()
    found.refusal = google.auth.exceptions.RefreshError("invalid_grant: the account is gone")

    with pytest.raises(GoogleError) as raised:
        await adc.refresh(adc.headers())

    assert raised.value.fault is Fault.UNAUTHENTICATED
    assert raised.value.message == "invalid_grant: the account is gone"


async def test_calls_that_have_no_token_share_one_renewal(found: Credentials) -> None:
    adc = ApplicationDefault()
    await asyncio.gather(*(adc.refresh() for _ in range(5)))
    assert found.refreshes == 1


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        (google.auth.exceptions.RefreshError("invalid_grant"), Fault.UNAUTHENTICATED),
        (google.auth.exceptions.TransportError("connection refused"), Fault.UNAVAILABLE),
    ],
)
async def test_calls_without_a_token_fail_as_what_stands_in_their_way(
    found: Credentials, refusal: Exception, fault: Fault
) -> None:
    found.refusal = refusal
    with pytest.raises(GoogleError) as raised:
        await ApplicationDefault().refresh()
    assert raised.value.fault is fault


async def test_a_missing_credentials_file_is_named_in_one_line_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))

    with pytest.raises(CredentialsError) as raised:
        await ApplicationDefault().check()

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
async def test_refused_credentials_are_reported_without_the_reply(
    found: Credentials, refusal: Exception
) -> None:
    found.refusal = refusal

    with pytest.raises(CredentialsError) as raised:
        await ApplicationDefault().check()

    message = str(raised.value)
    assert message.startswith(f"the Google Cloud credentials do not work: {refusal.args[0]} ")
    assert "s3cr3t" not in message
