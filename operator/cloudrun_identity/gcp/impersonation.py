"""Tokens of a service account that the operator impersonates, by itself or through delegates."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from google.auth.credentials import TokenState
from google.cloud.iam_credentials_v1 import types
from google.cloud.iam_credentials_v1.services.iam_credentials import IAMCredentialsAsyncClient
from google.protobuf import duration_pb2

from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.iam.principals import lower_email

from .clients import GoogleClients
from .credentials import SCOPE, Tokens
from .errors import Fault, GoogleError
from .ratelimit import Api

LIFETIME: Final = 3600
"""Seconds that a token is asked for: the most that Google gives unless an organization says otherwise."""

AHEAD: Final = 600.0
"""Seconds before its expiry from which on a token is renewed beside the calls that use it."""

TOO_LATE: Final = 60.0
"""Seconds before its expiry from which on a token is not used any more."""


class Impersonated(Tokens):
    """Tokens of `account`, made by `clients` through the chain of `delegates`."""

    def __init__(
        self,
        clients: GoogleClients,
        account: str,
        delegates: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock()` is the time in seconds since the epoch, with which expiries are compared."""
        super().__init__()
        self._clients = clients
        self._account = lower_email(account)
        self._delegates = delegates
        self._clock = clock
        self._token = ""
        self._expires = 0.0

    @property
    def email(self) -> str:
        """The impersonated account, in lower case."""
        return self._account

    def headers(self) -> Mapping[str, str]:
        """The token."""
        return {"authorization": f"Bearer {self._token}"}

    def _state(self) -> TokenState:
        left = self._expires - self._clock()
        if left <= TOO_LATE:
            return TokenState.INVALID
        return TokenState.FRESH if left > AHEAD else TokenState.STALE

    async def _renew(self) -> None:
        request = types.GenerateAccessTokenRequest(
            name=_resource(self._account),
            delegates=[_resource(each) for each in self._delegates],
            scope=[SCOPE],
            lifetime=duration_pb2.Duration(seconds=LIFETIME),
        )
        try:
            client = self._clients.client(IAMCredentialsAsyncClient, Api.IAM_CREDENTIALS)
            reply = await self._clients.call(
                Api.IAM_CREDENTIALS, _METHOD, client.generate_access_token, request, repeatable=True
            )
        except GoogleError as error:
            raise self._refusal(error) from None
        self._token, self._expires = reply.access_token, reply.expire_time.timestamp()

    def _refusal(self, error: GoogleError) -> GoogleError:
        """What the failure means for the calls that need the token.

        Never NOT_FOUND or PERMISSION_DENIED, which a caller would take for an answer about its own resource.
        """
        if error.fault in _PASSED_ON:
            return GoogleError(
                error.fault, _METHOD, f"no token of {self._account}: {error.message}", code=error.code
            )
        message = (
            f"cannot act as {self._account}: {self._what_to_grant()}; "
            f"the account has to exist and be enabled ({error.message})"
        )
        return GoogleError(Fault.UNAUTHENTICATED, _METHOD, message, code=error.code)

    def _what_to_grant(self) -> str:
        operator = self._clients.identity or "the operator's own account"
        if not self._delegates:
            return f"grant {operator} {TOKEN_CREATOR} on it"
        chain = " → ".join((operator, *self._delegates, self._account))
        return f"in the chain {chain} each needs {TOKEN_CREATOR} on the next"


def _resource(account: str) -> str:
    # The one method for which Google asks for the wildcard instead of the project.
    return f"projects/-/serviceAccounts/{account}"


_METHOD = "google.iam.credentials.v1.IAMCredentials/GenerateAccessToken"
_PASSED_ON = frozenset({Fault.UNAVAILABLE, Fault.QUOTA_EXCEEDED, Fault.API_DISABLED, Fault.UNAUTHENTICATED})
