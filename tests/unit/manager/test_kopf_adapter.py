"""Contract with kopf: its private names, its undocumented behavior and the allowed versions."""

import asyncio
import importlib
import json
import logging
import re
import signal
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cloudrun_identity.handlers import KopfWatches, watch
from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.manager import kopf_adapter
from cloudrun_identity.manager.watches import WatchLost
from tests.time_budget import time_budget

ROOT = Path(__file__).parents[3]
CHANGED = "kopf {version} changed {what}: adapt manager/kopf_adapter.py before you allow this version".format
ORCHESTRATION = "kopf._core.reactor.orchestration"


def changed(what: str) -> str:
    return CHANGED(version=version("kopf"), what=what)


def test_allowed_versions_are_the_tested_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (allowed,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "kopf")
    tested = SpecifierSet(kopf_adapter.TESTED_VERSIONS)
    assert allowed.specifier == tested, (
        f"pyproject.toml allows kopf {allowed.specifier}, manager/kopf_adapter.py was tested with {tested}: "
        "run this test with the new versions, then change both"
    )


def test_installed_version_is_a_tested_one() -> None:
    installed = version("kopf")
    assert installed in SpecifierSet(kopf_adapter.TESTED_VERSIONS), (
        f"kopf {installed} is installed, the adapter was tested with {kopf_adapter.TESTED_VERSIONS}"
    )


