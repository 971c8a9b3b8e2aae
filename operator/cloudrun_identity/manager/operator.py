"""One acting replica: the parts put together, filled, started and drained."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from cloudrun_identity.api import KINDS, ManagedProject, PolicyLedger
from cloudrun_identity.gcp.client_pool import credential_of
from cloudrun_identity.gcp.clients import GoogleClients
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.kube.event_recorder import EventRecorder
from cloudrun_identity.kube.resources import NAMESPACES, Object
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.invalid_objects import project_named_by

from .factory import Ports, compose
from .kubernetes import CountedClient, KubeWrites
from .metrics import Metrics
from .resync import Resync, interval_of
from .work_queue import KeyedQueue
from .workers import Slots, Workers

_log = logging.getLogger(__name__)

DRAIN = 3.0
"""Seconds that passes under way are given to end."""

FALLBACK_INTERVAL = 300.0
"""Seconds: how old a read may be for an object whose project is unknown."""


class Operator:
    """Watches bring objects in through `observe`; everything else follows from them.

    `fill` and `start` once the Lease is held, `drain` before it is released.
    """

    def __init__(
        self,
        client: CountedClient,
        google: GoogleClients,
        metrics: Metrics,
        namespace: str,
        kinds: Iterable[str],
        may_act: Callable[[], bool],
        concurrency: int,
    ) -> None:
        """`namespace` is the operator's, `kinds` the names of those that are installed.

        `may_act()` says whether the lease is still held; `concurrency` passes work at the same time.
        """
        self._may_act = may_act
        self._client = client
        self.kinds = [kind for kind in KINDS if kind in set(kinds)]
        self._queue: KeyedQueue[ObjectKey] = KeyedQueue()
        self._events = EventRecorder(client)
        self._tasks: list[asyncio.Task[None]] = []
        slots = Slots(concurrency)
        self._engine = compose(
            Ports(
                client=client,
                kube=KubeWrites(client),
                google=google,
                namespace=namespace,
                events=self._events,
                drift=metrics,
                syncs=metrics,
                slots=slots,
                wake=self._wake,
            )
        )
        self._cache, self._ledgers = self._engine.cache, self._engine.ledgers
        reconciler, syncers = self._engine.reconciler, self._engine.syncers
        self._workers = Workers(self._queue, reconciler, slots, metrics, self._interval_of)
        self._resync = Resync(self._cache, syncers, reconciler, self._queue.add)
        metrics.watch_queue(self._queue)
        metrics.watch_objects(self._cache.readiness)

    async def fill(self) -> None:
        """List everything once: nothing is decided on a cache that is half full. Raises KubeError."""
        await self._engine.fill(self._client, self.kinds)
        elsewhere = await self._ledgers.namespaces_elsewhere()
        if elsewhere:
            _log.warning(
                "there are PolicyLedgers in namespace %s, which this operator does not read: "
                "their grants are taken for somebody else's; is --operator-namespace right?",
                ", ".join(sorted(elsewhere)),
            )

    def start(self) -> None:
        """Begin to work on everything that is known."""
        self._events.start()
        for key in self._cache.known():
            self._queue.add(key, Priority.RESYNC)
            if key.kind == ManagedProject.__name__:
                self._resync.follow(key.name)
        self._tasks.append(asyncio.create_task(self._workers.run(), name="workers"))

    @property
    def is_alive(self) -> bool:
        """Whether everything that should run does."""
        return not any(task.done() for task in self._tasks)

    async def drain(self) -> None:
        """End: no new pass, a little time for those under way. What is left undone is found again.

        Without the lease there is no time: another replica acts already.
        """
        self._queue.shutdown()
        await self._resync.close()
        await self._workers.drain(DRAIN if self._may_act() else 0.0)
        await self._engine.syncers.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._engine.clients.close()
        await self._events.close()

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in what a watch says of an object of ours."""
        if raw["kind"] == PolicyLedger.__name__:
            lost = self._ledgers.observed(raw, deleted=deleted)
            self._wake(ObjectKey(*owner_key.split("/", 2)) for owner_key in lost)
            return
        change = self._cache.observe(raw, deleted=deleted)
        metadata = raw["metadata"]
        key = ObjectKey(raw["kind"], metadata.get("namespace", ""), metadata["name"])
        if change.changed:
            self._queue.add(key, Priority.EDIT)
        if (change.changed or deleted) and key.kind == ManagedProject.__name__:
            self._resync.follow(key.name)
            self._engine.clients.retain(map(credential_of, self._cache.objects(ManagedProject)))
        self._wake(change.woken)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in what a watch says of a namespace."""
        self._wake(self._cache.observe_namespace(raw, deleted=deleted))

    async def look_after_namespaces(self) -> None:
        """Notice those that ended while no watch could tell; raises KubeError."""
        known = dict(self._cache.namespaces())
        listed = {raw["metadata"]["name"] for raw in await self._client.list(NAMESPACES)}
        self._wake(self._cache.missing_namespaces(listed, known))

    def _wake(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            self._queue.add(key, Priority.EDIT)

    def _interval_of(self, key: ObjectKey) -> float:
        stored = self._cache.stored(key)
        if stored is None:
            return FALLBACK_INTERVAL
        name = key.name if key.kind == ManagedProject.__name__ else project_named_by(stored.raw)
        project = self._cache.project(name)
        return interval_of(project) if project else FALLBACK_INTERVAL
