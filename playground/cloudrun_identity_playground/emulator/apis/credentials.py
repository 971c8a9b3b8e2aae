"""IAM Credentials v1: tokens and signatures of service accounts.

Permissions and delegation chains are checked before a call arrives here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.cloud import iam_credentials_v1 as credentials
from google.protobuf import timestamp_pb2

from cloudrun_identity_playground.emulator.errors import failed_precondition, invalid, not_found

from .accounts import Account, AccountStore
from .key_pairs import KeyPair
from .org_policy import OrgPolicies
from .rpc import serves

_SERVICE = "google.iam.credentials.v1.IAMCredentials"
_HOUR = 3600
_LONGEST = 12 * _HOUR
_EXTENSION = "iam.allowServiceAccountCredentialLifetimeExtension"

Mint = Callable[[str, float], str]
"""Returns an access token of a principal, valid for some seconds."""


class IdTokens:
    """OpenID Connect tokens, signed with a key of Google."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._key: KeyPair | None = None

    @property
    def key(self) -> KeyPair:
        """Return Google's key."""
        if self._key is None:
            self._key = KeyPair.new("federated-signon.system.gserviceaccount.com", self._clock())
        return self._key

    def issue(self, account: Account, audience: str, *, with_email: bool = True) -> str:
        """Return a token with the identity of the account for `audience`, valid for an hour."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "azp": account.unique_id,
            "sub": account.unique_id,
            "iat": now,
            "exp": now + _HOUR,
        }
        if with_email:
            claims |= {"email": account.email, "email_verified": True}
        return self.key.sign_jwt(claims)


class IAMCredentials:
    """`google.iam.credentials.v1.IAMCredentials`."""

    def __init__(
        self,
        accounts: AccountStore,
        org_policies: OrgPolicies,
        id_tokens: IdTokens,
        mint: Mint,
        clock: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._org_policies = org_policies
        self._id_tokens = id_tokens
        self._mint = mint
        self._clock = clock

    @serves(f"{_SERVICE}/GenerateAccessToken")
    def access_token(
        self, request: credentials.GenerateAccessTokenRequest
    ) -> credentials.GenerateAccessTokenResponse:
        """Return an access token of the account, valid for an hour unless the request says otherwise."""
        account = self._usable(request)
        if not request.scope:
            raise invalid("Request contains an invalid argument: scope is required.")
        lifetime = credentials.GenerateAccessTokenRequest.pb(request).lifetime.seconds or _HOUR
        longest = _LONGEST if self._may_extend(account) else _HOUR
        if not 0 < lifetime <= longest:
            raise invalid(f"The access token lifetime must be between 1 and {longest} seconds.")
        return credentials.GenerateAccessTokenResponse(
            access_token=self._mint(f"serviceAccount:{account.email}", lifetime),
            expire_time=timestamp_pb2.Timestamp(seconds=int(self._clock()) + lifetime),
        )

    @serves(f"{_SERVICE}/GenerateIdToken")
    def id_token(self, request: credentials.GenerateIdTokenRequest) -> credentials.GenerateIdTokenResponse:
        """Return an identity token for an audience."""
        account = self._usable(request)
        if not request.audience:
            raise invalid("Request contains an invalid argument: audience is required.")
        return credentials.GenerateIdTokenResponse(
            token=self._id_tokens.issue(account, request.audience, with_email=request.include_email)
        )

    @serves(f"{_SERVICE}/SignBlob")
    def sign_blob(self, request: credentials.SignBlobRequest) -> credentials.SignBlobResponse:
        """Sign bytes with the key that Google holds for the account."""
        key = self._usable(request).google_key(self._clock())
        return credentials.SignBlobResponse(key_id=key.id, signed_blob=key.sign(request.payload))

    @serves(f"{_SERVICE}/SignJwt")
    def sign_jwt(self, request: credentials.SignJwtRequest) -> credentials.SignJwtResponse:
        """Sign claims with the key that Google holds for the account."""
        key = self._usable(request).google_key(self._clock())
        try:
            claims = json.loads(request.payload)
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise invalid("The payload of a JWT is a JSON object.")
        expires = claims.get("exp")
        if expires is not None and (not isinstance(expires, int) or expires > self._clock() + _LONGEST):
            raise invalid("The exp of a JWT is an integer, at most 12 hours from now.")
        return credentials.SignJwtResponse(key_id=key.id, signed_jwt=key.sign_jwt(claims))

    def _usable(self, request: Any) -> Account:
        """Return the account of the request; it and all delegates must exist and be enabled."""
        [*_, account] = [self._enabled(name) for name in (*request.delegates, request.name)]
        return account

    def _enabled(self, name: str) -> Account:
        identifier = name.rpartition("/")[2]
        account = self._accounts.any(identifier)
        if account is None or account.deleted_at is not None:
            raise not_found(f"Not found; Gaia id not found for email {identifier}")
        if account.disabled:
            raise failed_precondition(f"The service account {account.email} is disabled.")
        return account

    def _may_extend(self, account: Account) -> bool:
        allowed = self._org_policies.allowed_values(f"projects/{account.project.id}", _EXTENSION)
        return allowed is not None and account.email.lower() in allowed
