from pathlib import Path

import pytest

from cloudrun_identity.gcp.errors import CredentialsError, Fault, GoogleError
from cloudrun_identity.gcp.token_file import READ_AGAIN, TokenFile


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


async def test_the_token_is_sent_without_the_space_around_it(path: Path) -> None:
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
async def test_whose_it_is_is_known_where_its_name_tells(path: Path, token: str, email: str) -> None:
    put(path, token)
    tokens = TokenFile(path)
    assert tokens.email == ""
    await tokens.refresh()
    assert tokens.email == email


async def test_another_token_is_found_after_a_while(path: Path) -> None:
    clock = Clock()
    put(path, "old")
    tokens = TokenFile(path, clock)
    await tokens.refresh()
    put(path, "new")
    await tokens.refresh()
    assert tokens.headers() == {"authorization": "Bearer old"}

    clock.now = READ_AGAIN
    await tokens.refresh()
    assert tokens._renewal
    await tokens._renewal
    assert tokens.headers() == {"authorization": "Bearer new"}


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "does not hold"), (b"a\nb", "does not hold"), (b"\xff", "UTF-8")],
)
async def test_a_file_without_a_token_is_told_in_one_line(
    path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        put(path, content)
    with pytest.raises(GoogleError) as raised:
        await TokenFile(path).refresh()
    assert raised.value.fault is Fault.UNAUTHENTICATED
    with pytest.raises(CredentialsError, match=why) as told:
        await TokenFile(path).check()
    assert str(path) in str(told.value)
