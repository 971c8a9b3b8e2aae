from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.api_core import exceptions
from google.cloud import iam_admin_v1 as iam
from google.cloud import orgpolicy_v2 as orgpolicy
from google.oauth2 import service_account

from .clients import Clients, Clock, retry_seconds

ACCOUNT = "projects/shop/serviceAccounts/checkout@shop.iam.gserviceaccount.com"
KeyType = iam.ListServiceAccountKeysRequest.KeyType
PublicKeyType = iam.ServiceAccountPublicKeyType


async def test_only_create_returns_the_private_key(clients: Clients) -> None:
    await clients.create_account()
    created = await clients.iam.create_service_account_key(name=ACCOUNT)
    credentials = service_account.Credentials.from_service_account_info(json.loads(created.private_key_data))

    assert credentials.service_account_email == "checkout@shop.iam.gserviceaccount.com"
    assert created.name.startswith(f"{ACCOUNT}/keys/")
    found = await clients.iam.get_service_account_key(name=created.name)
    assert not found.private_key_data
    assert found.key_type is KeyType.USER_MANAGED


async def test_system_managed_key_is_listed_unless_filtered(clients: Clients) -> None:
    await clients.create_account()
    mine = await clients.iam.create_service_account_key(name=ACCOUNT)
    everything = await clients.iam.list_service_account_keys(name=ACCOUNT)
    ours = await clients.iam.list_service_account_keys(name=ACCOUNT, key_types=[KeyType.USER_MANAGED])

    assert {key.key_type for key in everything.keys} == {KeyType.USER_MANAGED, KeyType.SYSTEM_MANAGED}
    assert [key.name for key in ours.keys] == [mine.name]


async def test_a_key_is_disabled_enabled_and_deleted(clients: Clients) -> None:
    await clients.create_account()
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    await clients.iam.disable_service_account_key(iam.DisableServiceAccountKeyRequest(name=key.name))
    assert (await clients.iam.get_service_account_key(name=key.name)).disabled
    await clients.iam.enable_service_account_key(iam.EnableServiceAccountKeyRequest(name=key.name))
    assert not (await clients.iam.get_service_account_key(name=key.name)).disabled

    await clients.iam.delete_service_account_key(name=key.name)
    with pytest.raises(exceptions.NotFound):
        await clients.iam.get_service_account_key(name=key.name)


@pytest.mark.parametrize(
    "constraint", ["iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation"]
)
async def test_organization_policy_forbids_key_creation(clients: Clients, constraint: str) -> None:
    await clients.create_account()
    await forbid(clients, constraint, enforce=True)
    with pytest.raises(exceptions.FailedPrecondition):
        await clients.iam.create_service_account_key(name=ACCOUNT)


async def test_keys_survive_an_undelete(clients: Clients, clock: Clock) -> None:
    account = await clients.create_account()
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    await clients.iam.delete_service_account(name=ACCOUNT)
    await clients.iam.undelete_service_account(
        iam.UndeleteServiceAccountRequest(name=f"projects/shop/serviceAccounts/{account.unique_id}")
    )
    assert (await clients.iam.get_service_account_key(name=key.name)).name == key.name


def certificate(key: Any = None, *, hours: int = 24) -> bytes:
    """Return a self-signed certificate to upload, valid from the start of the clock."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "unused")])
    begins = datetime.fromtimestamp(Clock().now, UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(hours=hours))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


async def forbid(clients: Clients, constraint: str, **rule: Any) -> None:
    policy = orgpolicy.Policy(
        name=f"projects/shop/policies/{constraint}",
        spec=orgpolicy.PolicySpec(rules=[orgpolicy.PolicySpec.PolicyRule(rule)]),
    )
    await clients.org_policy.create_policy(parent="projects/shop", policy=policy)


async def upload(clients: Clients, public_key_data: bytes) -> iam.ServiceAccountKey:
    return await clients.iam.upload_service_account_key(
        iam.UploadServiceAccountKeyRequest(name=ACCOUNT, public_key_data=public_key_data)
    )


async def test_uploaded_key_has_the_data_of_its_certificate(clients: Clients) -> None:
    await clients.create_account()
    pem = certificate(hours=5)
    key = await upload(clients, pem)

    assert key.key_origin is iam.ServiceAccountKeyOrigin.USER_PROVIDED
    assert key.key_type is KeyType.USER_MANAGED
    assert not key.private_key_data
    assert key.valid_before_time - key.valid_after_time == timedelta(hours=5)
    shown = await clients.iam.get_service_account_key(
        iam.GetServiceAccountKeyRequest(name=key.name, public_key_type=PublicKeyType.TYPE_X509_PEM_FILE)
    )
    assert shown.public_key_data == pem


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", certificate(ec.generate_private_key(ec.SECP256R1()))],
    ids=["empty", "text", "EC"],
)
async def test_upload_without_an_rsa_certificate_is_refused(clients: Clients, data: bytes) -> None:
    await clients.create_account()
    with pytest.raises(exceptions.InvalidArgument):
        await upload(clients, data)


async def test_organization_policy_forbids_key_upload(clients: Clients) -> None:
    await clients.create_account()
    await forbid(clients, "iam.disableServiceAccountKeyUpload", enforce=True)
    with pytest.raises(exceptions.FailedPrecondition):
        await upload(clients, certificate())
    await clients.iam.create_service_account_key(name=ACCOUNT)


async def test_fact_an_organization_policy_lets_keys_expire(clients: Clients) -> None:
    await clients.create_account()
    await forbid(clients, "iam.serviceAccountKeyExpiryHours", values={"allowed_values": ["8h"]})
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    assert key.valid_before_time - key.valid_after_time == timedelta(hours=8)


async def test_fact_an_account_has_10_keys_at_most(clients: Clients) -> None:
    await clients.create_account()
    for _ in range(10):
        await upload(clients, certificate())
    with pytest.raises(exceptions.ResourceExhausted) as error:
        await clients.iam.create_service_account_key(name=ACCOUNT)
    assert (error.value.reason, retry_seconds(error.value)) == (None, 86_401)


async def test_public_key_has_the_requested_format(clients: Clients) -> None:
    await clients.create_account()
    key = await clients.iam.create_service_account_key(name=ACCOUNT)
    begins = {}
    for kind in PublicKeyType:
        request = iam.GetServiceAccountKeyRequest(name=key.name, public_key_type=kind)
        shown = await clients.iam.get_service_account_key(request)
        begins[kind.name] = shown.public_key_data.split(b"\n")[0]
    assert begins == {
        "TYPE_NONE": b"",
        "TYPE_X509_PEM_FILE": b"-----BEGIN CERTIFICATE-----",
        "TYPE_RAW_PUBLIC_KEY": b"-----BEGIN PUBLIC KEY-----",
    }


async def test_system_managed_key_cannot_be_deleted(clients: Clients) -> None:
    await clients.create_account()
    [held] = (
        await clients.iam.list_service_account_keys(name=ACCOUNT, key_types=[KeyType.SYSTEM_MANAGED])
    ).keys
    assert (await clients.iam.get_service_account_key(name=held.name)).name == held.name
    with pytest.raises(exceptions.NotFound):
        await clients.iam.delete_service_account_key(name=held.name)
