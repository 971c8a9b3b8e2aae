"""Workers: take keys from the queue, reconcile the objects concurrently, and requeue them."""

import asyncio
import logging
import time
from collections.abc import Callable

from cloudrun_identity.gcp.ratelimit import Priority, call_priority, slot_released
from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.ledger.limits import LedgerFull
from cloudrun_identity.ledger.objects import LedgerInvalid
from cloudrun_identity.ledger.store import LedgerPruned
from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.outcomes import Outcome, internal_error, ledger_invalid
from cloudrun_identity.reconcile.reconciler import Reconciler
from cloudrun_identity.reconcile.requeue import NoRequeue, Requeue, RequeueAfter

from .logs import describe
from .metrics import Metrics
from .slots import Slots, slot_flow
from .work_queue import KeyedQueue, QueueClosed

_log = logging.getLogger(__name__)


class Workers:
    """Reconciles the objects in a queue until the queue is shut down."""

    def __init__(
        self,
        queue: KeyedQueue[ObjectKey],
        reconciler: Reconciler,
        slots: Slots,
        metrics: Metrics,
        resync_max_age: Callable[[ObjectKey], float],
        on_older_version: Callable[[OlderVersion], None],
    ) -> None:
        """Initialize the workers.

        `resync_max_age(key)` is the accepted age, in seconds, of what a resync of the object reads.
        `on_older_version` is called if a read shows that the storage of the API server was restored.
        """
        self._queue = queue
        self._reconciler = reconciler
        self._slots = slots
        self._metrics = metrics
        self._resync_max_age = resync_max_age
        self._on_older_version = on_older_version
        self._in_flight: set[asyncio.Task[None]] = set()
        slots.on_release(queue.wake)

    async def run(self) -> None:
        """Start a reconcile for each due key with an available slot in its flow."""
        while True:
            try:
                key, priority = await self._queue.get(self._slots.is_available)
            except QueueClosed:
                return
            self._slots.take(self._queue.flow_of(key))
            task = asyncio.create_task(self._work(key, priority), name=f"reconcile {key}")
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    def stalled_for(self) -> float:
        """Return the seconds for which reconciles have held every slot and none became free."""
        return self._slots.stalled_for()

    async def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for in-flight reconciles, then cancel them.

        The next process finds unfinished work again.
        """
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=timeout)
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _work(self, key: ObjectKey, priority: Priority) -> None:
        flow = self._queue.flow_of(key)
        try:
            call_priority.set(priority)
            slot_released.set(self._slots.slot_released)
            slot_flow.set(flow)
            max_age = 0.0 if priority is Priority.EDIT else self._resync_max_age(key)
            started = time.monotonic()
            requeue, outcome = await self._reconcile(key, max_age)
            self._metrics.reconciled(key.kind, outcome, time.monotonic() - started)
            self._requeue(key, priority, requeue)
        finally:
            self._queue.done(key)
            self._slots.release(flow)

    async def _reconcile(self, key: ObjectKey, max_age: float) -> tuple[Requeue, str]:
        """Reconcile an object. Return when to reconcile it again, and the outcome in one word."""
        try:
            return await self._reconciler.reconcile(key, max_age=max_age)
        except KubeError as error:
            self._report_older(error)
            level = logging.DEBUG if error.is_conflict else logging.WARNING
            _log.log(level, "%s: a request to the Kubernetes API failed, retrying: %s", key, error)
            self._reconciler.retain(key)
            return RequeueAfter(), "kubernetes"
        except LedgerInvalid as error:
            await self._fail(key, ledger_invalid(str(error)))
        except (LedgerFull, LedgerPruned) as error:
            await self._fail(key, internal_error(str(error)))
        except Exception as error:  # a bug that affects one object must not stop the others
            _log.error("%s: unexpected error, retrying: %s", key, describe(error), exc_info=error)
            message = f"unexpected {describe(error)}; the operator's log has more"
            await self._fail(key, internal_error(message))
        return RequeueAfter(), "error"

    async def _fail(self, key: ObjectKey, outcome: Outcome) -> None:
        """Report a failed reconcile in the object's status."""
        self._reconciler.retain(key)
        try:
            await self._reconciler.fail(key, outcome)
        except Exception as error:  # the log holds the reason already
            self._report_older(error)
            _log.debug("%s: writing the failure to the status failed: %s", key, describe(error))

    def _report_older(self, error: Exception) -> None:
        if isinstance(error, OlderVersion):
            self._on_older_version(error)

    def _requeue(self, key: ObjectKey, priority: Priority, requeue: Requeue) -> None:
        match requeue:
            case NoRequeue():
                self._queue.forget(key)
            case RequeueAfter(after=seconds) if seconds is not None:
                self._queue.forget(key)
                self._queue.add_after(key, seconds, Priority.EDIT)
            case RequeueAfter(at_most=limit):
                self._queue.retry(key, priority)
                if limit is not None:
                    self._queue.add_after(key, limit, Priority.EDIT)
