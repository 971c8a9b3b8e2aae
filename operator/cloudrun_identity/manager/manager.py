"""The manager: fills the cache, starts the workers, takes in watch events, and drains at the end."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from cloudrun_identity.api import KINDS, ManagedProject, PolicyLedger
from cloudrun_identity.gcp.client_pool import credential_of
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.kube.event_recorder import EventRecorder
from cloudrun_identity.kube.finalizers import is_deleting
from cloudrun_identity.kube.resources import Listing, Object, Resource
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.reconcile.cluster_state import ObjectKey

from .change_feed import ChangeFeeds
from .engine import Engine
from .kubernetes import CountedClient
from .resync import Resync
from .work_queue import KeyedQueue
from .workers import Workers

_log = logging.getLogger(__name__)

DRAIN_TIMEOUT = 3.0
"""Seconds that in-flight reconciles get to end before they are cancelled."""

STALLED_AFTER = 300.0
"""Seconds without a free worker. The deadline of a reconcile, and of its report, are shorter together."""


class Manager:
    """Runs an engine against a cluster.

    The process calls `fill` and `start` after it acquired the Lease, and `drain` before it releases it. The
    watches call `observe` and `observe_namespace` between `start` and `drain`.
    """

    def __init__(
        self,
        *,
        client: CountedClient,
        engine: Engine,
        queue: KeyedQueue[ObjectKey],
        workers: Workers,
        resync: Resync,
        feeds: ChangeFeeds,
        events: EventRecorder,
        kinds: Iterable[str],
        may_act: Callable[[], bool],
    ) -> None:
        """`kinds` are the names of the installed kinds. `may_act` returns whether the Lease is still held."""
        self.kinds = [kind for kind in KINDS if kind in set(kinds)]
        self._client = client
        self._engine = engine
        self._cache = engine.cache
        self._queue = queue
        self._workers = workers
        self._resync = resync
        self._feeds = feeds
        self._events = events
        self._may_act = may_act
        self._tasks: list[asyncio.Task[None]] = []

    async def fill(self, listed: Callable[[Resource, Listing[Object]], None]) -> None:
        """Fill the cache, and call `listed` with each list. Raises KubeError."""
        await self._engine.fill(self._client, self.kinds, listed)

    def start(self) -> None:
        """Enqueue every known object, and start the workers and the periodic resync.

        A sync waits for all objects with grants on its policy. They follow each other, so that few objects
        wait at a time.
        """
        self._events.start()
        for key in self._cache.by_project():
            self._queue.add(key, Priority.RESYNC)
            self._resync.observe(key)
            if key.kind == ManagedProject.__name__:
                self._resync.follow(key.name)
        self._feeds.follow()
        self._tasks.append(asyncio.create_task(self._workers.run(), name="workers"))

    def problem(self) -> str:
        """Return what does not make progress; empty if everything does."""
        if ended := [task.get_name() for task in self._tasks if task.done()]:
            return f"the task {ended[0]!r} ended"
        if self._workers.stalled_for() > STALLED_AFTER:
            return f"no worker has become free for {STALLED_AFTER:g}s"
        return ""

    async def drain(self) -> None:
        """Stop new reconciles, and give in-flight ones `DRAIN_TIMEOUT` to end.

        Without the Lease they are cancelled immediately, because another replica already acts. The next
        leader resumes unfinished work.
        """
        self._queue.shutdown()
        await self._feeds.close()
        await self._resync.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.drain(DRAIN_TIMEOUT if self._may_act() else 0.0)
        await self._engine.close()
        await self._events.close()

    def observe(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of an object, or its deletion."""
        if raw["kind"] == PolicyLedger.__name__:
            self._observe_ledger(raw, deleted=deleted)
            return
        change = self._cache.observe(raw, deleted=deleted)
        key = ObjectKey.of_raw(raw)
        self._resync.observe(key)
        if change.changed:
            self._queue.add(key, Priority.EDIT)
            if is_deleting(raw) and key.namespace:
                self._engine.syncers.expect_release(Owner(*key, uid=raw["metadata"]["uid"]))
        if (change.changed or deleted) and key.kind == ManagedProject.__name__:
            self._resync.follow(key.name)
            self._feeds.follow()
            self._engine.cloud.clients.close_unused(map(credential_of, self._cache.objects(ManagedProject)))
        self._wake(change.woken)

    def observe_namespace(self, raw: Object, *, deleted: bool) -> None:
        """Take in a new version of a namespace, or its deletion."""
        self._wake(self._cache.observe_namespace(raw, deleted=deleted))

    def _observe_ledger(self, raw: Object, *, deleted: bool) -> None:
        """Take in a PolicyLedger, and reconcile the objects whose entries another writer removed."""
        owner_keys = self._engine.ledgers.observed(raw, deleted=deleted)
        self._wake(ObjectKey(*owner_key.split("/", 2)) for owner_key in owner_keys)

    def _wake(self, keys: Iterable[ObjectKey]) -> None:
        self._queue.add_all(keys, Priority.EDIT)
