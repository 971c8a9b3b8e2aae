"""Contract with kopf: its private names, its undocumented behavior and the allowed versions."""

import asyncio
import importlib
import json
import logging
import re
import signal
import tomllib
from collections import defaultdict
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
from cloudrun_identity.kube.resources import LEASES, NAMESPACES, Object, Resource
from cloudrun_identity.manager import kopf_adapter
from cloudrun_identity.manager.watches import Progress, WatchLost
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
    """A server of the Lease, of namespaces and of IAMBindings."""

    def __init__(self) -> None:
        self.refuses: dict[str, int] = {}
        """The status with which requests of a resource are refused."""
        self.bindings: list[Object] = []
        self.events: list[list[Object]] = []
        """The events of each watch of IAMBindings. The last one stays open."""
        self.since: list[str] = []
        """The version after which each watch of IAMBindings began."""
        self.refused = asyncio.Event()
        self.watched = defaultdict[str, asyncio.Event](asyncio.Event)
        """Set when a watch of a resource has begun."""
        app = web.Application()
        for path, answer in {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": [discovered("Namespace", namespaced=False)]},
            "/apis": {"groups": [LEASES_GROUP]},
            "/apis/coordination.k8s.io/v1": {"resources": [discovered("Lease", namespaced=True)]},
        }.items():
            app.router.add_get(path, self._fixed(answer))
        app.router.add_get(BINDINGS.path(), self._iambindings)
        app.router.add_get(NAMESPACES.path(), self._without_objects("namespaces"))
        app.router.add_get(LEASES.path("operator"), self._without_objects("leases"))
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
        self.since.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self.events.pop(0):
            await response.write(json.dumps(event).encode() + b"\n")
        if not self.events:
            await asyncio.sleep(60)
        return response

    def _without_objects(self, plural: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if status := self.refuses.get(plural):
                self.refused.set()
                refusal = {"kind": "Status", "code": status, "message": f"no more {plural}"}
                return web.json_response(refusal, status=status)
            if "watch" not in request.query:
                return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
            self.watched[plural].set()
            await asyncio.sleep(60)
            return web.Response()

        return handle


SHORT = 0.1
"""A timeout in seconds."""

LAST = "1000"
"""The resourceVersion of the last event."""

BINDINGS = resource("IAMBinding")

EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}


def binding(version: int | str) -> Object:
    metadata = {"name": "web", "namespace": "payments", "uid": "u-1", "resourceVersion": str(version)}
    return {"kind": "IAMBinding", "metadata": metadata}


def modified(*versions: int) -> list[Object]:
    return [{"type": "MODIFIED", "object": binding(version)} for version in versions]


def bookmark(version: int) -> Object:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


def discovered(kind: str, *, namespaced: bool) -> Object:
    singular = kind.lower()
    return {
        "name": f"{singular}s",
        "singularName": singular,
        "kind": kind,
        "namespaced": namespaced,
        "verbs": ["list", "watch"],
    }


_LEASES_V1 = {"groupVersion": "coordination.k8s.io/v1", "version": "v1"}
LEASES_GROUP = {"name": "coordination.k8s.io", "versions": [_LEASES_V1], "preferredVersion": _LEASES_V1}


class Sink:
    """Records the events of objects and the progress of their watch, and ignores the others."""

    def __init__(self) -> None:
        self.observed: list[tuple[str, bool] | Progress] = []
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

    def observe_progress(self, resource: Resource, progress: Progress) -> None:
        assert resource == BINDINGS
        self.observed.append(progress)

    def observe_lease(self, raw: Object) -> None:
        pass


@pytest.fixture
async def api_server() -> AsyncIterator[ApiServer]:
    api_server = ApiServer()
    await api_server.server.start_server()
    yield api_server
    await api_server.server.close()


