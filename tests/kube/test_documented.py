"""The API server accepts every manifest in the documentation."""

from typing import Any

import pytest

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.objects import ensure_namespace, resource_of
from cloudrun_identity.kube.resources import Object
from tests.documented import EXAMPLES, GROUP, Example


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_documented_manifest_is_accepted(client: KubeClient, example: Example) -> None:
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

    expected = [obj for obj in example.objects if obj["apiVersion"].startswith(GROUP)]
    assert [obj["kind"] for obj in created] == [obj["kind"] for obj in expected]
    for written, stored in zip(expected, created, strict=True):
        assert part_of(stored["spec"], written["spec"]) == written["spec"], "a field is unknown"


def part_of(stored: Any, written: Any) -> Any:
    """Return the written fields that were stored. An API server drops fields that it does not know."""
    match stored, written:
        case dict(), dict():
            return {field: part_of(stored[field], written[field]) for field in written if field in stored}
        case list(), list():
            return [part_of(*each) for each in zip(stored, written, strict=True)]
    return stored
