"""The operator's own credentials: Application Default Credentials, kept fresh off the event loop."""

import asyncio
from collections.abc import Callable, Mapping

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests
import grpc

from cloudrun_identity.gcp.errors import CredentialsError, credentials_message
from cloudrun_identity.iam.principals import lower_email


class ApplicationDefault(grpc.AuthMetadataPlugin):  # type: ignore[misc]
    """Credentials found as google.auth finds them, loaded when first needed.

    It is gRPC's plugin too: a channel asks it for the headers of each call. They stay out of the metadata
    that the client libraries log in their debug mode.
    """

    def __init__(self, quota_project: str | None) -> None:
        self._quota_project = quota_project
        self._credentials: google.auth.credentials.Credentials | None = None
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> None:
        """Make sure of a token that is good for some minutes.

        Done before each call and not by the plugin: gRPC turns what a plugin raises into an UNAVAILABLE that
        tells nobody what to do.

        Raises:
            google.auth.exceptions.GoogleAuthError: there are none, or they are refused or out of reach.

        """
        async with self._refreshing:
            if self._credentials is None:
                self._credentials = await asyncio.to_thread(self._load)
            if not self._credentials.valid:
                request = google.auth.transport.requests.Request()
                await asyncio.to_thread(self._credentials.refresh, request)

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
            await self.refresh()
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise CredentialsError(
                f"no Google Cloud credentials: {credentials_message(error)} {_REMEDY}"
            ) from None
        except google.auth.exceptions.GoogleAuthError as error:
            raise CredentialsError(
                f"the Google Cloud credentials do not work: {credentials_message(error)} {_REMEDY}"
            ) from None

    def __call__(
        self,
        context: grpc.AuthMetadataContext,  # noqa: ARG002 - gRPC's signature
        callback: Callable[[tuple[tuple[str, str], ...], Exception | None], None],
    ) -> None:
        """Hand gRPC the headers of a call that is about to go out."""
        callback(tuple(self._headers().items()), None)

    def _headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        if self._credentials is not None:
            self._credentials.apply(headers)  # type: ignore[no-untyped-call]
        return headers

    def _load(self) -> google.auth.credentials.Credentials:
        credentials, _ = google.auth.default(scopes=_SCOPES, quota_project_id=self._quota_project)
        return credentials


_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)

_REMEDY = (
    "(give the operator's pod a Workload Identity, point GOOGLE_APPLICATION_CREDENTIALS to a credentials "
    "file, or run `gcloud auth application-default login`)"
)
