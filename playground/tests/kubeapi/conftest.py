"""The API servers of the contract tests; the id of every test names its server."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from playground.tests.kubeapi.http import Api, connect
from playground.tests.kubeapi.widgets import DEFINITION, DEFINITIONS, Widgets
from tests.servers.kube_apis import KUBE_APIS, KubeApi, started

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="package", params=KUBE_APIS)
def kube_api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    with started(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture(scope="package")
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


async def _install_widgets(kubeconfig: Path) -> None:
    async with connect(kubeconfig) as api:
        created = await api.post(DEFINITIONS, yaml.safe_load(DEFINITION.read_text(encoding="utf-8")))
        assert created.code == 201, created.body
        await api.eventually("/apis/contract.test/v1/widgets", 200)
