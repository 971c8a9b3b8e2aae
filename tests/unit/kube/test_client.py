"""The Kubernetes client against an HTTP server with canned answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from cloudrun_identity.kube import client as client_module
from cloudrun_identity.kube.client import PAGE_SIZE, KubeClient, connect
from cloudrun_identity.kube.connection import CONNECTIONS
from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.resources import EVENTS, NAMESPACES, Listing, PatchType, as_sent
from tests.time_budget import HUNG_AFTER, time_budget

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Server:
    """HTTP server with answers set by the test. It records the requests with their bodies."""

    def __init__(self, tmp_path: Path) -> None:
        self.requests: list[tuple[web.Request, Any]] = []
        self.answers: list[Answer] = []
        self.default_answer: Answer = ok({"gitVersion": "v1.36.0"})
        self.kubeconfig = tmp_path / "kubeconfig"
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.http = TestServer(app)

    async def start(self) -> None:
        await self.http.start_server()
        write_kubeconfig(self.kubeconfig, str(self.http.make_url("")), {"token": "secret"})

    async def _handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append((request, json.loads(text) if text else None))
        answer = self.answers.pop(0) if self.answers else self.default_answer
        return await answer(request)


def ok(body: Any, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return answer


def refusal(code: int, reason: str, message: str) -> Answer:
    return ok({"kind": "Status", "code": code, "reason": reason, "message": message}, code)


def write_kubeconfig(path: Path, url: str, user: dict[str, Any]) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await server.start()
    yield server
    await server.http.close()


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    client = await connect(str(server.kubeconfig))
    server.requests.clear()
    yield client
    await client.close()


@pytest.fixture
def no_retry_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RETRY_INTERVAL", 0.0)


async def test_requests_beyond_the_limit_wait_for_a_connection(server: Server, client: KubeClient) -> None:
    waiting, proceed, ports = asyncio.Semaphore(0), asyncio.Event(), set[object]()

    async def answer(request: web.Request) -> web.Response:
        ports.add(request.transport and request.transport.get_extra_info("peername"))
        waiting.release()
        await proceed.wait()
        return web.json_response({})

    server.default_answer = answer
    async with time_budget(), asyncio.TaskGroup() as requests:
        for _ in range(2 * CONNECTIONS):
            requests.create_task(client.get(NAMESPACES, "payments"))
        for _ in range(CONNECTIONS):
            await waiting.acquire()
        assert waiting.locked()
        proceed.set()
    assert len(server.requests) == 2 * CONNECTIONS
    assert len(ports) <= CONNECTIONS


async def test_requests_carry_token_and_user_agent(server: Server, client: KubeClient) -> None:
    await client.get(NAMESPACES, "payments")
    ((request, _),) = server.requests
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["User-Agent"].startswith("cloudrun-identity/")


async def test_proxy_of_the_kubeconfig_is_used(server: Server) -> None:
    write_kubeconfig(server.kubeconfig, "http://api.example.com", {"token": "secret"})
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = str(server.http.make_url(""))
    server.kubeconfig.write_text(yaml.safe_dump(config))
    client = await connect(str(server.kubeconfig))
    await client.close()
    ((request, _),) = server.requests
    assert request.host == "api.example.com"


async def test_writes_use_the_namespace_of_the_metadata(server: Server, client: KubeClient) -> None:
    event = {"metadata": {"name": "e", "namespace": "payments"}}
    await client.create(EVENTS, event)
    await client.replace(EVENTS, event)
    assert [(request.method, request.path, body) for request, body in server.requests] == [
        ("POST", "/api/v1/namespaces/payments/events", event),
        ("PUT", "/api/v1/namespaces/payments/events/e", event),
    ]


@pytest.mark.parametrize(
    ("patch_type", "patch", "query"),
    [
        (PatchType.MERGE, {"status": {}}, ""),
        (PatchType.JSON, [{"op": "remove", "path": "/x"}], ""),
        (PatchType.APPLY, {"kind": "Namespace"}, "fieldManager=cloudrun-identity&force=true"),
    ],
)
async def test_patch_content_type_matches_its_format(
    server: Server, client: KubeClient, patch_type: PatchType, patch: Any, query: str
) -> None:
    await client.patch(NAMESPACES, "payments", "", patch, patch_type, subresource="status")
    ((request, body),) = server.requests
    assert (request.method, request.path, request.query_string) == (
        "PATCH",
        "/api/v1/namespaces/payments/status",
        query,
    )
    assert request.content_type == patch_type.value
    assert body == patch


async def test_delete_carries_preconditions(server: Server, client: KubeClient) -> None:
    await client.delete(EVENTS, "e", "payments", uid="u", resource_version="7")
    await client.delete(EVENTS, "e", "payments")
    options = {"kind": "DeleteOptions", "apiVersion": "v1"}
    assert [body for _, body in server.requests] == [
        {**options, "preconditions": {"uid": "u", "resourceVersion": "7"}},
        options,
    ]


async def test_list_is_read_page_by_page(server: Server, client: KubeClient) -> None:
    server.answers = [
        ok({"metadata": {"continue": "more", "resourceVersion": "7"}, "items": [{"n": 1}]}),
        ok({"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}),
    ]
    assert await client.list(NAMESPACES, label_selector="a=b") == [{"n": 1}, {"n": 2}]
    assert [dict(request.query) for request, _ in server.requests] == [
        {"labelSelector": "a=b", "limit": str(PAGE_SIZE)},
        {"labelSelector": "a=b", "limit": str(PAGE_SIZE), "continue": "more"},
    ]


async def test_list_with_expired_continue_token_is_read_in_one_request(
    server: Server, client: KubeClient
) -> None:
    server.answers = [
        ok({"metadata": {"continue": "more", "resourceVersion": "7"}, "items": [{"n": 1}]}),
        refusal(410, "Expired", "The provided continue parameter is too old"),
        ok({"metadata": {"resourceVersion": "8"}, "items": [{"n": 1}, {"n": 2}]}),
    ]
    assert await client.list_all(NAMESPACES) == Listing([{"n": 1}, {"n": 2}], "8")
    assert dict(server.requests[-1][0].query) == {}


async def test_list_of_all_objects_has_its_version(server: Server, client: KubeClient) -> None:
    server.answers = [
        ok({"metadata": {"continue": "more", "resourceVersion": "7"}, "items": [{"n": 1}]}),
        ok({"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}),
    ]
    assert await client.list_all(NAMESPACES, form=lambda obj: obj["n"]) == Listing([1, 2], "7")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (404, "is_not_found"),
        (409, "is_conflict"),
        (410, "is_gone"),
        (422, "is_invalid"),
        (403, "is_forbidden"),
        (503, "is_unavailable"),
        (429, "is_unavailable"),
    ],
)
async def test_error_is_classified_by_status(
    server: Server, client: KubeClient, status: int, name: str
) -> None:
    server.answers = [refusal(status, "SomeReason", "what is wrong")]
    with pytest.raises(KubeError) as raised:
        await client.get(NAMESPACES, "payments")
    error = raised.value
    assert (error.status, error.reason, error.message) == (status, "SomeReason", "what is wrong")
    names = ("is_not_found", "is_conflict", "is_gone", "is_invalid", "is_forbidden", "is_unavailable")
    assert [each for each in names if getattr(error, each)] == [name]


async def test_error_body_that_is_not_a_status_is_truncated(server: Server, client: KubeClient) -> None:
    async def proxy(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>" + "x" * 1000)

    server.answers = [proxy]
    with pytest.raises(KubeError, match=r"^Bad Gateway \(502\): <html>x{194}$"):
        await client.get(NAMESPACES, "payments")


async def test_hanging_server_is_a_timeout(
    server: Server, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    server.answers = [hang]
    monkeypatch.setattr(client_module, "TIMEOUT", 0.05)
    with pytest.raises(
        KubeError, match=r"Timeout: http://127\.0\.0\.1:\d+ did not answer within 0\.05s"
    ) as raised:
        await client.get(NAMESPACES, "payments")
    assert raised.value.is_unavailable
    released.set()


async def test_wait_for_a_connection_is_not_a_timeout(
    server: Server, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_hang, released = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        if len(server.requests) == CONNECTIONS:
            all_hang.set()
        await released.wait()
        return web.Response()

    server.answers = [hang] * CONNECTIONS
    monkeypatch.setattr(client_module, "TIMEOUT", HUNG_AFTER)
    hanging = [asyncio.create_task(client.get(NAMESPACES, f"n{number}")) for number in range(CONNECTIONS)]
    async with time_budget():
        await all_hang.wait()
    monkeypatch.setattr(client_module, "TIMEOUT", 0.05)
    waiting = asyncio.create_task(client.get(NAMESPACES, "waiting"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    monkeypatch.setattr(client_module, "TIMEOUT", HUNG_AFTER)
    released.set()
    await waiting
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_stopped_server_is_unreachable(server: Server, client: KubeClient) -> None:
    await server.http.close()
    with pytest.raises(KubeError, match=r"^Unreachable: http://127\.0\.0\.1") as raised:
        await client.get(NAMESPACES, "payments")
    assert raised.value.is_unavailable


async def test_rejected_token_is_reloaded_once_for_all_requests(server: Server, client: KubeClient) -> None:
    async def only_new(request: web.Request) -> web.Response:
        fresh = request.headers["Authorization"] == "Bearer new"
        return await (ok({}) if fresh else refusal(401, "Unauthorized", "expired"))(request)

    write_kubeconfig(server.kubeconfig, client.server, {"token": "new"})
    server.default_answer = only_new
    await asyncio.gather(*(client.get(NAMESPACES, "payments") for _ in range(3)))
    assert (await client.access()).authorization == "Bearer new"


async def test_token_rejected_twice_is_an_error(server: Server, client: KubeClient) -> None:
    server.default_answer = refusal(401, "Unauthorized", "who are you")
    with pytest.raises(KubeError, match="who are you"):
        await client.get(NAMESPACES, "payments")
    assert len(server.requests) == 2


async def test_failed_reload_of_credentials_is_reported(server: Server, client: KubeClient) -> None:
    server.default_answer = refusal(401, "Unauthorized", "who are you")
    server.kubeconfig.unlink()
    with pytest.raises(KubeError, match="kubeconfig") as raised:
        await client.get(NAMESPACES, "payments")
    assert raised.value.status == 401


async def test_unreachable_cluster_error_is_one_line_after_three_attempts(
    tmp_path: Path, no_retry_delay: None
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, f"http://127.0.0.1:{unused_port()}", {"token": "secret"})
    with pytest.raises(
        ClusterUnreachable, match=r"^no Kubernetes API server at http://127\.0\.0\.1.*3 attempts"
    ) as raised:
        await connect(str(kubeconfig))
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_connect_waits_for_a_starting_server(server: Server, no_retry_delay: None) -> None:
    server.answers = [refusal(503, "ServiceUnavailable", "starting")] * 2
    client = await connect(str(server.kubeconfig))
    await client.close()
    assert len(server.requests) == 3


async def test_rejected_credentials_fail_without_retry(server: Server) -> None:
    server.default_answer = refusal(401, "Unauthorized", "who are you")
    with pytest.raises(ClusterUnreachable, match="rejects the credentials"):
        await connect(str(server.kubeconfig))


async def test_server_with_forbidden_version_endpoint_is_reachable(server: Server) -> None:
    server.default_answer = refusal(403, "Forbidden", "no")
    client = await connect(str(server.kubeconfig))
    await client.close()
    assert len(server.requests) == 1


async def test_credentials_that_hang_do_not_hold_a_request_forever(
    server: Server, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: str | None) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(client_module, "ENDS_WITHIN", 0.2)
    monkeypatch.setattr(client_module.connection, "load", hang)
    server.default_answer = ok({"kind": "Status", "code": 401}, status=401)
    with pytest.raises(KubeError, match=r"no credentials and no answer within 0\.2s"):
        await client.get(NAMESPACES, "payments")


async def test_metadata_is_listed_page_by_page_and_an_empty_page_is_null(
    server: Server, client: KubeClient
) -> None:
    page = {"metadata": {"continue": "next", "resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}
    server.answers = [ok(page), ok({"metadata": {"resourceVersion": "7"}, "items": None})]
    assert await client.list_metadata(NAMESPACES, as_sent) == [{"metadata": {"name": "a"}}]
    assert "as=PartialObjectMetadataList" in server.requests[-1][0].headers["Accept"]
