"""The API servers that the contract is checked on; the id of every test names its server."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from tests.contract.http import Api, connect
from tests.contract.widgets import DEFINITION, DEFINITIONS, Widgets
from tests.servers.embedded_kubeapi import embedded_kubeapi
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

EMBEDDED = "embedded"
REAL = "kube-apiserver"
_NUMBERS = itertools.count(1)


class KubeApi(Protocol):
    """An API server that stands ready."""

    @property
    def kubeconfig(self) -> Path: ...


@pytest.fixture(scope="session", params=[EMBEDDED, REAL])
def kube_api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    with _server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture(scope="session")
def kube_api_with_widgets(kube_api: KubeApi) -> KubeApi:
    asyncio.run(_install_widgets(kube_api.kubeconfig))
    return kube_api


@pytest.fixture
async def api(kube_api_with_widgets: KubeApi) -> AsyncIterator[Api]:
    async with connect(kube_api_with_widgets.kubeconfig) as api:
        yield api


@pytest.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    name = f"contract-{next(_NUMBERS)}"
    created = await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    assert created.code == 201
    yield name
    await api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def widgets(api: Api, namespace: str) -> Widgets:
    return Widgets(api, namespace)


def _server(name: str, run_dir: Path) -> AbstractContextManager[KubeApi]:
    if name == EMBEDDED:
        return embedded_kubeapi(run_dir)
    binaries = assets()
    if binaries is None:
        pytest.skip(f"{ASSETS_VARIABLE} names no directory with kube-apiserver and etcd")
    return kube_apiserver(binaries, run_dir)


async def _install_widgets(kubeconfig: Path) -> None:
    async with connect(kubeconfig) as api:
        created = await api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        assert created.code == 201, created.body
        await api.eventually("/apis/contract.test/v1/widgets", 200)
