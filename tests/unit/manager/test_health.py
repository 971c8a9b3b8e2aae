"""Probes and metrics over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from cloudrun_identity.manager.health import CannotListen, HealthServer
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.ui.server import application
from cloudrun_identity.ui.source import Source
from tools.sample_cluster import SampleCluster

LOOPBACK = "127.0.0.1"


@dataclass
class Process:
    """The state that the probes report."""

    ready: bool = True
    alive: bool = True


@pytest.fixture
def process() -> Process:
    return Process()


def server_of(process: Process, port: int = 0) -> HealthServer:
    return HealthServer(port, Metrics(), lambda: process.ready, lambda: process.alive, host=LOOPBACK)


@pytest_asyncio.fixture
async def server(process: Process) -> AsyncIterator[HealthServer]:
    server = server_of(process)
    await server.start()
    yield server
    await server.stop()


async def get(server: HealthServer, path: str) -> tuple[int, str, str]:
    url = f"http://{LOOPBACK}:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_port_0_selects_a_free_port(server: HealthServer) -> None:
    assert server.port != 0
    assert (await get(server, "/healthz"))[0] == 200


async def test_healthz_fails_if_the_process_is_not_alive(server: HealthServer, process: Process) -> None:
    process.alive = False
    assert (await get(server, "/healthz"))[0] == 503
    assert (await get(server, "/readyz"))[0] == 200


async def test_readyz_reports_readiness(server: HealthServer, process: Process) -> None:
    process.ready = False
    assert (await get(server, "/readyz"))[0] == 503
    assert (await get(server, "/healthz"))[0] == 200
    process.ready = True
    assert (await get(server, "/readyz"))[0] == 200


async def test_metrics_have_the_text_format(server: HealthServer) -> None:
    status, content_type, body = await get(server, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert "cloudrun_identity_is_leader 0.0" in body


async def test_port_in_use_is_an_error_of_one_line(server: HealthServer, process: Process) -> None:
    second = server_of(process, server.port)
    with pytest.raises(CannotListen) as refused:
        await second.start()
    message = str(refused.value)
    assert f"--http-port {server.port}" in message
    assert "another process uses it" in message
    assert "\n" not in message


async def test_stopped_server_frees_its_port(process: Process) -> None:
    first = server_of(process)
    await first.start()
    await first.stop()
    second = server_of(process, first.port)
    await second.start()
    assert (await get(second, "/healthz"))[0] == 200
    await second.stop()


async def test_page_is_served_below_its_path_beside_the_probes(process: Process) -> None:
    cluster = SampleCluster.acme()
    page = application(Source(cluster, cluster.server, interval=1), local_only=True)
    server = HealthServer(0, Metrics(), lambda: True, lambda: True, host=LOOPBACK, page=page)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://{LOOPBACK}:{server.port}") as session:
            reply = await session.get("/ui")
            assert reply.url.path == "/ui/"
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            assert (await (await session.get("/ui/api/page")).json())["identities"]
            assert (await session.get("/ui/", headers={"Host": "evil.example"})).status == 421
            assert (await session.get("/healthz", headers={"Host": "10.0.0.1:8080"})).status == 200
    finally:
        await server.stop()


async def test_without_a_page_its_path_does_not_exist(process: Process) -> None:
    server = server_of(process)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://{LOOPBACK}:{server.port}") as session:
            assert (await session.get("/ui/")).status == 404
    finally:
        await server.stop()
