"""The work of the leader: run a manager, and restart it with a full cache when its watches are lost."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.kube.client import KubeClient
from cloudrun_identity.kube.crds import CrdsUnsuitable, check_compatible, served_kinds
from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.finalizers import remove_finalizers_of_deleted_kinds
from cloudrun_identity.kube.lease import Lease
from cloudrun_identity.kube.objects import resource_of
from cloudrun_identity.kube.resources import NAMESPACES, Listing, Object, Resource
from cloudrun_identity.policy.removal_limit import RecentRemovals

from .background import background, unless
from .factory import build_manager
from .kubernetes import CountedClient
from .liveness import Liveness
from .manager import Manager
from .memory import collect_all, exempt_from_collection
from .metrics import Metrics
from .stream_monitor import StreamMonitor
from .watched_versions import WatchedVersions
from .watches import Progress, Watch, Watches, WatchLost

_log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between checks for changed CRDs."""

RESTART_DELAY = 1.0
"""Seconds before a manager restarts: the API server stops the watches of a CRD before it deletes the CRD."""


class MonitoredSink:
    """Passes watch events to the manager and to the monitor of the watches."""

    def __init__(self, manager: Manager, monitor: StreamMonitor) -> None:
        self._manager = manager
        self._monitor = monitor

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of an object, or its deletion."""
        self._monitor.delivered(resource_of(raw), raw, deleted=deleted)
        self._manager.observe(raw, deleted=deleted)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of a namespace, or its deletion."""
        self._monitor.delivered(NAMESPACES, raw, deleted=deleted)
        self._manager.observe_namespace(raw, deleted=deleted)

    def observe_progress(self, resource: Resource, progress: Progress) -> None:
        """Take in the progress of the watch of a resource."""
        self._monitor.progressed(resource, progress)

    def observe_lease(self, raw: Object) -> None:
        """Take in a new version of the Lease."""
        self._monitor.lease_delivered(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """The parts that the manager of a leader needs."""

    client: KubeClient
    """The connection to the API server."""
    counted: CountedClient
    """The same connection with metrics."""
    google: GoogleClients
    """Connections to Google Cloud."""
    metrics: Metrics
    """The metrics of the process."""
    lease: Lease
    """The Lease that this process holds."""
    storage_versions: "StorageVersions"
    """The receiver of the versions that requests show."""
    namespace: str
    """The namespace of the PolicyLedgers and the Lease."""
    lease_duration: float
    """Seconds after which a Lease that is not renewed expires."""
    concurrency: int
    """The number of objects that are reconciled at the same time."""
    change_feed: str
    """The subscription with the audit logs of projects that name none; empty without one."""
    watch: Watch
    """Starts the watches."""
    liveness: Liveness
    """Receives the running manager."""
    stop: asyncio.Event
    """Ends the work."""
    removals: RecentRemovals = field(default_factory=RecentRemovals)
    """The removals of unmanaged members by all managers of the process."""

    async def run(self) -> None:
        """Work until `stop` is set.

        An outage of the API server is tolerated for as long as the Lease is held. While it starts again, it
        also answers 403 and 404.

        Raises:
            KubeError: The first start failed, and there was no outage.
            CrdsUnsuitable: A required CRD is missing.
            WatchesStuck: The watches did not end.

        """
        tolerates_all = False
        while not self.stop.is_set():
            self.liveness.starting()
            try:
                tolerates_all |= await self._run_manager()
            except KubeError as error:
                tolerates_all |= error.is_unavailable
                if not tolerates_all:
                    raise
                _log.warning("the manager cannot start, retrying: %s", error)
            if not self.stop.is_set():
                collect_all()
                await unless(self.stop, asyncio.sleep(RESTART_DELAY))

    async def _run_manager(self) -> bool:
        """Run a manager until `stop` is set or it must restart. Return whether it started."""
        manager = build_manager(
            self.counted,
            self.google,
            self.metrics,
            namespace=self.namespace,
            kinds=await check_crds(self.counted),
            concurrency=self.concurrency,
            change_feed=self.change_feed,
            removals=self.removals,
            may_act=lambda: self.lease.is_holder,
            on_older_version=self.storage_versions.older_version_read,
        )
        versions: dict[Resource, WatchedVersions] = {}
        return await self._fill(manager, versions) and await self._work(manager, versions)

    async def _fill(self, manager: Manager, versions: dict[Resource, WatchedVersions]) -> bool:
        """Return whether the cache and `versions` were filled; drain the manager if they were not."""

        def listed(resource: Resource, listing: Listing[Object]) -> None:
            versions[resource] = WatchedVersions(listing)

        filled = False
        try:
            with exempt_from_collection():
                filled = await unless(self.stop, manager.fill(listed))
        except KubeError as error:
            if not error.is_not_found:
                raise
            _log.warning("a CRD was deleted while its objects were listed; restarting")
        finally:
            if not filled:
                await manager.drain()
        return filled

    async def _work(self, manager: Manager, versions: Mapping[Resource, WatchedVersions]) -> bool:
        """Reconcile until `stop` is set or the watches must restart."""
        monitor = StreamMonitor(self.client, versions, lease_duration=self.lease_duration)
        self.storage_versions.receiver = monitor
        since = {each: watched.since for each, watched in versions.items()}
        watches = self.watch(MonitoredSink(manager, monitor), self.client, since, self.namespace)
        manager.start()
        self.liveness.started(manager, monitor)
        _log.info("became the leader; reconciling %s", ", ".join(manager.kinds))
        try:
            await self._until_lost(manager, monitor, watches)
        except WatchLost as error:
            self.metrics.watches_lost()
            _log.warning("%s; restarting the watches", error, exc_info=error.__cause__)
        finally:
            self.storage_versions.receiver = None
            self.liveness.starting()
            watches.request_end()
            await manager.drain()
            if self.stop.is_set():
                await self.lease.release()  # first: the standby does not depend on how the watches end
            await watches.end()
        return True

    async def _until_lost(self, manager: Manager, monitor: StreamMonitor, watches: Watches) -> None:
        """Wait until `stop` is set or the kinds have changed. Raises WatchLost."""
        ended = asyncio.Event()
        async with (
            background(self.stop.wait(), ended),
            background(_kinds_change(self.client, manager.kinds), ended) as raise_if_failed,
            background(monitor.run(), ended) as raise_if_silent,
            background(watches.wait(), ended) as raise_if_ended,
        ):
            await ended.wait()
            if not self.stop.is_set():
                raise_if_ended()
                raise_if_silent()
                raise_if_failed()


class StorageVersions:
    """Passes the versions that requests show to the monitor of the present watches."""

    def __init__(self) -> None:
        self.receiver: StreamMonitor | None = None

    def lease_written(self, raw: Object) -> None:
        """Note a write of the Lease."""
        if self.receiver is not None:
            self.receiver.lease_written(raw)

    def older_version_read(self, error: OlderVersion) -> None:
        """Note that a read shows an older version of an object than before."""
        if self.receiver is not None:
            self.receiver.older_version_read(error)


async def _kinds_change(client: KubeClient, kinds: list[str]) -> None:
    """Return when the installed kinds have changed. No watch reports this."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        with contextlib.suppress(KubeError):  # an outage does not change the kinds
            if await served_kinds(client) != kinds:
                _log.warning("the installed CRDs have changed; restarting the watches")
                return


async def check_crds(client: CountedClient) -> list[str]:
    """Return the served kinds.

    Raises:
        CrdsUnsuitable: A required CRD is missing, or a CRD is older than this operator. If an uninstallation
            waited for finalizers, they were removed.
        KubeError: The CRDs cannot be read.

    """
    try:
        return await check_compatible(client)
    except CrdsUnsuitable:
        with contextlib.suppress(KubeError):  # the next start tries again; CrdsUnsuitable matters more
            if count := await remove_finalizers_of_deleted_kinds(client):
                _log.warning("removed the finalizers of %d objects whose CRDs are being deleted", count)
        raise
