"""JWTs that clients sign with the key of a service account to authenticate."""

from __future__ import annotations

from collections.abc import Callable, Collection

from google.cloud import iam_admin_v1 as iam

from .accounts import Account, AccountStore
from .key_pairs import Certificate, Jwt

_LONGEST = 3600
_SKEW = 300


class RejectedAssertionError(Exception):
    """An invalid assertion; one line with the reason, in Google's words where they are known."""


class Assertions:
    """Verifies assertions. `clock` returns seconds since the epoch."""

    def __init__(self, accounts: AccountStore, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._clock = clock

    def signer(self, token: str, audiences: Collection[str] | None) -> tuple[Account, Jwt]:
        """Return the account whose live, enabled key signed `token`, and the token's content.

        The token must have one of `audiences`; None accepts any.

        Raises RejectedAssertionError: The token is invalid.
        """
        try:
            jwt = Jwt.parse(token)
        except ValueError as error:
            raise RejectedAssertionError("Bad Request: the assertion is no JWT.") from error
        account = self._accounts.live(str(jwt.claims.get("iss", "")))
        if account is None:
            raise RejectedAssertionError("Invalid grant: account not found")
        if account.disabled:
            raise RejectedAssertionError("Invalid grant: the service account is disabled.")
        self._check_times(jwt)
        if audiences is not None and jwt.claims.get("aud") not in audiences:
            raise RejectedAssertionError("Invalid JWT: Failed audience check.")
        if not self._is_signed(jwt, account):
            raise RejectedAssertionError("Invalid JWT Signature.")
        return account, jwt

    def _check_times(self, jwt: Jwt) -> None:
        issued, expires = jwt.claims.get("iat"), jwt.claims.get("exp")
        now = self._clock()
        if (
            not isinstance(issued, int | float)
            or not isinstance(expires, int | float)
            or not issued - _SKEW <= now < expires + _SKEW
            or expires - issued > _LONGEST
        ):
            raise RejectedAssertionError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )

    def _is_signed(self, jwt: Jwt, account: Account) -> bool:
        named = account.keys.get(str(jwt.header.get("kid")))
        candidates = [named] if named is not None else account.keys.values()
        return any(
            Certificate.parse(key.public_key_data).is_signature(jwt.signature, jwt.signed)
            for key in candidates
            if self._is_good(key)
        )

    def _is_good(self, key: iam.ServiceAccountKey) -> bool:
        began, ends = key.valid_after_time.timestamp(), key.valid_before_time.timestamp()
        return not key.disabled and began - _SKEW <= self._clock() < ends
