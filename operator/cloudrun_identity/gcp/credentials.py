"""Access tokens, renewed before they expire, and the Application Default Credentials of the operator."""

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

from .error_classification import classify, credentials_message
from .errors import CredentialsError, GoogleError
from .ratelimit import start_shared_task

_log = logging.getLogger(__name__)

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

MIN_RENEWAL_INTERVAL: Final = 10.0
"""Minimum seconds between renewals of a token that has not expired yet, or that Google refused."""


class TokenSource(ABC):
    """Access tokens of one account.

    A token that expires soon is renewed in the background while calls still use it. A call waits for a
    renewal only if there is no valid token, or if Google refused the token. A failed background renewal is
    logged, and raised only after the token has expired.
    """

    def __init__(self) -> None:
        self._renewal: asyncio.Task[None] | None = None
        self._renew_after = 0.0

    @property
    @abstractmethod
    def email(self) -> str:
        """E-mail of the service account, in lower case; empty for a user, or before the first token."""

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Return the headers for the next call. Await `refresh` first."""

    @abstractmethod
    def _state(self) -> TokenState:
        """Return the state of the token."""

    @abstractmethod
    async def _renew(self) -> None:
        """Get a new token. Raises GoogleError or google.auth's GoogleAuthError."""

    async def refresh(self, refused: Mapping[str, str] | None = None) -> None:
        """Make sure that there is a valid token for the next call.

        `refused` are the headers of a call that Google answered with UNAUTHENTICATED. If they are still
        current, the token is renewed, once for all calls that were refused with it, and at most every
        `MIN_RENEWAL_INTERVAL` seconds.

        Raises:
            GoogleError: UNAUTHENTICATED: no token can be obtained, and the message states the reason. Another
                fault: the token endpoint cannot be reached now.

        """
        match TokenState.INVALID if self._must_replace(refused) else self._state():
            case TokenState.FRESH:
                return
            case TokenState.STALE:
                self._renew_in_background()
            case TokenState.INVALID:
                try:
                    await self._renewed()
                except google.auth.exceptions.GoogleAuthError as error:
                    raise classify(error, _RENEWAL) from None

    async def check(self) -> None:
        """Get a token once, at startup.

        Raises:
            CredentialsError: No token can be obtained. The message states the reason and the remedy.

        """
        try:
            await self._renewed()
        except GoogleError as error:
            raise CredentialsError(error.message) from None

    def _must_replace(self, refused: Mapping[str, str] | None) -> bool:
        if refused is None or self.headers() != refused:
            return False
        return self._renewal is not None or self._reserve_early_renewal()

    def _renew_in_background(self) -> None:
        if self._renewal is None and self._reserve_early_renewal():
            self._start_renewal().add_done_callback(_log_failure)

    def _reserve_early_renewal(self) -> bool:
        """Reserve the one early renewal that `MIN_RENEWAL_INTERVAL` allows. Return False if it is used."""
        now = asyncio.get_running_loop().time()
        if now < self._renew_after:
            return False
        self._renew_after = now + MIN_RENEWAL_INTERVAL
        return True

    async def _renewed(self) -> None:
        # Shielded: a caller that is canceled must not cancel the renewal for the others.
        in_flight = self._renewal if self._renewal and not self._renewal.done() else self._start_renewal()
        await asyncio.shield(in_flight)

    def _start_renewal(self) -> "asyncio.Task[None]":
        self._renewal = start_shared_task(self._renew(), name="renewal of an access token")
        self._renewal.add_done_callback(self._on_done)
        return self._renewal

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        if self._renewal is task:
            self._renewal = None
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs the exception of a renewal that no caller awaits


class ApplicationDefaultTokens(TokenSource):
    """Application Default Credentials, loaded on first use."""

    def __init__(self) -> None:
        super().__init__()
        self._credentials: google.auth.credentials.Credentials | None = None

    @property
    def email(self) -> str:
        """E-mail of the service account, in lower case; empty for a user, or before the first token."""
        address = str(getattr(self._credentials, "service_account_email", "") or "")
        return lower_email(address) if "@" in address else ""

    async def check(self) -> None:
        """Get a token once, at startup.

        Raises:
            CredentialsError: No token can be obtained. The message states the reason and the remedy.

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
        """Return the token, and the quota project that the credentials name."""
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


def _log_failure(task: "asyncio.Task[None]") -> None:
    """Log the failure of a background renewal."""
    error = None if task.cancelled() else task.exception()
    match error:
        case None:
            return
        case GoogleError():
            _log.warning(
                "an access token was not renewed before its expiry, the next call tries again: %s",
                error.message,
            )
        case google.auth.exceptions.GoogleAuthError():
            _log.warning(
                "an access token was not renewed before its expiry, the next call tries again: %s",
                credentials_message(error),
            )
        case _:
            _log.error("an access token was not renewed: unexpected %s", type(error).__name__, exc_info=error)


_RENEWAL = "google.auth/Refresh"

_REMEDY = (
    "(give the operator's pod a Workload Identity, point GOOGLE_APPLICATION_CREDENTIALS to a credentials "
    "file, or run `gcloud auth application-default login`)"
)
