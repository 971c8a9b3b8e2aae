"""The kopf handlers: every watch event goes to the manager, which caches the object and enqueues its key."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

import kopf

from cloudrun_identity.api import GROUP, KINDS, VERSION
from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.manager import kopf_adapter
from cloudrun_identity.manager.process import WatchLost


class EventSink(Protocol):
    """The receiver of watch events: `manager.manager.Manager`."""

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of an object, or its deletion."""
        ...

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of a namespace, or its deletion."""
        ...

    async def drain(self) -> None:
        """Drain in-flight work before shutdown."""
        ...


class Connector(Protocol):
    """Access to the API server: `kube.client.KubeClient`."""

    async def access(self) -> ClusterAccess:
        """Return the connection with a current token."""
        ...


async def watch(sink: EventSink, connector: Connector, kinds: Iterable[str], stop: asyncio.Event) -> None:
    """Watch the named kinds and namespaces until `stop` is set, then drain `sink`.

    While it watches, kopf handles SIGTERM and SIGINT. They end the watch as well, and leave `stop` unset.

    Raises:
        WatchLost: the API server refused a watch.

    """
    drained = asyncio.Event()
    registry = kopf.OperatorRegistry()
    register(registry, sink, connector, kinds, drained)
    forwarding = asyncio.create_task(_forward(stop, drained), name="stop of the watches")
    try:
        await kopf.operator(
            registry=registry,
            settings=kopf_adapter.watch_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=drained,
        )
    except kopf_adapter.APIError as error:
        raise WatchLost(f"the API server refused a watch: {error.message or error.status}") from None
    finally:
        forwarding.cancel()


def register(
    registry: kopf.OperatorRegistry,
    sink: EventSink,
    connector: Connector,
    kinds: Iterable[str],
    drained: asyncio.Event,
) -> None:
    """Register one event handler per kind, the login, and the drain, which sets `drained` at its end."""

    async def on_object(event: kopf.RawEvent, **_: Any) -> None:
        sink.observe(dict(event["object"]), deleted=event["type"] == "DELETED")

    async def on_namespace(event: kopf.RawEvent, **_: Any) -> None:
        sink.observe_namespace(dict(event["object"]), deleted=event["type"] == "DELETED")

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf_adapter.connection_info(await connector.access())

    async def drain(**_: Any) -> None:
        # kopf then cancels every task that was started after it, the manager's included.
        await sink.drain()
        # After a signal, kopf waits 5 s for its own check of the stop flag unless the flag is set.
        drained.set()

    kopf.on.login(registry=registry)(login)
    kopf.on.cleanup(registry=registry)(drain)
    kopf.on.event("", "v1", "namespaces", registry=registry)(on_namespace)
    for kind in kinds:
        kopf.on.event(GROUP, VERSION, KINDS[kind].plural, registry=registry, id=kind)(on_object)


async def _forward(stop: asyncio.Event, flag: asyncio.Event) -> None:
    await stop.wait()
    flag.set()
