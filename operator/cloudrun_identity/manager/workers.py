"""Workers: keys from the queue through the reconcile, so many at a time, and back into the queue."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cloudrun_identity.gcp.ratelimit import Priority, call_priority, slot_released
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.store import LedgerPruned
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.reconciler import Reconciler
from cloudrun_identity.reconcile.requeue import Requeue, RequeueAfter, Rest

from .logs import describe
from .metrics import Metrics
from .work_queue import KeyedQueue, QueueClosed

_log = logging.getLogger(__name__)


class Slots:
    """A bound on concurrent passes that a pass may step out of while it waits."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    async def take(self) -> None:
        """Wait for a slot."""
        await self._free.acquire()

    def give(self) -> None:
        """Give it back."""
        self._free.release()

    @asynccontextmanager
    async def slot_released(self) -> AsyncIterator[None]:
        """Work on in a slot after the block, and leave it to others during the block."""
        self._free.release()
        try:
            yield
        finally:
            await self._free.acquire()


class Workers:
    """Runs passes until cancelled."""

    def __init__(
        self,
        queue: KeyedQueue[ObjectKey],
        reconciler: Reconciler,
        slots: Slots,
        metrics: Metrics,
        interval_of: Callable[[ObjectKey], float],
    ) -> None:
        """`interval_of(key)` is the drift interval, in seconds, that a resync of the object goes by."""
        self._queue = queue
        self._reconciler = reconciler
        self._slots = slots
        self._metrics = metrics
        self._interval_of = interval_of
        self._sync: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Hand out keys until the queue is shut down."""
        while True:
            try:
                key, priority = await self._queue.get()
            except QueueClosed:
                return
            await self._slots.take()
            task = asyncio.create_task(self._work(key, priority), name=f"pass over {key}")
            self._sync.add(task)
            task.add_done_callback(self._sync.discard)

    async def drain(self, seconds: float) -> None:
        """Let passes end for so long, then cancel them: whatever they left undone is found again."""
        if self._sync:
            await asyncio.wait(self._sync, timeout=seconds)
        for task in self._sync:
            task.cancel()
        await asyncio.gather(*self._sync, return_exceptions=True)

    async def _work(self, key: ObjectKey, priority: Priority) -> None:
        try:
            call_priority.set(priority)
            slot_released.set(self._slots.slot_released)
            max_age = 0.0 if priority is Priority.EDIT else self._interval_of(key)
            started = time.monotonic()
            following, outcome = await self._pass(key, max_age)
            self._metrics.reconciled(key.kind, outcome, time.monotonic() - started)
            self._schedule(key, priority, following)
        finally:
            self._queue.done(key)
            self._slots.give()

    async def _pass(self, key: ObjectKey, max_age: float) -> tuple[Requeue, str]:
        try:
            return await self._reconciler.reconcile(key, max_age=max_age)
        except KubeError as error:
            level = logging.DEBUG if error.is_conflict else logging.WARNING
            _log.log(level, "%s: the Kubernetes API: %s", key, error)
            self._reconciler.retain(key)
            return RequeueAfter(), "kubernetes"
        except (LedgerFull, LedgerPruned, LedgerInvalid) as error:
            await self._fail(key, str(error))
        except Exception as error:  # one object's bug must not stop the others
            _log.error("%s: unexpected: %s", key, describe(error), exc_info=error)
            await self._fail(key, f"unexpected {describe(error)}; the operator's log has more")
        return RequeueAfter(), "error"

    async def _fail(self, key: ObjectKey, message: str) -> None:
        self._reconciler.retain(key)
        try:
            await self._reconciler.fail(key, message)
        except Exception as error:  # the log has the reason already
            _log.debug("%s: the status could not say so: %s", key, describe(error))

    def _schedule(self, key: ObjectKey, priority: Priority, following: Requeue) -> None:
        match following:
            case Rest():
                self._queue.forget(key)
            case RequeueAfter(after=seconds) if seconds is not None:
                self._queue.forget(key)
                self._queue.add_after(key, seconds, Priority.EDIT)
            case RequeueAfter():
                self._queue.retry(key, priority)
