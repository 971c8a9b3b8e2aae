"""What kopf watches for us: every event goes into the cache, and from there into the queue."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import kopf
from kopf._cogs.clients import errors  # kopf lets them escape, and exports no name for them

from cloudrun_identity.api import GROUP, KINDS, VERSION
from cloudrun_identity.kube.connection import ClusterAccess
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.manager.process import WatchLost


async def watch(
    watcher: "Watcher", connector: "Connector", kinds: Iterable[str], stop: asyncio.Event
) -> None:
    """Watch the named kinds and namespaces on behalf of `watcher` until `stop` is set, then drain it.

    While it watches, kopf takes SIGTERM and SIGINT for itself: they end it, too, and `stop` stays unset.
    """
    over = asyncio.Event()
    registry = kopf.OperatorRegistry()
    register(registry, watcher, connector, kinds, over)
    passing_on = asyncio.create_task(_pass_on(stop, over), name="stop of the watches")
    try:
        await kopf.operator(
            registry=registry, settings=settings(), clusterwide=True, standalone=True, stop_flag=over
        )
    except errors.APIError as error:
        raise WatchLost(f"a watch was refused: {error.message or error.status}") from None
    finally:
        passing_on.cancel()


async def _pass_on(stop: asyncio.Event, over: asyncio.Event) -> None:
    await stop.wait()
    over.set()


class Watcher(Protocol):
    """Who takes the events: `manager.operator.Operator`."""

    async def drain(self) -> None:
        """The end is near: bring to an end what is under way."""
        ...

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """An object of ours changed, or ended."""
        ...

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """A namespace changed, or ended."""
        ...


class Connector(Protocol):
    """Who knows the way to the API server: `kube.client.KubeClient`."""

    async def access(self) -> ClusterAccess:
        """The way, with a token that is current."""
        ...


def register(
    registry: kopf.OperatorRegistry,
    watcher: Watcher,
    connector: Connector,
    kinds: Iterable[str],
    over: asyncio.Event,
) -> None:
    """Tell kopf whom to call: `watcher` for every event, and to drain it before anything is cancelled.

    `over` is set once that is done.
    """

    async def on_object(event: kopf.RawEvent, **_: Any) -> None:
        watcher.observe(dict(event["object"]), deleted=event["type"] == "DELETED")

    async def on_namespace(event: kopf.RawEvent, **_: Any) -> None:
        watcher.observe_namespace(dict(event["object"]), deleted=event["type"] == "DELETED")

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(await connector.access())

    async def drain(**_: Any) -> None:
        # kopf cancels every task that was born after it, so ours are ended before it gets to that.
        await watcher.drain()
        # Ended by a signal, kopf would wait 5 s for its own look at the flag.
        over.set()

    kopf.on.login(registry=registry)(login)
    kopf.on.cleanup(registry=registry)(drain)
    kopf.on.event("", "v1", "namespaces", registry=registry)(on_namespace)
    for kind in kinds:
        kopf.on.event(GROUP, VERSION, KINDS[kind].plural, registry=registry, id=kind)(on_object)


def settings() -> kopf.OperatorSettings:
    """Kopf as a mere watcher: no events, no peering, no annotations, and it never gives up."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.watching.chunk_size = 500
    chosen.networking.error_backoffs = _Endless()
    chosen.persistence.finalizer = f"kopf.{GROUP}/unused"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    chosen.persistence.diffbase_storage = _NoDiffBase()
    return chosen


class _NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is compared with anything, so kopf need not copy every object of every event for that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _Endless:
    """Backoffs without end: an outage of the API server is waited out, however long it is."""

    def __iter__(self) -> Iterator[float]:
        seconds = 0.5
        while True:
            yield seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            seconds = min(seconds * 2, 30.0)


def _connection(access: ClusterAccess) -> kopf.ConnectionInfo:
    scheme, _, token = access.authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        ca_path=access.ca_file,
        insecure=not access.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=access.certificate_file,
        private_key_path=access.key_file,
    )
