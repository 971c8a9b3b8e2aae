"""Access tokens, renewed ahead of their expiry and off the event loop; and the operator's own."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests
from google.auth.credentials import TokenState

from cloudrun_identity.iam.principals import lower_email

from .errors import CredentialsError, GoogleError, classify, credentials_message
from .ratelimit import start_shared

_log = logging.getLogger(__name__)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

RENEW_AGAIN: Final = 10.0
"""Seconds between two renewals of a token that has not expired: it is about to, or Google refused it."""


class Tokens(ABC):
    """One account's tokens.

    A token that is about to expire is renewed beside the calls that still use it; only a call that has none,
    or whose token Google refused before its time, waits. Renewals that fail meanwhile are told of once there
    is no token left.
    """

    def __init__(self) -> None:
        self._renewal: asyncio.Task[None] | None = None
        self._renew_after = 0.0

    @property
    @abstractmethod
    def email(self) -> str:
        """Whose they are, in lower case; empty if no service account's, or before the first use."""

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers of a call that goes out now; call `refresh` before."""

    @abstractmethod
    def _state(self) -> TokenState:
        """How good the token is."""

    @abstractmethod
    async def _renew(self) -> None:
        """Get another token. Raises GoogleError or google.auth's GoogleAuthError."""

    async def refresh(self, refused: Mapping[str, str] | None = None) -> None:
        """Make sure of a token that is good for the next call.

        `refused` are the headers of a call that Google did not let in: while they are the newest, they are
        replaced, once for all who were refused with them, and at most every `RENEW_AGAIN` seconds, however
        many tokens Google refuses.

        Raises:
            GoogleError: UNAUTHENTICATED, there is none to be had, and the message says why; UNAVAILABLE and
                the others, whoever gives it cannot be reached now.

        """
        match TokenState.INVALID if self._has_to_replace(refused) else self._state():
            case TokenState.FRESH:
                return
            case TokenState.STALE:
                self._renew_beside()
            case TokenState.INVALID:
                try:
                    await self._renewed()
                except google.auth.exceptions.GoogleAuthError as error:
                    raise classify(error, _RENEWAL) from None

    async def check(self) -> None:
        """Try them once, before anything depends on them.

        Raises:
            CredentialsError: they cannot be used; the message says why and what to do.

        """
        try:
            await self._renewed()
        except GoogleError as error:
            raise CredentialsError(error.message) from None

    def _has_to_replace(self, refused: Mapping[str, str] | None) -> bool:
        if refused is None or self.headers() != refused:
            return False
        return self._renewal is not None or self._claim_early_renewal()

    def _renew_beside(self) -> None:
        if self._renewal is None and self._claim_early_renewal():
            self._depart().add_done_callback(_tell)

    def _claim_early_renewal(self) -> bool:
        """Take the one renewal before the expiry that `RENEW_AGAIN` seconds allow; False if it is taken."""
        now = asyncio.get_running_loop().time()
        if now < self._renew_after:
            return False
        self._renew_after = now + RENEW_AGAIN
        return True

    async def _renewed(self) -> None:
        # Shielded: whoever gives up waiting must not take the others' token away.
        under_way = self._renewal if self._renewal and not self._renewal.done() else self._depart()
        await asyncio.shield(under_way)

    def _depart(self) -> "asyncio.Task[None]":
        self._renewal = start_shared(self._renew(), name="renewal of an access token")
        self._renewal.add_done_callback(self._landed)
        return self._renewal

    def _landed(self, task: "asyncio.Task[None]") -> None:
        if self._renewal is task:
            self._renewal = None
        if not task.cancelled():
            task.exception()  # asked for, or asyncio complains where nobody waited to the end


class ApplicationDefault(Tokens):
    """Credentials found as google.auth finds them, loaded when first needed."""

    def __init__(self) -> None:
        super().__init__()
        self._credentials: google.auth.credentials.Credentials | None = None

    @property
    def email(self) -> str:
        """Whose they are, in lower case; empty if no service account's, or before the first use."""
        address = str(getattr(self._credentials, "service_account_email", "") or "")
        return lower_email(address) if "@" in address else ""

    async def check(self) -> None:
        """Try them once.

        Raises:
            CredentialsError: they cannot be used; the message says why and what to do.

        """
        try:
            await self._renewed()
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise CredentialsError(
                f"no Google Cloud credentials: {credentials_message(error)} {_REMEDY}"
            ) from None
        except google.auth.exceptions.GoogleAuthError as error:
            raise CredentialsError(
                f"the Google Cloud credentials do not work: {credentials_message(error)} {_REMEDY}"
            ) from None

    def headers(self) -> Mapping[str, str]:
        """The token, and the quota project that the credentials themselves name."""
        headers: dict[str, str] = {}
        if self._credentials is not None:
            self._credentials.apply(headers)  # type: ignore[no-untyped-call]
        return headers

    def _state(self) -> TokenState:
        return self._credentials.token_state if self._credentials else TokenState.INVALID

    async def _renew(self) -> None:
        if self._credentials is None:
            self._credentials = await asyncio.to_thread(_load)
        await asyncio.to_thread(self._credentials.refresh, google.auth.transport.requests.Request())


def _load() -> google.auth.credentials.Credentials:
    credentials, _ = google.auth.default(scopes=(SCOPE,))
    return credentials


def _tell(task: "asyncio.Task[None]") -> None:
    """Log why a renewal failed that nobody waits for."""
    error = None if task.cancelled() else task.exception()
    match error:
        case None:
            return
        case GoogleError():
            _log.warning("an access token could not be renewed ahead of time: %s", error.message)
        case google.auth.exceptions.GoogleAuthError():
            _log.warning("an access token could not be renewed ahead of time: %s", credentials_message(error))
        case _:
            _log.error("renewal of an access token: unexpected %s", type(error).__name__, exc_info=error)


_RENEWAL = "google.auth/Refresh"

_REMEDY = (
    "(give the operator's pod a Workload Identity, point GOOGLE_APPLICATION_CREDENTIALS to a credentials "
    "file, or run `gcloud auth application-default login`)"
)
