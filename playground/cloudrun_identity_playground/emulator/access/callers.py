"""Authentication: the principal behind a bearer token, or the caller without one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cloudrun_identity_playground.emulator.apis.accounts import AccountStore
from cloudrun_identity_playground.emulator.apis.actor import ADMIN, Caller
from cloudrun_identity_playground.emulator.apis.assertions import Assertions, RejectedAssertionError
from cloudrun_identity_playground.emulator.switches import Switches

from . import principals
from .denials import bad_credentials, no_credentials

_JWT = "eyJ"  # the start of a JSON header in base64


@dataclass(frozen=True)
class _Token:
    principal: str
    unique_id: str
    expires: float


class Callers:
    """Principals by the `Authorization` header.

    A bearer token is one that was minted here, a JWT that a service account signed with its key, the name of
    a principal as in a policy (`user:ann@example.com`), `admin`, or `admin:` and a principal, which may do
    everything under this name. A switch sets the caller without a token.
    `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        accounts: AccountStore,
        assertions: Assertions,
        switches: Switches,
        clock: Callable[[], float],
    ) -> None:
        self._assertions = assertions
        self._switches = switches
        self._accounts = accounts
        self._clock = clock
        self._tokens: dict[str, _Token] = {}

    def mint(self, principal: str, seconds: float) -> str:
        """Return a token of `principal` that is valid for some seconds.

        A service account's token ends with the account: it is not valid for a later account of the same
        e-mail.
        """
        token = f"ya29.emulated-{secrets.token_urlsafe(24)}"
        self._tokens[token] = _Token(principal, self._unique_id(principal), self._clock() + seconds)
        return token

    def of(self, authorization: str, rpc: str) -> Caller:
        """Return the caller of `rpc` by the header; empty is a request without one.

        Raises GoogleError: UNAUTHENTICATED, the token is invalid or its principal cannot call.
        """
        scheme, _, credential = authorization.partition(" ")
        if authorization and scheme.lower() != "bearer":
            raise bad_credentials(rpc, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if token := self._tokens.get(credential):
            if self._clock() >= token.expires:
                raise bad_credentials(rpc, "ACCESS_TOKEN_EXPIRED")
            return self._caller(token.principal, rpc, token.unique_id)
        if credential.startswith(_JWT):
            return self._signer(credential, rpc)
        name = credential if authorization else self._switches.without_token
        if name == principals.ADMIN:
            return ADMIN
        admin = name.removeprefix(principals.ADMIN_AS)
        if admin != name and principals.is_principal(admin):
            return Caller(admin, is_admin=True)
        if not authorization and name == principals.NOBODY:
            raise no_credentials(rpc)
        if not principals.is_principal(name):
            raise bad_credentials(rpc, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
        return self._caller(name, rpc)

    def _signer(self, jwt: str, rpc: str) -> Caller:
        """Return the account that signed the JWT. Google accepts such tokens without an exchange."""
        try:
            account, _ = self._assertions.signer(jwt, audiences=None)
        except RejectedAssertionError as error:
            raise bad_credentials(rpc, "ACCESS_TOKEN_TYPE_UNSUPPORTED") from error
        return Caller(f"serviceAccount:{account.email}", account.unique_id)

    def _caller(self, principal: str, rpc: str, unique_id: str = "") -> Caller:
        """Return the caller; a service account must exist, be enabled and have the unique id."""
        email = _account_email(principal)
        if not self._accounts.is_local(email):
            return Caller(principal)
        account = self._accounts.live(email)
        if account is None or account.disabled or (unique_id and account.unique_id != unique_id):
            raise bad_credentials(rpc, "ACCOUNT_STATE_INVALID", email)
        return Caller(principal, account.unique_id)

    def _unique_id(self, principal: str) -> str:
        account = self._accounts.live(_account_email(principal))
        return account.unique_id if account is not None else ""


def _account_email(principal: str) -> str:
    kind, _, email = principal.partition(":")
    return email if kind == "serviceAccount" else ""
