"""Secrets with service account keys on API servers."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import pytest_asyncio

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.secrets import KeySecrets, ObjectReference, SecretMetadata, digest_of
from cloudrun_identity.manager import logs

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


async def test_key_is_stored_and_never_logged(
    client: KubeClient, owner: ObjectReference, everything_logged: io.StringIO
) -> None:
    secrets = KeySecrets(client)

    made = await secrets.write_key(owner, NAME, None, FILE, SecretMetadata({"app": "checkout"}))
    assert (made.key_id, made.digest, made.is_owned) == ("k1", digest_of(FILE), True)
    after = await secrets.write_key(owner, NAME, made, FILE.replace(b"k1", b"k2"), SecretMetadata())
    assert (after.key_id, after.labels) == ("k2", {"app": "checkout"})

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
