"""A bearer token in a file, for an emulator: there is nobody to ask for another one."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from google.auth.credentials import TokenState

from cloudrun_identity.iam.principals import lower_email

from .credentials import Tokens
from .errors import Fault, GoogleError

READ_AGAIN: Final = 60.0
"""Seconds after which the file is read again, in case that another token was put into it."""


class TokenFile(Tokens):
    """The token that a file holds.

    Emulators take the name of an account, `serviceAccount:EMAIL`, for its token; whose any other token is
    stays unknown.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock()` is in seconds."""
        super().__init__()
        self._path = path
        self._clock = clock
        self._token = ""
        self._read_at = 0.0

    @property
    def email(self) -> str:
        """The account in the token's name, in lower case; empty if it has none, or before the first use."""
        kind, _, email = self._token.partition(":")
        return lower_email(email) if kind == "serviceAccount" else ""

    def headers(self) -> Mapping[str, str]:
        """The token."""
        return {"authorization": f"Bearer {self._token}"}

    def _state(self) -> TokenState:
        if not self._token:
            return TokenState.INVALID
        return TokenState.FRESH if self._clock() < self._read_at + READ_AGAIN else TokenState.STALE

    async def _renew(self) -> None:
        try:
            token = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        except OSError as error:
            raise self._useless(f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self._useless("is not UTF-8 text") from None
        if not token or not token.isprintable() or not token.isascii():
            raise self._useless("does not hold one token")
        self._token, self._read_at = token, self._clock()

    def _useless(self, why: str) -> GoogleError:
        return GoogleError(Fault.UNAUTHENTICATED, _METHOD, f"the token file {self._path} {why}")


_METHOD = "token file/Read"