def test_pinned_constraint_is_a_tested_version() -> None:
    pinned = re.search(r"^kopf==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert pinned[1] in SpecifierSet(kopf_adapter.TESTED_VERSIONS)


def test_private_names_are_used_in_the_adapter_only() -> None:
    private = re.compile(r"kopf\._|from kopf import _")
    product = ROOT / "operator" / "cloudrun_identity"
    users = {path.name for path in product.rglob("*.py") if private.search(path.read_text())}
    assert users == {"kopf_adapter.py"}


def test_api_error_has_a_status_and_a_message() -> None:
    payload: Any = {"kind": "Status", "message": "forbidden"}
    error = kopf_adapter.APIError(payload, status=403, headers={})
    assert (error.status, error.message) == (403, "forbidden"), changed("APIError")
    assert kopf_adapter.APIError(None, status=404, headers={}).message is None, changed("APIError")


@pytest.mark.parametrize("name", [name for name in kopf_adapter.LOG_LEVELS if "._" in name])
def test_private_logger_exists(name: str) -> None:
    logger = getattr(importlib.import_module(name), "logger", None)
    assert isinstance(logger, logging.Logger), changed(f"the logger of {name}")
    assert logger.name == name, changed(f"the logger of {name}")


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """A server of namespaces only, whose answer to a list of them is set by the test."""

    def __init__(self) -> None:
        self.list_status = 200
        self.bindings: list[Object] = []
        self.events: list[Object] = []
        self.refused, self.watched = asyncio.Event(), asyncio.Event()
        app = web.Application()
        for path, answer in {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [NAMESPACES]},
            "/apis": {"groups": []},
        }.items():
            app.router.add_get(path, self._fixed(answer))
        app.router.add_get("/apis/cloudrun-identity.dev/v1alpha1/iambindings", self._iambindings)
        app.router.add_get("/api/v1/namespaces", self._namespaces)
        self.server = TestServer(app)

    async def access(self) -> ClusterAccess:
        server = f"http://{self.server.host}:{self.server.port}"
        return ClusterAccess(
            server, None, verify=True, authorization="", certificate_file=None, key_file=None
        )

    def _fixed(self, answer: object) -> Handler:
        async def handle(_: web.Request) -> web.StreamResponse:
            return web.json_response(answer)

        return handle

    async def _iambindings(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": self.bindings, "metadata": {"resourceVersion": "1"}})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self.events:
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(60)
        return response

    async def _namespaces(self, request: web.Request) -> web.StreamResponse:
        if self.list_status != 200:
            self.refused.set()
            refusal = {"kind": "Status", "code": self.list_status, "message": "no more namespaces"}
            return web.json_response(refusal, status=self.list_status)
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        self.watched.set()
        await asyncio.sleep(60)
        return web.Response()


SHORT = 0.1
"""A timeout in seconds."""

LAST = "1000"
"""The resourceVersion of the last event."""


def binding(version: int | str) -> Object:
    metadata = {"name": "web", "namespace": "payments", "uid": "u-1", "resourceVersion": str(version)}
    return {"kind": "IAMBinding", "metadata": metadata}


NAMESPACES = {
    "name": "namespaces",
    "singularName": "namespace",
    "kind": "Namespace",
    "namespaced": False,
    "verbs": ["list", "watch"],
}


class Sink:
    """Records the events of objects, and ignores the others."""

    def __init__(self) -> None:
        self.observed: list[tuple[str, bool]] = []
        self.fails = False
        self.has_last = asyncio.Event()

    def observe(self, raw: Object, *, deleted: bool) -> None:
        version = raw["metadata"]["resourceVersion"]
        self.observed.append((version, deleted))
        if version == LAST:
            self.has_last.set()
        if self.fails:
            raise RuntimeError("a bug in the sink")

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        pass

    def observe_lease(self, raw: Object) -> None:
        pass


@pytest.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    api_server = ApiServer()
    await api_server.server.start_server()
    yield api_server
    await api_server.server.close()


async def test_watch_of_a_deleted_kind_raises_api_error(
    api_server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api_server.list_status = 404
    registry = kopf.OperatorRegistry()
    KopfWatches(Sink(), api_server, [], "operator").register(registry)
    async with time_budget():
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the next assertion says which one
            await kopf_adapter.run(registry, kopf_adapter.watch_settings(), clusterwide=True)
        await kopf_adapter.end_tasks()
    assert isinstance(raised.value, kopf_adapter.APIError), changed("how a refused watch ends its task")
    loggers = {record.name for record in caplog.records if record.levelno >= logging.ERROR}
    assert loggers <= set(kopf_adapter.LOG_LEVELS), changed("which logger reports a refused watch")
    assert ORCHESTRATION in loggers, changed("which logger reports a refused watch")


async def test_forbidden_watch_is_retried(api_server: ApiServer) -> None:
    api_server.list_status = 403
    watches = watch(Sink(), api_server, [], "operator")
    async with time_budget():
        await api_server.refused.wait()
        api_server.list_status = 200
        await api_server.watched.wait()
        await watches.end()


async def test_watch_of_a_deleted_kind_is_a_lost_watch(api_server: ApiServer) -> None:
    api_server.list_status = 404
    watches = watch(Sink(), api_server, [], "operator")
    async with time_budget():
        with pytest.raises(WatchLost, match="the API server refused a watch: no more namespaces"):
            await watches.wait()
        await watches.end()


@pytest.mark.parametrize("fails", [False, True], ids=["", "while the sink fails"])
async def test_objects_are_delivered_in_order_without_bookmarks(api_server: ApiServer, fails: bool) -> None:
    changes = range(2, 100)
    api_server.bindings = [binding(1)]
    api_server.events = [
        {"type": "BOOKMARK", "object": {"kind": "IAMBinding", "metadata": {"resourceVersion": "1"}}},
        *({"type": "MODIFIED", "object": binding(version)} for version in changes),
        {"type": "DELETED", "object": binding(LAST)},
    ]
    sink = Sink()
    sink.fails = fails
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    watches = watch(sink, api_server, ["IAMBinding"], "operator")
    async with time_budget():
        await sink.has_last.wait()
        await watches.end()
    expected = [("1", False), *((str(version), False) for version in changes), (LAST, True)]
    assert sink.observed == expected, changed("infinite_watch()")


@pytest.mark.parametrize("timeout", ["inactivity_timeout", "client_timeout"])
async def test_watch_outlives_a_pause_longer_than_its_timeouts(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    def short_by_default() -> kopf.OperatorSettings:
        settings = defaults()
        settings.watching.inactivity_timeout = SHORT
        return settings

    async def deliver(raw: Object, deleted: bool) -> None:
        sink.observe(raw, deleted=deleted)
        if raw["metadata"]["resourceVersion"] == "2":
            await asyncio.sleep(5 * SHORT)

    defaults = kopf.OperatorSettings
    monkeypatch.setattr(kopf, "OperatorSettings", short_by_default)
    settings = kopf_adapter.watch_settings()
    if timeout == "client_timeout":
        settings.watching.client_timeout = SHORT
    api_server.events = [{"type": "MODIFIED", "object": binding(version)} for version in (2, 3, LAST)]
    sink = Sink()
    registry = kopf.OperatorRegistry()
    KopfWatches(sink, api_server, [], "operator").register(registry)
    stream = kopf_adapter.Stream(resource("IAMBinding"), deliver)
    running = asyncio.create_task(kopf_adapter.run(registry, settings, streams=[stream], clusterwide=True))
    async with time_budget():
        await asyncio.wait(
            [running, asyncio.create_task(sink.has_last.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        assert not running.done(), changed("how a timeout ends a watch")
        running.cancel()
        await kopf_adapter.end_tasks()
    assert [version for version, _ in sink.observed[:3]] == ["2", "3", LAST]


def test_watch_requests_end_after_whole_seconds() -> None:
    watching = kopf_adapter.watch_settings().watching
    assert isinstance(watching.server_timeout, int), "the API server refuses timeoutSeconds=300.0"


async def test_watches_leave_signals_and_tasks_of_the_process_alone(api_server: ApiServer) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(asyncio.sleep(60))
    watches = watch(Sink(), api_server, [], "operator")
    async with time_budget():
        await api_server.watched.wait()
        await watches.end()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not task.done()
    task.cancel()


async def test_schedulers_are_recognized_by_name() -> None:
    module = importlib.import_module("kopf._cogs.aiokits.aiotasks")
    before = asyncio.all_tasks()
    scheduler = module.Scheduler()
    own = asyncio.all_tasks() - before
    assert own, changed("the tasks of its Scheduler")
    assert all(map(kopf_adapter.is_scheduler, own)), changed("the names of its Scheduler's tasks")
    await scheduler.close()
