from pathlib import Path
from typing import Any

import google.auth
import google.auth.credentials
import google.auth.exceptions
import pytest

from cloudrun_identity.gcp.credentials import ApplicationDefault
from cloudrun_identity.gcp.errors import CredentialsError


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


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Credentials:
    credentials = Credentials()
    monkeypatch.setattr(google.auth, "default", lambda **_: (credentials, "project"))
    return credentials


def headers(adc: ApplicationDefault) -> dict[str, str]:
    handed: list[tuple[tuple[tuple[str, str], ...], Exception | None]] = []
    adc(None, lambda metadata, error: handed.append((metadata, error)))
    [(metadata, error)] = handed
    assert error is None
    return dict(metadata)


async def test_grpc_is_handed_the_token(found: Credentials) -> None:
    adc = ApplicationDefault(None)
    await adc.refresh()

    assert headers(adc) == {"authorization": "Bearer token-1"}


async def test_a_valid_token_is_kept_and_an_expired_one_renewed(found: Credentials) -> None:
    adc = ApplicationDefault(None)
    await adc.refresh()
    await adc.refresh()
    assert found.refreshes == 1

    found.token = None
    await adc.refresh()
    assert headers(adc) == {"authorization": "Bearer token-2"}


async def test_the_quota_project_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def default(**arguments: Any) -> tuple[Credentials, str]:
        asked.update(arguments)
        return Credentials(), "project"

    monkeypatch.setattr(google.auth, "default", default)

    await ApplicationDefault("ops").check()

    assert asked["quota_project_id"] == "ops"
    assert asked["scopes"] == ("https://www.googleapis.com/auth/cloud-platform",)


async def test_a_missing_credentials_file_is_named_in_one_line_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))

    with pytest.raises(CredentialsError) as raised:
        await ApplicationDefault(None).check()

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
        await ApplicationDefault(None).check()

    message = str(raised.value)
    assert message.startswith(f"the Google Cloud credentials do not work: {refusal.args[0]} ")
    assert "s3cr3t" not in message
