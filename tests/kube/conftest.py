"""Fixtures that run each test on the embedded API server and, if installed, on a real kube-apiserver."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.objects import ensure_namespace
from tests.servers.kube_apis import KUBE_APIS, KubeApi, install_crds, started


@pytest.fixture(scope="package", params=KUBE_APIS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    with started(request.param, tmp_path_factory.mktemp("kube")) as running:
        install_crds(running)
        yield running


@pytest_asyncio.fixture
async def client(server: KubeApi) -> AsyncIterator[KubeClient]:
    client = await connect(str(server.kubeconfig))
    yield client
    await client.close()


@pytest_asyncio.fixture
async def namespace(client: KubeClient) -> str:
    """Create a namespace for this test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await ensure_namespace(client, name)
    return name
