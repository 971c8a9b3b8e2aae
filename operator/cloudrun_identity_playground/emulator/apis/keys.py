"""IAM v1: keys of service accounts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import iam_admin_v1 as iam
from google.protobuf import empty_pb2, timestamp_pb2

from cloudrun_identity_playground.emulator.errors import failed_precondition, not_found

from .accounts import Account, AccountStore
from .org_policy import OrgPolicies
from .rpc import serves

MAX_KEYS = 10
_FOREVER = 253402300799  # 9999-12-31T23:59:59Z, the end of a key without expiry
_FORBIDDING = ("iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation")


class Keys:
    """The keys of `google.iam.admin.v1.IAM`. The private half is in the answer of the create alone."""

    def __init__(self, accounts: AccountStore, org_policies: OrgPolicies, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._org_policies = org_policies
        self._clock = clock

    @serves("google.iam.admin.v1.IAM/CreateServiceAccountKey")
    def create(self, request: iam.CreateServiceAccountKeyRequest) -> iam.ServiceAccountKey:
        """Create a key; no later answer has its private half."""
        account = self._accounts.find(request.name)
        if any(self._org_policies.is_enforced(account.project, constraint) for constraint in _FORBIDDING):
            raise failed_precondition("Key creation is not allowed on this service account.")
        if len(account.keys) >= MAX_KEYS:
            raise failed_precondition(f"The service account has {MAX_KEYS} keys already.")
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_id = secrets.token_hex(20)
        key = self._user_managed(account, key_id)
        key.public_key_data = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        account.keys[key_id] = key
        return iam.ServiceAccountKey(
            key,
            private_key_type=iam.ServiceAccountPrivateKeyType.TYPE_GOOGLE_CREDENTIALS_FILE,
            private_key_data=_credentials_file(account, key_id, private),
        )

    @serves("google.iam.admin.v1.IAM/ListServiceAccountKeys")
    def list(self, request: iam.ListServiceAccountKeysRequest) -> iam.ListServiceAccountKeysResponse:
        """List the keys, the one that Google holds itself included unless only others are asked for."""
        account = self._accounts.find(request.name)
        keys = [_without_key_material(key) for key in account.keys.values()]
        keys.append(_system_managed(account))
        wanted = set(request.key_types)
        return iam.ListServiceAccountKeysResponse(
            keys=[key for key in keys if not wanted or key.key_type in wanted]
        )

    @serves("google.iam.admin.v1.IAM/GetServiceAccountKey")
    def get(self, request: iam.GetServiceAccountKeyRequest) -> iam.ServiceAccountKey:
        """Show a key, with its public half if asked for."""
        _, key = self._find(request.name)
        if request.public_key_type == iam.ServiceAccountPublicKeyType.TYPE_NONE:
            return _without_key_material(key)
        return key

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

    def _find(self, name: str) -> tuple[Account, iam.ServiceAccountKey]:
        account_name, _, key_id = name.partition("/keys/")
        account = self._accounts.find(account_name)
        if key_id not in account.keys:
            raise not_found(f"Service account key {key_id} does not exist.")
        return account, account.keys[key_id]

    def _user_managed(self, account: Account, key_id: str) -> iam.ServiceAccountKey:
        return iam.ServiceAccountKey(
            name=f"{account.name}/keys/{key_id}",
            key_algorithm=iam.ServiceAccountKeyAlgorithm.KEY_ALG_RSA_2048,
            key_origin=iam.ServiceAccountKeyOrigin.GOOGLE_PROVIDED,
            key_type=iam.ListServiceAccountKeysRequest.KeyType.USER_MANAGED,
            valid_after_time=timestamp_pb2.Timestamp(seconds=int(self._clock())),
            valid_before_time=timestamp_pb2.Timestamp(seconds=_FOREVER),
        )


def _system_managed(account: Account) -> iam.ServiceAccountKey:
    """The key that Google holds for every account and rotates itself."""
    return iam.ServiceAccountKey(
        name=f"{account.name}/keys/{int(account.unique_id):040x}",
        key_algorithm=iam.ServiceAccountKeyAlgorithm.KEY_ALG_RSA_2048,
        key_origin=iam.ServiceAccountKeyOrigin.GOOGLE_PROVIDED,
        key_type=iam.ListServiceAccountKeysRequest.KeyType.SYSTEM_MANAGED,
    )


def _without_key_material(key: iam.ServiceAccountKey) -> iam.ServiceAccountKey:
    listed = iam.ServiceAccountKey(key)
    listed.public_key_data = b""
    return listed


def _credentials_file(account: Account, key_id: str, private: rsa.RSAPrivateKey) -> bytes:
    """The JSON that client libraries read as credentials."""
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": account.project.id,
            "private_key_id": key_id,
            "private_key": pem.decode(),
            "client_email": account.email,
            "client_id": account.unique_id,
            "token_uri": "https://oauth2.googleapis.com/token",
        },
        indent=2,
    ).encode()


def _id(name: str) -> str:
    return name.rpartition("/")[2]
