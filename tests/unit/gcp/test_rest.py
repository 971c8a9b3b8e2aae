"""Requests over REST through a proxy: its password is in no message."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, unused_port
from google.api_core import exceptions as api_exceptions

from cloudrun_identity.gcp.rest import RestConnections, RestRequest

API = "monitoring.googleapis.com"
PASSWORD = "s3cret"
TIMEOUT = timedelta(seconds=30)


class Proxy:
    """A proxy that refuses every client."""

    def __init__(self) -> None:
        self.credentials: list[str | None] = []

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.credentials.append(request.headers.get("Proxy-Authorization"))
        return web.Response(status=407)


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
async def port(proxy: Proxy) -> AsyncIterator[int]:
    async with RawTestServer(proxy) as server:
        assert server.port
        yield server.port


@pytest.fixture(autouse=True)
def no_exceptions_from_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


async def failure() -> str:
    """Return the error of a request to Google, as it is reported."""
    connections = RestConnections(None, dict)
    request = RestRequest("/v3/x", "projects/shop-1234")
    try:
        with pytest.raises(api_exceptions.ServiceUnavailable) as raised:
            await connections.get(API)(request, timeout=TIMEOUT.total_seconds(), metadata=(), retry=None)
    finally:
        await connections.close()
    return str(raised.value)


async def test_refusal_by_a_proxy_has_no_password(
    proxy: Proxy, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{port}")
    message = await failure()
    assert "HTTP status 407" in message
    assert PASSWORD not in message
    assert "user" not in message


async def test_proxy_receives_the_decoded_credentials(
    proxy: Proxy, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss%C3%A9@127.0.0.1:{port}")
    await failure()
    assert proxy.credentials == [f"Basic {base64.b64encode('user:p@ssé'.encode()).decode()}"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}@127.0.0.1:{PASSWORD}",
        f"http://user:{PASSWORD}@[127.0.0.1",
        f"socks5://user:{PASSWORD}@127.0.0.1:1080",
        f"user:{PASSWORD}@127.0.0.1:3128",
    ],
)
async def test_unusable_proxy_url_is_reported_without_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    message = await failure()
    assert "HTTPS_PROXY" in message
    assert PASSWORD not in message


async def test_unreachable_proxy_is_reported_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{unused_port()}")
    message = await failure()
    assert "127.0.0.1" in message
    assert PASSWORD not in message
