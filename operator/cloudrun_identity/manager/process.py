"""The life of the process: connect, become the leader, run the manager, and shut down in order."""

import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.errors import CredentialsError
from cloudrun_identity.gcp.token_file import TokenFile
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.crds import CrdsUnsuitable
from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
from cloudrun_identity.kube.lease import Lease, LeaseLost
from cloudrun_identity.kube.objects import ensure_namespace

from .background import background, unless
from .health import CannotListen, HealthServer
from .kubernetes import CountedClient
from .leadership import Leadership, StorageVersions, check_crds
from .liveness import Liveness
from .metrics import Metrics
from .termination import Termination
from .watch_thread import WatchesStuck
from .watches import Watch

_log = logging.getLogger(__name__)

POD_UID = "POD_UID"
"""Environment variable with the UID of the pod; the chart sets it."""


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
    change_feed: str = ""
    """The subscription with the audit logs of projects that name none; empty without one."""


FAILURES = (
    ClusterUnreachable,
    CrdsUnsuitable,
    CannotListen,
    CredentialsError,
    LeaseLost,
    KubeError,
    WatchesStuck,
)
"""Errors that end the process. Each message is one line."""


Page = Callable[[KubeClient], web.Application]
"""Returns the web page that the process serves beside its probes."""


async def run(settings: Settings, watch: Watch, page: Page | None = None) -> None:
    """Run the operator until SIGTERM or SIGINT. Raises one of FAILURES."""
    termination = Termination()
    termination.install()
    try:
        await _run(settings, watch, page, termination)
    finally:
        termination.begin()


async def _run(settings: Settings, watch: Watch, page: Page | None, termination: Termination) -> None:
    stop = termination.requested
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        client = await connect(settings.kubeconfig)
        stack.push_async_callback(client.close)
        counted = CountedClient(client, metrics)
        await check_crds(counted)
        await ensure_namespace(counted, settings.namespace)
        versions = StorageVersions()
        # On a connection of its own, a renewal never waits for the answers to other requests.
        lease_client = await connect(settings.kubeconfig)
        stack.push_async_callback(lease_client.close)
        lease = Lease(
            CountedClient(lease_client, metrics),
            settings.namespace,
            identity=f"{_pod()}{secrets.token_hex(4)}",
            predecessors=_pod() if os.environ.get(POD_UID) else "",
            duration=settings.lease_duration,
            on_write=versions.lease_written,
        )
        google = GoogleClients(
            settings.google_endpoint,
            metrics,
            holds_lease=lambda: lease.is_holder,
            tokens=TokenFile(settings.google_token_file) if settings.google_token_file else None,
        )
        stack.push_async_callback(google.close)
        await google.check_credentials()
        liveness = Liveness()
        health = HealthServer(
            settings.http_port,
            metrics,
            ready=lambda: True,
            alive=lambda: not liveness.problem(),
            page=page(client) if page else None,
        )
        await health.start()
        stack.push_async_callback(health.stop)
        _log.info(
            "connected to cluster %s, http port %d; waiting for the Lease",
            client.server,
            health.port,
        )
        if not await unless(stop, lease.acquire()):
            return
        stack.push_async_callback(lease.release)
        metrics.leading(True)
        async with background(lease.hold(liveness.problem), stop) as raise_if_lost:
            await Leadership(
                client=client,
                counted=counted,
                google=google,
                metrics=metrics,
                lease=lease,
                storage_versions=versions,
                namespace=settings.namespace,
                lease_duration=settings.lease_duration,
                concurrency=settings.concurrency,
                change_feed=settings.change_feed,
                watch=watch,
                liveness=liveness,
                stop=stop,
            ).run()
        raise_if_lost()


def _pod() -> str:
    """Return the first part of the holder identity, which all processes of one pod share.

    The kubelet starts a container again only after its process has ended. So with the UID of the pod, a
    Lease of an earlier process of the same pod needs no time to expire.
    """
    name = os.environ.get("HOSTNAME") or socket.gethostname()
    uid = os.environ.get(POD_UID)
    return f"{name}_{uid}_" if uid else f"{name}_"
