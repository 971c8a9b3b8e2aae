"""Secrets with service account keys on API servers."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from kubernetes import config
from kubernetes.client import CoreV1Api

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.secrets import KeySecret, KeySecrets, ObjectReference, SecretMetadata, digest_of
from cloudrun_identity.manager import logs
from tests.servers.kube_apis import KubeApi

NAME = "checkout-key"
HUSH = "aHVzaC1odXNo"
FILE = json.dumps({"private_key_id": "k1", "private_key": HUSH}).encode()


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """Log output at DEBUG level."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(logging.DEBUG, stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest_asyncio.fixture
async def owner(client: KubeClient, namespace: str) -> ObjectReference:
    """Create an IdentityKey. A Secret with an owner that does not exist may be garbage collected."""
    metadata = {"name": "checkout", "namespace": namespace}
    references = {name: {"name": "checkout"} for name in ("projectRef", "identityRef")}
    obj = {
        "apiVersion": API_VERSION,
        "kind": "IdentityKey",
        "metadata": metadata,
        "spec": {**references, "secretName": NAME},
    }
    made = await client.create(resource("IdentityKey"), obj)
    return ObjectReference(API_VERSION, "IdentityKey", namespace, "checkout", made["metadata"]["uid"])


@pytest.fixture
def another_user(server: KubeApi) -> Iterator[Any]:
    """Return the official client, whose field manager is another one."""
    with config.new_client_from_config(str(server.kubeconfig)) as api:
        yield CoreV1Api(api)


async def test_key_is_stored_and_never_logged(
    client: KubeClient, owner: ObjectReference, everything_logged: io.StringIO
) -> None:
    secrets = KeySecrets(client)

    made = await secrets.write_key(owner, NAME, None, FILE, SecretMetadata({"app": "checkout"}))
    assert (made.key_id, made.digest, made.is_owned) == ("k1", digest_of(FILE), True)
    after = await secrets.write_key(owner, NAME, made, FILE.replace(b"k1", b"k2"), SecretMetadata())
    assert (after.key_id, after.labels) == ("k2", {})

    logging.getLogger("cloudrun_identity.test").debug("%r", after)
    assert "k2" in everything_logged.getvalue()
    assert HUSH not in everything_logged.getvalue()


async def test_rejected_write_does_not_reveal_the_key(
    client: KubeClient, owner: ObjectReference, everything_logged: io.StringIO
) -> None:
    secrets = KeySecrets(client)
    made = await secrets.write_key(owner, NAME, None, FILE, SecretMetadata())
    await secrets.write_key(owner, NAME, made, FILE, SecretMetadata({"app": "checkout"}))

    with pytest.raises(KubeError) as refused:
        await secrets.write_key(owner, NAME, made, FILE, SecretMetadata())

    assert refused.value.is_conflict
    logging.getLogger("cloudrun_identity.test").error("refused", exc_info=refused.value)
    assert f"{owner.namespace}/{NAME}" in everything_logged.getvalue()
    assert HUSH not in everything_logged.getvalue()


@pytest.mark.parametrize("of", ["labels", "annotations"])
async def test_metadata_removed_from_its_declaration_is_removed(
    client: KubeClient, another_user: Any, owner: ObjectReference, of: str
) -> None:
    secrets = KeySecrets(client)
    declared = SecretMetadata(**{of: {"app": "checkout", "tier": "back"}})
    secret = await secrets.write_key(owner, NAME, None, FILE, declared)
    another_user.patch_namespaced_secret(NAME, owner.namespace, {"metadata": {of: {"theirs": "1"}}})
    secret = await read(secrets, owner)

    declared = SecretMetadata(**{of: {"app": "checkout"}})
    secret = await secrets.write_metadata(owner, secret, declared)

    assert getattr(secret, of) == {"app": "checkout", "theirs": "1"}
    assert declared.changes_of(secret) == ()
    assert (secret.key_id, secret.is_owned) == ("k1", True)


async def test_label_that_another_user_set_since_is_left(
    client: KubeClient, another_user: Any, owner: ObjectReference
) -> None:
    secrets = KeySecrets(client)
    await secrets.write_key(owner, NAME, None, FILE, SecretMetadata({"app": "checkout"}))
    another_user.patch_namespaced_secret(NAME, owner.namespace, {"metadata": {"labels": {"app": "shop"}}})

    secret = await secrets.write_metadata(owner, await read(secrets, owner), SecretMetadata())

    assert secret.labels == {"app": "shop"}


async def read(secrets: KeySecrets, owner: ObjectReference) -> KeySecret:
    """Return the Secret, which must exist."""
    secret = await secrets.get(owner, NAME)
    assert secret is not None
    return secret
