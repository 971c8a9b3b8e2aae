"""IAM v1: keys of service accounts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from google.cloud import iam_admin_v1 as iam
from google.protobuf import empty_pb2

from cloudrun_identity_playground.emulator.errors import (
    exhausted,
    failed_precondition,
    invalid,
    not_found,
    violated_constraint,
)

from .accounts import Account, AccountStore
from .key_pairs import FOREVER, Certificate, KeyPair
from .org_policy import OrgPolicies
from .rpc import serves

MAX_KEYS = 10
GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_NO_CREATION = ("iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation")
_NO_UPLOAD = ("iam.disableServiceAccountKeyUpload", "iam.managed.disableServiceAccountKeyUpload")
_EXPIRY = "iam.serviceAccountKeyExpiryHours"
_PublicKeyType = iam.ServiceAccountPublicKeyType
_Origin = iam.ServiceAccountKeyOrigin
_Type = iam.ListServiceAccountKeysRequest.KeyType


class Keys:
    """The keys of `google.iam.admin.v1.IAM`. Only the response of a create has the private half.

    Only a read of a key has the public half:
    https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys#ServiceAccountKey.

    Clients that sign in with a key get their tokens at `token_uri`.
    """

    def __init__(self, accounts: AccountStore, org_policies: OrgPolicies, clock: Callable[[], float]) -> None:
        self.token_uri = GOOGLE_TOKEN_URI
        self._accounts = accounts
        self._org_policies = org_policies
        self._clock = clock

    @serves("google.iam.admin.v1.IAM/CreateServiceAccountKey")
    def create(self, request: iam.CreateServiceAccountKeyRequest) -> iam.ServiceAccountKey:
        """Create a key."""
        account = self._accounts.find_settled(request.name)
        self._check_allowed(account, _NO_CREATION, "Key creation is not allowed on this service account.")
        pair = KeyPair.new(account.unique_id, self._clock(), self._expiry(account))
        key = _key(account, pair.id, pair.certificate, _Origin.GOOGLE_PROVIDED, _Type.USER_MANAGED)
        account.keys[pair.id] = key
        return iam.ServiceAccountKey(
            _without_key_material(key),
            private_key_type=iam.ServiceAccountPrivateKeyType.TYPE_GOOGLE_CREDENTIALS_FILE,
            private_key_data=self._credentials_file(account, pair),
        )

    @serves("google.iam.admin.v1.IAM/UploadServiceAccountKey")
    def upload(self, request: iam.UploadServiceAccountKeyRequest) -> iam.ServiceAccountKey:
        """Add the public half of a key that was created elsewhere, in an X.509 certificate."""
        account = self._accounts.find_settled(request.name)
        self._check_allowed(account, _NO_UPLOAD, "Key upload is not allowed on this service account.")
        try:
            certificate = Certificate.parse(request.public_key_data)
        except ValueError as error:
            raise invalid(
                f"Invalid public key data; expected an X.509 certificate in PEM: {error}."
            ) from error
        key = _key(account, secrets.token_hex(20), certificate, _Origin.USER_PROVIDED, _Type.USER_MANAGED)
        account.keys[_id(key.name)] = key
        return _without_key_material(key)

    @serves("google.iam.admin.v1.IAM/ListServiceAccountKeys")
    def list(self, request: iam.ListServiceAccountKeysRequest) -> iam.ListServiceAccountKeysResponse:
        """List the keys, including the one that Google holds, unless the request filters by type."""
        account = self._accounts.find(request.name)
        wanted: set[int] = set(request.key_types) or {_Type.USER_MANAGED, _Type.SYSTEM_MANAGED}
        keys = list(account.keys.values()) if _Type.USER_MANAGED in wanted else []
        if _Type.SYSTEM_MANAGED in wanted:
            keys.append(self._system_managed(account))
        return iam.ListServiceAccountKeysResponse(keys=[_without_key_material(key) for key in keys])

    @serves("google.iam.admin.v1.IAM/GetServiceAccountKey")
    def get(self, request: iam.GetServiceAccountKeyRequest) -> iam.ServiceAccountKey:
        """Return a key, with its public half if the request asks for it."""
        account_name, _, key_id = request.name.partition("/keys/")
        account = self._accounts.find(account_name)
        held = account.google_key(self._clock())
        key = self._system_managed(account) if held.id == key_id else self._find(request.name)[1]
        shown = _without_key_material(key)
        if request.public_key_type == _PublicKeyType.TYPE_X509_PEM_FILE:
            shown.public_key_data = key.public_key_data
        elif request.public_key_type == _PublicKeyType.TYPE_RAW_PUBLIC_KEY:
            shown.public_key_data = Certificate.parse(key.public_key_data).public_pem
        return shown

    @serves("google.iam.admin.v1.IAM/DeleteServiceAccountKey")
    def delete(self, request: iam.DeleteServiceAccountKeyRequest) -> empty_pb2.Empty:
        """Delete a key."""
        account, key = self._find(request.name)
        del account.keys[_id(key.name)]
        return empty_pb2.Empty()

    @serves("google.iam.admin.v1.IAM/DisableServiceAccountKey")
    def disable(self, request: iam.DisableServiceAccountKeyRequest) -> empty_pb2.Empty:
        """Disable a key."""
        self._find(request.name)[1].disabled = True
        return empty_pb2.Empty()

    @serves("google.iam.admin.v1.IAM/EnableServiceAccountKey")
    def enable(self, request: iam.EnableServiceAccountKeyRequest) -> empty_pb2.Empty:
        """Enable a key."""
        self._find(request.name)[1].disabled = False
        return empty_pb2.Empty()

    def _check_allowed(self, account: Account, constraints: tuple[str, ...], refusal: str) -> None:
        for constraint in constraints:
            if self._org_policies.is_enforced(account.project, constraint):
                # The detail: https://github.com/google/create-service-account/issues/21
                subject = f"{account.name}?configvalue={quote(account.email, safe='')}"
                raise failed_precondition(refusal, violated_constraint(constraint, subject, refusal))
        if len(account.keys) >= MAX_KEYS:
            raise exhausted("Maximum number of keys on account reached.")

    def _expiry(self, account: Account) -> datetime:
        """Return the expiry of a new key. The constraint has it in hours, such as `24h`."""
        allowed = self._org_policies.allowed_values(f"projects/{account.project.id}", _EXPIRY)
        hours = [int(value.removesuffix("h")) for value in allowed or ()]
        return datetime.fromtimestamp(self._clock(), UTC) + timedelta(hours=min(hours)) if hours else FOREVER

    def _find(self, name: str) -> tuple[Account, iam.ServiceAccountKey]:
        account_name, _, key_id = name.partition("/keys/")
        account = self._accounts.find(account_name)
        if key_id not in account.keys:
            raise not_found(f"Service account key {key_id} does not exist.")
        return account, account.keys[key_id]

    def _system_managed(self, account: Account) -> iam.ServiceAccountKey:
        """Return the key that Google holds for every account and rotates."""
        pair = account.google_key(self._clock())
        return _key(account, pair.id, pair.certificate, _Origin.GOOGLE_PROVIDED, _Type.SYSTEM_MANAGED)

    def _credentials_file(self, account: Account, pair: KeyPair) -> bytes:
        """Return the JSON file that client libraries read as credentials."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": account.project.id,
                "private_key_id": pair.id,
                "private_key": pair.private_pem,
                "client_email": account.email,
                "client_id": account.unique_id,
                "token_uri": self.token_uri,
            },
            indent=2,
        ).encode()


def _key(
    account: Account, key_id: str, certificate: Certificate, origin: int, kind: int
) -> iam.ServiceAccountKey:
    return iam.ServiceAccountKey(
        name=f"{account.name}/keys/{key_id}",
        key_algorithm=iam.ServiceAccountKeyAlgorithm.KEY_ALG_RSA_2048,
        key_origin=origin,
        key_type=kind,
        public_key_data=certificate.pem,
        valid_after_time=certificate.not_before,
        valid_before_time=certificate.not_after,
    )


def _without_key_material(key: iam.ServiceAccountKey) -> iam.ServiceAccountKey:
    listed = iam.ServiceAccountKey(key)
    listed.public_key_data = b""
    return listed


def _id(name: str) -> str:
    return name.rpartition("/")[2]
