"""Bearer token in a file, for an emulator."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from google.auth.credentials import TokenState

from cloudrun_identity.iam.principals import lower_email

from .credentials import TokenSource
from .errors import Fault, GoogleError

REREAD_INTERVAL: Final = 60.0
"""Seconds after which the file is read again, because it may contain another token."""


class TokenFile(TokenSource):
    """Token in a file.

    Emulators accept the name of an account, `serviceAccount:EMAIL`, as its token. The account of any other
    token is not known.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a source that reads the file on first use. `clock()` returns seconds."""
        super().__init__()
        self._path = path
        self._clock = clock
        self._token = ""
        self._read_at = 0.0

    @property
    def email(self) -> str:
        """E-mail of the account that the token names, in lower case; empty if it is not known."""
        kind, _, email = self._token.partition(":")
        return lower_email(email) if kind == "serviceAccount" else ""

    def headers(self) -> Mapping[str, str]:
        """Return the token."""
        return {"authorization": f"Bearer {self._token}"}

    def _state(self) -> TokenState:
        if not self._token:
            return TokenState.INVALID
        return TokenState.FRESH if self._clock() < self._read_at + REREAD_INTERVAL else TokenState.STALE

    async def _renew(self) -> None:
        try:
            token = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
        except OSError as error:
            raise self._invalid(f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self._invalid("is not UTF-8 text") from None
        if not token or not token.isprintable() or not token.isascii():
            raise self._invalid("does not hold one token")
        self._token, self._read_at = token, self._clock()

    def _invalid(self, reason: str) -> GoogleError:
        return GoogleError(Fault.UNAUTHENTICATED, _METHOD, f"the token file {self._path} {reason}")


_METHOD = "token file/Read"
