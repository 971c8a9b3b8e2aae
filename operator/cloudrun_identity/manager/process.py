"""The life of the process: connect, become the leader, run the manager, and shut down in order."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import CredentialsError
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.crds import SERVED, CrdsUnsuitable, check_compatible, installed
from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.finalizers import remove_finalizers_of_deleted_kinds
from cloudrun_identity.kube.lease import Lease, LeaseLost
from cloudrun_identity.kube.objects import ensure_namespace

from .factory import build_manager
from .health import CannotListen, HealthServer
from .kubernetes import CountedClient
from .manager import Manager
from .metrics import Metrics

_log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between checks for changed CRDs, and for deleted namespaces that no watch reported."""

RESTART_DELAY = 1.0
"""Seconds before a manager restarts: the API server stops the watches of a CRD before it deletes the CRD."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `cloudrun-identity run`."""

    kubeconfig: str | None
    """The kubeconfig file, or None for the default locations and the pod's own access."""
    google_endpoint: str | None
    """The emulator to use, or None for Google Cloud."""
    google_token_file: Path | None
    """The file with the bearer token for `google_endpoint`."""
    namespace: str
    """The namespace of the PolicyLedgers and the Lease."""
    lease_duration: float
    """Seconds after which a standby replica takes over from a leader that no longer renews the Lease."""
    http_port: int
    """The port of probes and metrics; 0 for any free port."""
    concurrency: int
    """The number of objects that are reconciled at the same time."""


FAILURES = (ClusterUnreachable, CrdsUnsuitable, CannotListen, CredentialsError, LeaseLost, KubeError)
"""Errors that end the process. Each message is one line."""


class WatchLost(Exception):  # noqa: N818 - it names what happened
    """The API server no longer serves a kind. The message is one line."""


class Watch(Protocol):
    """Runs the watches: `handlers.watch`, which uses kopf."""

    async def __call__(
        self, manager: Manager, client: KubeClient, kinds: list[str], stop: asyncio.Event, /
    ) -> None:
        """Watch until `stop` is set or a signal arrives, then drain the manager. Raises WatchLost."""
        ...


async def run(settings: Settings, watch: Watch) -> None:
    """Run the operator until SIGTERM or SIGINT. Raises one of FAILURES."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        client = await connect(settings.kubeconfig)
        stack.push_async_callback(client.close)
        counted = CountedClient(client, metrics)
        await _check_crds(counted)
        await ensure_namespace(counted, settings.namespace)
        lease = Lease(counted, settings.namespace, identity=_identity(), duration=settings.lease_duration)
        google = GoogleClients(
            settings.google_endpoint,
            metrics,
            holds_lease=lambda: lease.is_holder,
            tokens=TokenFile(settings.google_token_file) if settings.google_token_file else None,
        )
        stack.push_async_callback(google.close)
        await google.check_credentials()
        liveness = _Liveness()
        health = HealthServer(
            settings.http_port, metrics, ready=lambda: True, alive=lambda: liveness.is_alive
        )
        await health.start()
        stack.push_async_callback(health.stop)
        _log.info(
            "connected to cluster %s, http port %d; waiting for the Lease",
            client.server,
            health.port,
        )
        if not await _unless(stop, lease.acquire()):
            return
        stack.push_async_callback(_release, lease)
        metrics.leading(True)
        async with _background(lease.hold(), stop) as raise_if_lost:
            while not stop.is_set():
                manager = build_manager(
                    counted,
                    google,
                    metrics,
                    namespace=settings.namespace,
                    kinds=await _installed_kinds(counted),
                    concurrency=settings.concurrency,
                    may_act=lambda: lease.is_holder,
                )
                liveness.manager = manager
                await _run_manager(manager, counted, client, watch, stop)
        raise_if_lost()


@dataclass(slots=True)
class _Liveness:
    """The answer to liveness probes. A standby replica, which has no manager, is alive."""

    manager: Manager | None = None

    @property
    def is_alive(self) -> bool:
        return self.manager is None or self.manager.is_alive


async def _run_manager(
    manager: Manager, counted: CountedClient, client: KubeClient, watch: Watch, stop: asyncio.Event
) -> None:
    """Run the manager until `stop` is set, or until the installed kinds change."""
    kinds = manager.kinds
    try:
        await manager.fill()
    except KubeError as error:
        if not error.is_not_found:
            raise
        await _drain_for_restart(manager, "a CRD was deleted while its objects were listed")
        return
    manager.start()
    _log.info("became the leader; reconciling %s", ", ".join(kinds))
    ended = asyncio.Event()
    async with _background(_kinds_change(counted, manager), ended), _background(stop.wait(), ended):
        try:
            await watch(manager, client, kinds, ended)
        except WatchLost as error:
            await _drain_for_restart(manager, str(error))
            return
        if not ended.is_set():
            stop.set()  # a signal arrived: kopf handles SIGTERM and SIGINT while it watches


async def _drain_for_restart(manager: Manager, reason: str) -> None:
    _log.warning("%s; restarting the watches", reason)
    await manager.drain()
    await asyncio.sleep(RESTART_DELAY)


async def _kinds_change(client: CountedClient, manager: Manager) -> None:
    """Check periodically for changes that no watch reports. Return when the installed kinds have changed."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        with contextlib.suppress(KubeError):  # an outage does not change the kinds
            await manager.check_namespaces()
            await manager.check_objects()
            if await _served_kinds(client) != manager.kinds:
                _log.warning("the installed CRDs have changed; restarting the watches")
                return


async def _installed_kinds(client: CountedClient) -> list[str]:
    """Return the kinds to serve. Raises CrdsUnsuitable if a required CRD is missing."""
    await _check_crds(client)
    return await _served_kinds(client)


async def _check_crds(client: CountedClient) -> None:
    """Raise CrdsUnsuitable if no kind can be served, after unblocking an uninstallation."""
    try:
        await check_compatible(client)
    except CrdsUnsuitable:
        with contextlib.suppress(KubeError):  # the next start tries again; CrdsUnsuitable matters more
            if count := await remove_finalizers_of_deleted_kinds(client):
                _log.warning("removed the finalizers of %d objects whose CRDs are being deleted", count)
        raise


async def _served_kinds(client: CountedClient) -> list[str]:
    # A CRD that is being deleted is still served: it stays until the finalizers of its objects are removed.
    return [kind for kind, state in (await installed(client)).items() if state in SERVED]


@asynccontextmanager
async def _background(
    work: Coroutine[Any, Any, object], ended: asyncio.Event
) -> AsyncIterator[Callable[[], None]]:
    """Run `work` beside the block, and set `ended` when it ends. Yields a function that raises its error."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: ended.set())

    def raise_failure() -> None:
        if task.done() and not task.cancelled():
            task.result()

    try:
        yield raise_failure
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Return whether `work` ended before `stop` was set."""
    ended = asyncio.Event()
    async with _background(work, ended) as raise_failure, _background(stop.wait(), ended):
        await ended.wait()
        raise_failure()
        return not stop.is_set()


async def _release(lease: Lease) -> None:
    with contextlib.suppress(KubeError):  # the Lease then expires
        await lease.release()


def _identity() -> str:
    """Return a holder identity that is unique to this process, because a restarted pod keeps its name."""
    return f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{secrets.token_hex(4)}"
