"""The life of the process: reach the cluster, become the one that acts, watch, and leave in good order."""

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

from .health import CannotListen, HealthServer
from .kubernetes import CountedClient
from .metrics import Metrics
from .operator import Operator

_log = logging.getLogger(__name__)

CRD_CHECK = 60.0
"""Seconds between looks for kinds that were installed or removed, and namespaces that ended unseen."""


WATCH_AGAIN = 1.0
"""Seconds after which lost watches are begun anew: a CRD takes its watch along before it is gone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `cloudrun-identity run` is told.

    `lease_duration` in seconds; no endpoint means Google itself, which `google_token_file` is not for.
    `concurrency` is how many passes work at the same time.
    """

    kubeconfig: str | None
    google_endpoint: str | None
    google_token_file: Path | None
    namespace: str
    lease_duration: float
    http_port: int
    concurrency: int


FAILURES = (ClusterUnreachable, CrdsUnsuitable, CannotListen, CredentialsError, LeaseLost, KubeError)
"""Why the process cannot go on; each says so in one line."""


class WatchLost(Exception):  # noqa: N818 - it names what happened
    """A kind is not served any more, or not to us; the message is one line."""


class Watch(Protocol):
    """Watches on behalf of an operator until told to stop: `handlers.watch`, which is kopf."""

    async def __call__(
        self, operator: Operator, client: KubeClient, kinds: list[str], stop: asyncio.Event, /
    ) -> None:
        """Return once `stop` is set, or a signal came, and the operator is drained; or raise WatchLost."""
        ...


async def run(settings: Settings, watch: Watch) -> None:
    """Serve until SIGTERM or SIGINT; raises one of FAILURES."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        client = await connect(settings.kubeconfig)
        stack.push_async_callback(client.close)
        counted = CountedClient(client, metrics)
        await _check_kinds(counted)
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
        acting = _Acting()
        health = HealthServer(settings.http_port, metrics, ready=lambda: True, alive=lambda: acting.is_alive)
        await health.start()
        stack.push_async_callback(health.stop)
        _log.info("cluster %s, http port %d; waiting for the lease", client.server, health.port)
        if not await _unless(stop, lease.acquire()):
            return
        stack.push_async_callback(_released, lease)
        metrics.leading(True)
        async with _background(lease.hold(), stop) as lost:
            while not stop.is_set():
                operator = Operator(
                    counted,
                    google,
                    metrics,
                    settings.namespace,
                    await _served_kinds(counted),
                    lambda: lease.is_holder,
                    settings.concurrency,
                )
                acting.operator = operator
                await _serve(operator, counted, client, watch, stop)
        lost()


@dataclass(slots=True)
class _Acting:
    """Who acts now; a standby is alive, too."""

    operator: Operator | None = None

    @property
    def is_alive(self) -> bool:
        return self.operator is None or self.operator.is_alive


async def _serve(
    operator: Operator, counted: CountedClient, client: KubeClient, watch: Watch, stop: asyncio.Event
) -> None:
    """Act until told to stop, or until other kinds are installed than were at the start."""
    kinds = operator.kinds
    try:
        await operator.fill()
    except KubeError as error:
        if not error.is_not_found:
            raise
        await _start_over(operator, "a kind went while its objects were listed")
        return
    operator.start()
    _log.info("acting on %s", ", ".join(kinds))
    ended = asyncio.Event()
    async with _background(_kinds_change(counted, operator), ended), _background(stop.wait(), ended):
        try:
            await watch(operator, client, kinds, ended)
        except WatchLost as error:
            await _start_over(operator, str(error))
            return
        if not ended.is_set():
            stop.set()  # while kopf watches, SIGTERM and SIGINT are its own


async def _start_over(operator: Operator, why: str) -> None:
    _log.warning("%s; starting over", why)
    await operator.drain()
    await asyncio.sleep(WATCH_AGAIN)


async def _kinds_change(client: CountedClient, operator: Operator) -> None:
    """Look, now and then, for what no watch tells; return once other kinds are installed."""
    while True:
        await asyncio.sleep(CRD_CHECK)
        with contextlib.suppress(KubeError):  # an outage says nothing of them
            await operator.look_after_namespaces()
            if await _kinds(client) != operator.kinds:
                _log.warning("the installed CRDs have changed; starting over")
                return


async def _served_kinds(client: CountedClient) -> list[str]:
    """The kinds to serve; raises CrdsUnsuitable where those that are needed are not there."""
    await _check_kinds(client)
    return await _kinds(client)


async def _check_kinds(client: CountedClient) -> None:
    """Raise CrdsUnsuitable where nothing can be served; what is being uninstalled waits for nobody then."""
    try:
        await check_compatible(client)
    except CrdsUnsuitable:
        with contextlib.suppress(KubeError):  # the next start tries again, and why it ends is what matters
            if count := await remove_finalizers_of_deleted_kinds(client):
                _log.warning("let go of %d objects whose kinds are being deleted", count)
        raise


async def _kinds(client: CountedClient) -> list[str]:
    # A kind on its way out is served to its end: until its objects are let go, it stays for ever.
    return [kind for kind, state in (await installed(client)).items() if state in SERVED]


@asynccontextmanager
async def _background(
    work: Coroutine[Any, Any, object], ended: asyncio.Event
) -> AsyncIterator[Callable[[], None]]:
    """Do `work` beside the block, and set `ended` when it ends. What is yielded raises what it raised."""
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
    """Whether `work` came to its end before `stop` was set."""
    ended = asyncio.Event()
    async with _background(work, ended) as failed, _background(stop.wait(), ended):
        await ended.wait()
        failed()
        return not stop.is_set()


async def _released(lease: Lease) -> None:
    with contextlib.suppress(KubeError):  # it expires by itself
        await lease.release()


def _identity() -> str:
    """Unique to this process: a pod that restarts keeps its name."""
    return f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{secrets.token_hex(4)}"
