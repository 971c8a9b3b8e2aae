"""Secrets with service account keys: what is written, and what is returned of them."""

import base64
import json

import pytest

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import SECRETS, Object
from cloudrun_identity.kube.secrets import KeySecrets, ObjectReference, SecretMetadata, digest_of

from .fake_api import FakeApi

OWNER = ObjectReference(API_VERSION, "IdentityKey", "payments", "checkout", "u-1")
FILE = json.dumps({"private_key_id": "k1", "private_key": "-----BEGIN hush-----"}).encode()
METADATA = SecretMetadata({"app": "checkout"}, {"reloader/match": "true"})
NAME = "checkout-key"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def secrets(api: FakeApi) -> KeySecrets:
    return KeySecrets(api)


def stored(api: FakeApi) -> Object:
    return api.objects["secrets", "payments", NAME]


def replace_secret(api: FakeApi, **fields: object) -> None:
    api.put(SECRETS, {"metadata": {"name": NAME, "namespace": "payments"}, **fields})


async def test_created_secret_is_owned_and_returned_without_the_key(
    api: FakeApi, secrets: KeySecrets
) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, METADATA)

    assert (made.key_id, made.digest, made.is_owned) == ("k1", digest_of(FILE), True)
    assert METADATA.changes_of(made) == ()
    assert "hush" not in repr(made)
    assert base64.b64decode(stored(api)["data"]["key.json"]) == FILE
    assert stored(api)["metadata"]["ownerReferences"] == [
        {
            "apiVersion": API_VERSION,
            "kind": "IdentityKey",
            "name": "checkout",
            "uid": "u-1",
            "controller": True,
        }
    ]
    assert await secrets.get(OWNER, NAME) == made


async def test_new_key_replaces_the_old_and_keeps_other_entries(api: FakeApi, secrets: KeySecrets) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, SecretMetadata())
    stored(api)["data"]["extra"] = "eA=="
    stored(api)["metadata"]["labels"] = {"other": "1"}

    after = await secrets.write_key(OWNER, NAME, made, FILE.replace(b"k1", b"k2"), METADATA)

    assert after.key_id == "k2"
    assert after.labels == {"other": "1", "app": "checkout"}
    assert stored(api)["data"]["extra"] == "eA=="


async def test_write_over_a_changed_secret_is_a_conflict(api: FakeApi, secrets: KeySecrets) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, METADATA)
    replace_secret(api)

    with pytest.raises(KubeError) as raised:
        await secrets.write_key(OWNER, NAME, made, FILE, METADATA)

    assert raised.value.is_conflict


@pytest.mark.parametrize(
    "data", [{}, {"key.json": "bm90IGpzb24="}, {"key.json": "WzFd"}, {"key.json": "=!"}, {"key.json": "e30="}]
)
async def test_secret_without_a_credentials_file_has_no_key_id(
    api: FakeApi, secrets: KeySecrets, data: dict[str, str]
) -> None:
    replace_secret(api, data=data)

    found = await secrets.get(OWNER, NAME)

    assert found is not None
    assert (found.key_id, found.is_owned) == ("", False)


async def test_recreated_owner_takes_over_its_secret(secrets: KeySecrets) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, METADATA)
    successor = ObjectReference(API_VERSION, "IdentityKey", "payments", "checkout", "u-2")

    assert (await secrets.write_metadata(successor, made, METADATA)).owners[0].uid == "u-2"


async def test_orphaned_secret_has_no_owner_and_keeps_its_key(api: FakeApi, secrets: KeySecrets) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, METADATA)

    await secrets.orphan(OWNER, made)

    assert not stored(api)["metadata"]["ownerReferences"]
    assert base64.b64decode(stored(api)["data"]["key.json"]) == FILE


async def test_secret_is_deleted_only_with_the_uid_that_was_read(api: FakeApi, secrets: KeySecrets) -> None:
    made = await secrets.write_key(OWNER, NAME, None, FILE, METADATA)
    replace_secret(api)
    with pytest.raises(KubeError):
        await secrets.delete(OWNER, made)

    api.drop(SECRETS, NAME, "payments")
    await secrets.delete(OWNER, made)
    assert await secrets.get(OWNER, NAME) is None


async def test_error_omits_the_text_of_the_server(api: FakeApi, secrets: KeySecrets) -> None:
    api.outage = KubeError(422, "Invalid", "data: -----BEGIN hush-----")

    with pytest.raises(KubeError) as raised:
        await secrets.write_key(OWNER, NAME, None, FILE, METADATA)

    assert (raised.value.is_invalid, "hush" in str(raised.value)) == (True, False)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
