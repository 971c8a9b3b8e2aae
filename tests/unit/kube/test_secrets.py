import base64
import json

import pytest

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import SECRETS, Object
from cloudrun_identity.kube.secrets import KeySecrets, SecretOwner, Template, digest_of

from .fake_api import FakeApi

OWNER = SecretOwner(API_VERSION, "IdentityKey", "payments", "checkout", "u-1")
FILE = json.dumps({"private_key_id": "k1", "private_key": "-----BEGIN hush-----"}).encode()
TEMPLATE = Template({"app": "checkout"}, {"reloader/match": "true"})
NAME = "checkout-key"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def secrets(api: FakeApi) -> KeySecrets:
    return KeySecrets(api)


def stored(api: FakeApi) -> Object:
    return api.objects["secrets", "payments", NAME]


def somebodys(api: FakeApi, **fields: object) -> None:
    api.put(SECRETS, {"metadata": {"name": NAME, "namespace": "payments"}, **fields})


async def test_a_secret_is_made_for_its_owner_and_told_without_its_content(
    api: FakeApi, secrets: KeySecrets
) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)

    assert (made.key_id, made.digest, made.is_owned) == ("k1", digest_of(FILE), True)
    assert TEMPLATE.is_on(made)
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


async def test_the_next_key_takes_the_place_of_the_last_and_leaves_the_rest(
    api: FakeApi, secrets: KeySecrets
) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, Template())
    stored(api)["data"]["extra"] = "eA=="
    stored(api)["metadata"]["labels"] = {"theirs": "1"}

    after = await secrets.publish(OWNER, NAME, made, FILE.replace(b"k1", b"k2"), TEMPLATE)

    assert after.key_id == "k2"
    assert after.labels == {"theirs": "1", "app": "checkout"}
    assert stored(api)["data"]["extra"] == "eA=="


async def test_a_secret_that_changed_since_it_was_read_is_not_written(
    api: FakeApi, secrets: KeySecrets
) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)
    somebodys(api)

    with pytest.raises(KubeError) as raised:
        await secrets.publish(OWNER, NAME, made, FILE, TEMPLATE)

    assert raised.value.is_conflict


@pytest.mark.parametrize(
    "data", [{}, {"key.json": "bm90IGpzb24="}, {"key.json": "WzFd"}, {"key.json": "=!"}, {"key.json": "e30="}]
)
async def test_what_is_no_credentials_file_has_no_key(
    api: FakeApi, secrets: KeySecrets, data: dict[str, str]
) -> None:
    somebodys(api, data=data)

    found = await secrets.get(OWNER, NAME)

    assert found is not None
    assert (found.key_id, found.is_owned) == ("", False)


async def test_the_successor_of_an_owner_has_its_secret(secrets: KeySecrets) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)
    successor = SecretOwner(API_VERSION, "IdentityKey", "payments", "checkout", "u-2")

    assert (await secrets.relabel(successor, made, TEMPLATE)).owners[0].uid == "u-2"


async def test_a_released_secret_is_nobodys_and_keeps_its_key(api: FakeApi, secrets: KeySecrets) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)

    await secrets.release(OWNER, made)

    assert not stored(api)["metadata"]["ownerReferences"]
    assert base64.b64decode(stored(api)["data"]["key.json"]) == FILE


async def test_a_secret_is_deleted_only_if_it_is_the_one_that_was_read(
    api: FakeApi, secrets: KeySecrets
) -> None:
    made = await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)
    somebodys(api)
    with pytest.raises(KubeError):
        await secrets.delete(OWNER, made)

    api.drop(SECRETS, NAME, "payments")
    await secrets.delete(OWNER, made)
    assert await secrets.get(OWNER, NAME) is None


async def test_a_refusal_does_not_repeat_what_the_server_says(api: FakeApi, secrets: KeySecrets) -> None:
    api.outage = KubeError(422, "Invalid", "data: -----BEGIN hush-----")

    with pytest.raises(KubeError) as raised:
        await secrets.publish(OWNER, NAME, None, FILE, TEMPLATE)

    assert (raised.value.is_invalid, "hush" in str(raised.value)) == (True, False)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
