"""Tokens in files."""

from pathlib import Path

import pytest

from cloudrun_identity.gcp.errors import CredentialsError, Fault, GoogleError
from cloudrun_identity.gcp.token_file import REREAD_INTERVAL, TokenFile


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def put(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


async def test_whitespace_around_the_token_is_removed(path: Path) -> None:
    put(path, "abc\n")
    tokens = TokenFile(path)
    await tokens.refresh()
    assert tokens.headers() == {"authorization": "Bearer abc"}


@pytest.mark.parametrize(
    ("token", "email"),
    [
        ("serviceAccount:Operator@ops.iam.gserviceaccount.com", "operator@ops.iam.gserviceaccount.com"),
        ("user:ann@example.com", ""),
        ("ya29.opaque", ""),
    ],
)
async def test_email_is_known_if_the_token_names_an_account(path: Path, token: str, email: str) -> None:
    put(path, token)
    tokens = TokenFile(path)
    assert tokens.email == ""
    await tokens.refresh()
    assert tokens.email == email


async def test_file_is_read_again_after_the_interval(path: Path) -> None:
    clock = Clock()
    put(path, "old")
    tokens = TokenFile(path, clock)
    await tokens.refresh()
    put(path, "new")
    await tokens.refresh()
    assert tokens.headers() == {"authorization": "Bearer old"}

    clock.now = REREAD_INTERVAL
    await tokens.refresh()
    assert tokens._renewal
    await tokens._renewal
    assert tokens.headers() == {"authorization": "Bearer new"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "does not hold"), (b"a\nb", "does not hold"), (b"\xff", "UTF-8")],
)
async def test_file_without_a_token_is_an_error_with_its_path(
    path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        put(path, content)
    with pytest.raises(GoogleError) as raised:
        await TokenFile(path).refresh()
    assert raised.value.fault is Fault.UNAUTHENTICATED
    with pytest.raises(CredentialsError, match=reason) as failed:
        await TokenFile(path).check()
    assert str(path) in str(failed.value)
