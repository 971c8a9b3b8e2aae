"""The HTTP application of the page: headers, checks of host and peer, ETags, and reads of the cluster."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.ui import security, source
from cloudrun_identity.ui.server import application, assets
from cloudrun_identity.ui.source import Source
from tools.sample_cluster import SampleCluster
from tools.sample_objects import identity

Client = TestClient[web.Request, web.Application]

PATHS = ("/", "/app/main.js", "/css/page.css", "/api/page", "/api/identities/payments/checkout", "/nothing")


@pytest.fixture
def sample() -> SampleCluster:
    return SampleCluster.acme()


@pytest.fixture
async def client(sample: SampleCluster) -> AsyncIterator[Client]:
    app = application(Source(sample, sample.server, interval=0))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    reply = await client.get(path)
    assert {name: reply.headers.get(name) for name in security.HEADERS} == security.HEADERS


def test_policy_allows_no_inline_code_and_no_other_host() -> None:
    assert "unsafe" not in security.CONTENT_SECURITY_POLICY
    assert "http" not in security.CONTENT_SECURITY_POLICY
    assert security.CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "0.0.0.0"]
)
@pytest.mark.parametrize("path", ["/", "/api/page"])
async def test_other_host_names_are_refused(client: Client, host: str, path: str) -> None:
    reply = await client.get(path, headers={"Host": host})
    assert reply.status in (400, 421)
    assert "identities" not in await reply.text()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8090", "[::1]:8090", "LOCALHOST:1"])
async def test_names_of_this_machine_are_served(client: Client, host: str) -> None:
    assert (await client.get("/api/page", headers={"Host": host})).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_but_reads_is_served(client: Client, method: str, path: str) -> None:
    assert (await client.request(method, path)).status == 405


async def test_unchanged_state_is_not_sent_again(client: Client, sample: SampleCluster) -> None:
    etag = (await client.get("/api/page")).headers["ETag"]
    assert (await client.get("/api/page", headers={"If-None-Match": etag})).status == 304
    sample.put(identity("shop", "new", "acme-data"))
    assert (await client.get("/api/page", headers={"If-None-Match": etag})).status == 200


async def test_state_of_the_cluster_is_not_stored_by_browsers(client: Client) -> None:
    assert (await client.get("/api/page")).headers["Cache-Control"] == "no-store"


async def test_unknown_identity_is_not_found(client: Client) -> None:
    reply = await client.get("/api/identities/payments/nobody")
    assert reply.status == 404
    assert (await reply.json())["error"] == "CloudRunIdentity payments/nobody does not exist"


async def test_unreadable_cluster_is_reported(client: Client, sample: SampleCluster) -> None:
    sample.error = KubeError(500, "InternalError", "etcd is down")
    reply = await client.get("/api/page")
    assert reply.status == 502
    assert "etcd is down" in (await reply.json())["error"]


async def test_forbidden_kinds_are_left_out_with_a_notice(client: Client, sample: SampleCluster) -> None:
    sample.error = KubeError(403, "Forbidden", "ann may not list them")
    notices = (await (await client.get("/api/page")).json())["notices"]
    assert "CloudRunIdentity objects are left out: ann may not list them" in notices
    assert "Events are left out: ann may not list them" in notices


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/vendor/preact.LICENSE", "/app"])
async def test_only_files_of_the_page_are_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


@pytest.mark.parametrize(
    ("peer", "status"), [("127.0.0.1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403)]
)
async def test_operator_serves_connections_from_its_pod_only(peer: str, status: int) -> None:
    class Transport:
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return (peer, 4711) if name == "peername" else default

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    request = make_mocked_request("GET", "/ui/", transport=Transport())  # type: ignore[arg-type]
    assert (await security.local_peers_only(request, answer)).status == status


async def test_many_viewers_read_the_cluster_once(
    sample: SampleCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    async def count(*arguments: Any) -> Any:
        reads.append(arguments)
        return await original(*arguments)

    original = source.read_objects
    monkeypatch.setattr(source, "read_objects", count)
    async with TestClient(TestServer(application(Source(sample, "", interval=60)))) as client:
        for _ in range(5):
            assert (await client.get("/api/page")).status == 200
    assert len(reads) == 1


async def test_page_of_a_namespace_has_the_projects(sample: SampleCluster) -> None:
    app = application(Source(sample, "", namespace="web", interval=0))
    async with TestClient(TestServer(app)) as client:
        page = await (await client.get("/api/page")).json()
    assert [row["key"] for row in page["identities"]] == ["web/storefront"]
    assert page["namespace"] == "web"


def test_page_has_no_inline_script_style_or_foreign_url() -> None:
    for path, asset in assets().items():
        text = asset.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=\"|\son\w+=\"", text), path
        if not path.startswith("vendor/"):
            assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), path


def test_scripts_import_files_that_exist() -> None:
    for path, asset in assets().items():
        for name in re.findall(r'from\s*"([^"]+)"', asset.content.decode()):
            assert urljoin(path, name) in assets(), (path, name)
