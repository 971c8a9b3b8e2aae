"""What stands between us and Kubernetes, on the embedded API server and, where there is one, a real one."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from cloudrun_identity.api.crd import generate
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.crds import CrdState, installed
from cloudrun_identity.kube.namespaces import ensure_namespace
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from tests.servers.embedded_kubeapi import embedded_kubeapi
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

CRDS_WITHIN = 30.0
"""Seconds until the kinds are served; a fraction of one is usual."""


class Server(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def kubeconfig(self) -> Path: ...
    @property
    def token(self) -> str: ...


@pytest.fixture(scope="session", params=["embedded", "kube-apiserver"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run_dir = tmp_path_factory.mktemp("kube")
    with _start(request.param, run_dir) as running:
        asyncio.run(_install_crds(running))
        yield running


def _start(name: str, run_dir: Path) -> AbstractContextManager[Server]:
    if name == "embedded":
        return embedded_kubeapi(run_dir)
    binaries = assets()
    if binaries is None:
        pytest.skip(f"no real API server: {ASSETS_VARIABLE} is not set")
    return kube_apiserver(binaries, run_dir)


async def _install_crds(server: Server) -> None:
    client = await connect(str(server.kubeconfig))
    try:
        for definition in generate().values():
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        async with asyncio.timeout(CRDS_WITHIN):
            while set((await installed(client)).values()) != {CrdState.ESTABLISHED}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await client.close()


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    client = await connect(str(server.kubeconfig))
    yield client
    await client.close()


@pytest_asyncio.fixture
async def namespace(client: KubeClient) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    await ensure_namespace(client, name)
    return name