async def test_refused_watch_of_the_lease_raises_api_error(
    api_server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api_server.refuses["leases"] = 404
    registry = KopfWatches(Sink(), api_server, {}, "operator").registry()
    async with time_budget():
        with pytest.raises(Exception) as raised:  # noqa: PT011 - the next assertion says which one
            await kopf_adapter.run(registry, kopf_adapter.watch_settings(), [], "operator")
        await kopf_adapter.end_tasks()
    assert isinstance(raised.value, kopf_adapter.APIError), changed("how a refused watch ends its task")
    loggers = {record.name for record in caplog.records if record.levelno >= logging.ERROR}
    assert loggers <= set(kopf_adapter.LOG_LEVELS), changed("which logger reports a refused watch")
    assert ORCHESTRATION in loggers, changed("which logger reports a refused watch")


@pytest.mark.parametrize("plural", ["leases", "namespaces"])
async def test_forbidden_watch_is_retried(api_server: ApiServer, plural: str) -> None:
    api_server.refuses[plural] = 403
    watches = watch(Sink(), api_server, {NAMESPACES: "1"}, "operator")
    async with time_budget():
        await api_server.refused.wait()
        api_server.refuses.clear()
        await api_server.watched[plural].wait()
        await watches.end()


@pytest.mark.parametrize("plural", ["leases", "namespaces"])
async def test_watch_of_a_deleted_kind_is_a_lost_watch(api_server: ApiServer, plural: str) -> None:
    api_server.refuses[plural] = 404
    watches = watch(Sink(), api_server, {NAMESPACES: "1"}, "operator")
    async with time_budget():
        with pytest.raises(WatchLost, match=f"the API server refused a watch: no more {plural}"):
            await watches.wait()
        await watches.end()


@pytest.mark.parametrize("fails", [False, True], ids=["", "while the sink fails"])
async def test_changes_are_delivered_in_order(api_server: ApiServer, fails: bool) -> None:
    api_server.bindings = [binding(1)]
    api_server.events = [
        [bookmark(1), *modified(*range(2, 100)), {"type": "DELETED", "object": binding(LAST)}]
    ]
    sink = Sink()
    sink.fails = fails
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    watches = watch(sink, api_server, {BINDINGS: "1"}, "operator")
    async with time_budget():
        await sink.has_last.wait()
        await watches.end()
    expected = [Progress.CURRENT, *((str(version), False) for version in range(2, 100)), (LAST, True)]
    assert sink.observed == expected, changed("watch_objs()")


async def test_watch_continues_after_the_last_version(api_server: ApiServer) -> None:
    api_server.events = [modified(8), [bookmark(9)], [], modified(int(LAST))]
    sink = Sink()
    watches = watch(sink, api_server, {BINDINGS: "7"}, "operator")
    async with time_budget():
        await sink.has_last.wait()
        await watches.end()
    resumed = Progress.RESUMED
    expected = [("8", False), resumed, Progress.CURRENT, resumed, (LAST, False)]
    assert sink.observed == expected, changed("watch_objs()")
    assert api_server.since == ["7", "8", "9", "9"]


async def test_request_that_ends_in_time_is_no_loss(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kopf_adapter, "_LOST_BEFORE", 0.0)
    api_server.events = [modified(8), modified(int(LAST))]
    sink = Sink()
    watches = watch(sink, api_server, {BINDINGS: "7"}, "operator")
    async with time_budget():
        await sink.has_last.wait()
        await watches.end()
    assert sink.observed == [("8", False), (LAST, False)]


async def test_objects_are_listed_again_when_the_version_has_expired(api_server: ApiServer) -> None:
    api_server.bindings = [binding(5)]
    api_server.events = [[*modified(4), EXPIRED], [EXPIRED], modified(int(LAST))]
    sink = Sink()
    watches = watch(sink, api_server, {BINDINGS: "3"}, "operator")
    async with time_budget():
        await sink.has_last.wait()
        await watches.end()
    listed = [("5", False), Progress.LISTED]
    assert sink.observed == [("4", False), *listed, *listed, (LAST, False)], changed("infinite_watch()")
    assert api_server.since == ["3", "1", "1"]


async def test_other_errors_of_a_watch_are_a_lost_watch(api_server: ApiServer) -> None:
    refusal = {"kind": "Status", "code": 500, "message": "etcd is gone"}
    api_server.events = [[{"type": "ERROR", "object": refusal}], []]
    watches = watch(Sink(), api_server, {BINDINGS: "3"}, "operator")
    async with time_budget():
        with pytest.raises(WatchLost, match="etcd is gone"):
            await watches.wait()
        await watches.end()


@pytest.mark.parametrize("timeout", ["inactivity_timeout", "client_timeout"])
async def test_watch_outlives_a_pause_longer_than_its_timeouts(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    def short_by_default() -> kopf.OperatorSettings:
        settings = defaults()
        settings.watching.inactivity_timeout = SHORT
        return settings

    observed, has_last = [], asyncio.Event()

    async def deliver(raw: Object, deleted: bool) -> None:
        version = raw["metadata"]["resourceVersion"]
        observed.append(version)
        if version == "2":
            await asyncio.sleep(5 * SHORT)
        elif version == "4":
            has_last.set()

    defaults = kopf.OperatorSettings
    monkeypatch.setattr(kopf, "OperatorSettings", short_by_default)
    settings = kopf_adapter.watch_settings()
    if timeout == "client_timeout":
        settings.watching.client_timeout = SHORT
    api_server.events = [modified(2, 3, 4)] * 3
    registry = KopfWatches(Sink(), api_server, {}, "operator").registry()
    stream = kopf_adapter.Stream(BINDINGS, "1", deliver, lambda _: None)
    running = asyncio.create_task(kopf_adapter.run(registry, settings, [stream], "operator"))
    async with time_budget():
        await asyncio.wait(
            [running, asyncio.create_task(has_last.wait())], return_when=asyncio.FIRST_COMPLETED
        )
        assert not running.done(), changed("how a timeout ends a watch")
        running.cancel()
        await kopf_adapter.end_tasks()
    assert observed[:3] == ["2", "3", "4"]


def test_watch_requests_end_after_whole_seconds() -> None:
    watching = kopf_adapter.watch_settings().watching
    assert isinstance(watching.server_timeout, int), "the API server refuses timeoutSeconds=300.0"


async def test_watches_leave_signals_and_tasks_of_the_process_alone(api_server: ApiServer) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(asyncio.sleep(60))
    watches = watch(Sink(), api_server, {NAMESPACES: "1"}, "operator")
    async with time_budget():
        await api_server.watched["namespaces"].wait()
        await api_server.watched["leases"].wait()
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
