"""Tokens of an impersonated service account, directly or through a delegation chain."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from google.auth.credentials import TokenState
from google.protobuf import duration_pb2

from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.iam.principals import lower_email

from .clients import GoogleClients
from .credentials import SCOPE, TokenSource
from .errors import Fault, GoogleError
from .libraries import iam_credentials_v1
from .ratelimit import Api

LIFETIME: Final = 3600
"""Requested lifetime of a token in seconds. It is the maximum without an organization policy."""

RENEW_BEFORE_EXPIRY: Final = 600.0
"""Seconds before the expiry at which a token is renewed in the background."""

MIN_VALIDITY: Final = 60.0
"""Seconds before the expiry at which a token is no longer used."""


class ImpersonatedTokens(TokenSource):
    """Tokens of `account`, requested with `clients` through the delegation chain `delegates`."""

    def __init__(
        self,
        clients: GoogleClients,
        account: str,
        delegates: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create a source without a token. `clock()` returns seconds since the epoch."""
        super().__init__()
        self._clients = clients
        self._account = lower_email(account)
        self._delegates = delegates
        self._clock = clock
        self._token = ""
        self._expires = 0.0

    @property
    def email(self) -> str:
        """E-mail of the impersonated account, in lower case."""
        return self._account

    def headers(self) -> Mapping[str, str]:
        """Return the token."""
        return {"authorization": f"Bearer {self._token}"}

    def _state(self) -> TokenState:
        left = self._expires - self._clock()
        if left <= MIN_VALIDITY:
            return TokenState.INVALID
        return TokenState.FRESH if left > RENEW_BEFORE_EXPIRY else TokenState.STALE

    async def _renew(self) -> None:
        request = iam_credentials_v1.GenerateAccessTokenRequest(
            name=_resource(self._account),
            delegates=[_resource(each) for each in self._delegates],
            scope=[SCOPE],
            lifetime=duration_pb2.Duration(seconds=LIFETIME),
        )
        try:
            client = self._clients.client(iam_credentials_v1.IAMCredentialsAsyncClient, Api.IAM_CREDENTIALS)
            reply = await self._clients.call(
                Api.IAM_CREDENTIALS, _METHOD, client.generate_access_token, request, repeatable=True
            )
        except GoogleError as error:
            raise self._converted(error) from None
        self._token, self._expires = reply.access_token, reply.expire_time.timestamp()

    def _converted(self, error: GoogleError) -> GoogleError:
        """Convert the failure to an error of the call that needs the token.

        It is never NOT_FOUND or PERMISSION_DENIED, because the caller would relate that to its own resource.
        """
        if error.fault in _KEPT_FAULTS:
            return GoogleError(
                error.fault,
                _METHOD,
                f"cannot get a token of {self._account}: {error.message}",
                code=error.code,
                reason=error.reason,
                metadata=error.metadata,
                retry_after=error.retry_after,
                resource=error.resource,
            )
        message = (
            f"cannot act as {self._account}: {self._remedy()}; "
            f"the account must exist and be enabled ({error.message})"
        )
        return GoogleError(Fault.UNAUTHENTICATED, _METHOD, message, code=error.code, resource=error.resource)

    def _remedy(self) -> str:
        operator = self._clients.identity or "the operator's own account"
        if not self._delegates:
            return f"grant {TOKEN_CREATOR} on it to {operator}"
        chain = " → ".join((operator, *self._delegates, self._account))
        return f"in the chain {chain}, each account needs {TOKEN_CREATOR} on the next"


def _resource(account: str) -> str:
    # Google requires the wildcard instead of the project, in this method only.
    return f"projects/-/serviceAccounts/{account}"


_METHOD = "google.iam.credentials.v1.IAMCredentials/GenerateAccessToken"
_KEPT_FAULTS = frozenset(
    {
        Fault.UNAVAILABLE,
        Fault.QUOTA_EXCEEDED,
        Fault.API_DISABLED,
        Fault.PERIMETER_VIOLATION,
        Fault.UNAUTHENTICATED,
    }
)
