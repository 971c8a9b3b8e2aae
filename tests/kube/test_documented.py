"""Every manifest in the documentation is taken by the API server as it stands."""

import pytest

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.namespaces import ensure_namespace
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import Object
from tests.documented import EXAMPLES, GROUP, Example


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_a_documented_manifest_is_taken_as_it_stands(client: KubeClient, example: Example) -> None:
    created: list[Object] = []
    try:
        for obj in example.objects:
            if obj["apiVersion"].startswith(GROUP):
                if namespace := obj["metadata"].get("namespace"):
                    await ensure_namespace(client, namespace)
                created.append(await client.create(resource_of(obj), obj))
    finally:
        for obj in created:
            metadata = obj["metadata"]
            await client.delete(resource_of(obj), metadata["name"], metadata.get("namespace", ""))

    kinds = [obj["kind"] for obj in example.objects if obj["apiVersion"].startswith(GROUP)]
    assert [obj["kind"] for obj in created] == kinds
