"""`kubectl apply` of an unchanged file changes nothing, client-side and server-side.

Argo CD and Flux compare objects in the same way. A default inside a list that is compared as a whole would be
a difference from the manifest.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.objects import ensure_namespace, resource_of
from cloudrun_identity.kube.resources import Object
from tests.documented import GROUP, ROOT
from tests.servers.kube_apis import KubeApi
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

DIRECTORIES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
SERVER_SIDE = "--server-side"
ARGO_CD, KUBECTL = "--field-manager=argocd-controller", "--field-manager=kubectl"


class Kubectl:
    """kubectl with the manifests of one example."""

    def __init__(self, server: KubeApi, directory: Path) -> None:
        self._server = server
        self._directory = directory

    def apply(self, *flags: str) -> set[str]:
        """Apply the manifests; return the last word of each line, such as `unchanged`."""
        return {line.split()[-1] for line in self._run("apply", *flags).splitlines()}

    def diff(self, *flags: str) -> str:
        """Return the differences between the manifests and the stored objects. They are an error."""
        return self._run("diff", *flags)

    def _run(self, verb: str, *flags: str) -> str:
        config = f"--kubeconfig={self._server.kubeconfig}"
        environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        done = subprocess.run(
            ["kubectl", config, verb, *flags, f"--filename={self._directory}"],
            capture_output=True,
            text=True,
            timeout=HUNG_AFTER,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=DIRECTORIES, ids=lambda path: path.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """Provide the custom resources of an example."""
    documents = (yaml.safe_load_all(path.read_text()) for path in sorted(request.param.glob("*.yaml")))
    return [obj for each in documents for obj in each if obj["apiVersion"].startswith(GROUP)]


@pytest_asyncio.fixture
async def kubectl(
    request: pytest.FixtureRequest, server: KubeApi, client: KubeClient, objects: list[Object]
) -> AsyncIterator[Kubectl]:
    """Provide kubectl for an example; delete the objects of the example at the end."""
    directory: Path = request.node.callspec.params["objects"]
    for namespace in {obj["metadata"].get("namespace") for obj in objects} - {None}:
        await ensure_namespace(client, namespace)
    yield Kubectl(server, directory)
    for obj in objects:
        metadata = obj["metadata"]
        await client.delete(resource_of(obj), metadata["name"], metadata.get("namespace", ""))


async def versions(client: KubeClient, objects: list[Object]) -> list[str]:
    """Return the resourceVersion of each object."""
    found = [
        await client.get(resource_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        for obj in objects
    ]
    return [obj["metadata"]["resourceVersion"] for obj in found]


async def test_second_apply_changes_nothing(kubectl: Kubectl) -> None:
    kubectl.apply()

    assert kubectl.apply() == {"unchanged"}
    assert kubectl.diff() == ""


async def test_repeated_server_side_apply_changes_nothing(
    client: KubeClient, kubectl: Kubectl, objects: list[Object]
) -> None:
    kubectl.apply(SERVER_SIDE)
    # The API server adds the default of the status to each object that it reads. The next write stores it.
    kubectl.apply(SERVER_SIDE)
    before = await versions(client, objects)
    kubectl.apply(SERVER_SIDE)

    assert await versions(client, objects) == before
    assert kubectl.diff(SERVER_SIDE) == ""


async def test_server_side_apply_after_client_side_apply_has_no_conflict(kubectl: Kubectl) -> None:
    kubectl.apply()

    for manager in (ARGO_CD, KUBECTL):
        assert kubectl.apply(SERVER_SIDE, manager) == {"serverside-applied"}
        assert kubectl.diff(SERVER_SIDE, manager) == ""
