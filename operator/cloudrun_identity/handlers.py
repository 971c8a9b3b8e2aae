"""The watches of kopf: every event goes to the manager, which caches the object and enqueues its key.

kopf runs in a thread of its own (`manager.watch_thread` has the reasons). The events are delivered in the
event loop that called `watch`. The Lease has an event handler. Namespaces and objects, of which there may be
many thousand, come from kopf's streams without handlers (`manager.kopf_adapter.Stream` has the reasons).
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import kopf

from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.lease import NAME as LEASE
from cloudrun_identity.kube.resources import LEASES, NAMESPACES, Object, Resource
from cloudrun_identity.manager import kopf_adapter
from cloudrun_identity.manager.event_delivery import EventDelivery
from cloudrun_identity.manager.watch_thread import WatchThread
from cloudrun_identity.manager.watches import Connector, EventSink, Progress, Watches, WatchLost


def watch(
    sink: EventSink, connector: Connector, since: Mapping[Resource, str], lease_namespace: str
) -> Watches:
    """Start to watch each resource after its version, and the Lease in `lease_namespace`."""
    watches = KopfWatches(sink, connector, since, lease_namespace)
    watches.start()
    return watches


class KopfWatches:
    """Implement `manager.watches.Watches` with a kopf operator of one namespace, and streams beside it."""

    def __init__(
        self, sink: EventSink, connector: Connector, since: Mapping[Resource, str], lease_namespace: str
    ) -> None:
        self._sink = sink
        self._connector = connector
        self._since = since
        self._lease_namespace = lease_namespace
        self._loop = asyncio.get_running_loop()
        self._thread = WatchThread(self._run, kopf_adapter.end_tasks)
        self._delivery = EventDelivery()

    def start(self) -> None:
        """Start the thread of the watches."""
        self._thread.start()

    async def wait(self) -> None:
        """Wait until a watch is lost. Raises WatchLost."""
        try:
            await self._thread.wait()
        except kopf_adapter.APIError as error:
            raise WatchLost(f"the API server refused a watch: {error.message or error.status}") from None
        except Exception as error:  # kopf documents none; a restart is the remedy, and the log has the cause
            raise WatchLost(f"a watch failed: {type(error).__name__}: {error}") from error
        raise WatchLost("the watches ended")

    def request_end(self) -> None:
        """Deliver no more events, and end soon."""
        self._delivery.end()
        self._thread.request_end()

    async def end(self) -> None:
        """Deliver no more events, and wait for the end. Raises WatchesStuck if there is none in time."""
        self._delivery.end()
        await self._thread.end()

    async def _run(self) -> None:
        """Run kopf, in its thread. Raises the error of the first watch that fails."""
        settings = kopf_adapter.watch_settings()
        settings.watching.field_selectors[LEASES.group, LEASES.version, LEASES.plural] = _NAMES_LEASE
        streams = [self._stream(resource, version) for resource, version in self._since.items()]
        await kopf_adapter.run(self.registry(), settings, streams, self._lease_namespace)

    def registry(self) -> kopf.OperatorRegistry:
        """Return a registry with the login, and the event handler of the Lease."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._log_in)
        kopf.on.event(LEASES.group, LEASES.version, LEASES.plural, registry=registry)(self._on_lease)
        return registry

    def _stream(self, resource: Resource, since: str) -> kopf_adapter.Stream:
        observe = self._sink.observe_namespace if resource == NAMESPACES else self._sink.observe

        async def deliver(raw: Object, deleted: bool) -> None:
            raw["metadata"].pop("managedFields", None)  # half of the object, which may wait for its delivery
            self._delivery.put(partial(observe, raw, deleted=deleted))
            await self._delivery.room()

        def progress(progress: Progress) -> None:
            self._delivery.put(partial(self._sink.observe_progress, resource, progress))

        return kopf_adapter.Stream(resource, since, deliver, progress)

    async def _log_in(self, **_: Any) -> kopf.ConnectionInfo:
        return kopf_adapter.connection_info(await self._access())

    async def _access(self) -> ClusterAccess:
        """Return the connection, which belongs to the loop of the process."""
        access = asyncio.run_coroutine_threadsafe(self._connector.access(), self._loop)
        return await asyncio.wrap_future(access)

    async def _on_lease(self, event: kopf.RawEvent, **_: Any) -> None:
        """Deliver a renewal before all objects: the monitor of the watches expects it in a few seconds."""
        self._delivery.put_first(partial(self._sink.observe_lease, dict(event["object"])))


_NAMES_LEASE = f"metadata.name={LEASE}"
