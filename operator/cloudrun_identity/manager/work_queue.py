"""The work queue: one entry per key, edits before resyncs, fair between namespaces, and a backoff per key.

Keys are grouped in flows, as in the API Priority and Fairness of Kubernetes. A flow is a namespace. However
many keys one flow has, the next key of another flow waits for at most one of them.
"""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from cloudrun_identity.gcp.ratelimit import Priority

from .flows import Flows

__all__ = ["KeyedQueue", "Priority", "QueueClosed"]


class Key(Hashable, Protocol):
    """A key that can be ordered."""

    def __lt__(self, other: Self, /) -> bool:
        """Return whether this key is before another one."""
        ...


K = TypeVar("K", bound=Key)

MIN_BACKOFF = 0.25
"""The shortest backoff in seconds."""

MAX_BACKOFF = 120.0
"""The longest backoff in seconds."""

EDITS_PER_RESYNC = 8
"""Number of edits that precede a waiting resync. Without it, steady edits of one namespace would keep the
drift of all others from being repaired."""

_RANDOM = random.SystemRandom()


class QueueClosed(Exception):
    """The queue was shut down. The next process lists the remaining objects again."""


class KeyedQueue(Generic[K]):
    """Keys of objects that need a reconcile, each at most once.

    A key is due now or delayed until a time, never both: the earlier time and the higher priority win. A key
    that becomes due while it is processed waits for `done`, and is then handed out again. So no two workers
    process one key at the same time, and no added key is lost.

    Within a priority, flows take turns; within a flow, the oldest key is next.

    A queue belongs to one event loop, uses its clock, and starts no task and no thread.
    """

    def __init__(
        self,
        jitter: Callable[[float, float], float] = _RANDOM.uniform,
        flow_of: Callable[[K], str] = lambda _: "",
    ) -> None:
        """`jitter` picks a number between two, which keeps the retries of many keys apart.

        `flow_of` returns the flow of a key.
        """
        self._jitter = jitter
        self.flow_of = flow_of
        self._due: dict[Priority, Flows[K]] = {priority: Flows() for priority in Priority}
        self._changed = asyncio.Event()
        self._edits_in_a_row = 0
        self._processing: set[K] = set()
        self._dirty: dict[K, _Dirty] = {}
        self._delayed = _Delays(self._become_due)
        self._failures: dict[K, int] = {}
        self._closed = False

    def add(self, key: K, priority: Priority) -> None:
        """Make `key` due now, and end its delay. A closed queue ignores it."""
        if self._closed:
            return
        delayed = self._delayed.pop(key)
        self._become_due(key, priority if delayed is None else min(priority, delayed))

    def add_all(self, keys: Iterable[K], priority: Priority) -> None:
        """Make all of `keys` due now, in their order: that of a set differs between processes."""
        for key in sorted(keys):
            self.add(key, priority)

    def add_after(self, key: K, delay_seconds: float, priority: Priority) -> None:
        """Make `key` due in `delay_seconds`, unless it is due earlier."""
        if delay_seconds <= 0 or self._is_due(key):
            self.add(key, priority)
        elif not self._closed:
            self._delayed.put(key, _now() + delay_seconds, priority)

    def retry(self, key: K, priority: Priority = Priority.EDIT) -> float:
        """Count a failure of `key` and make it due after its backoff. Return the backoff in seconds.

        The backoff of the n-th failure in a row is between 0.25 * 2**(n - 1) s and twice that, at most 120 s.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._jitter(*_backoff(failures))
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: K) -> None:
        """Reset the backoff of `key` after a success or a deletion."""
        self._failures.pop(key, None)

    async def get(self, admits: Callable[[str], bool] = lambda _: True) -> tuple[K, Priority]:
        """Wait for the next due key of a flow that `admits` accepts. The caller must call `done` afterwards.

        `wake` must be called when `admits` may accept another flow. Raises QueueClosed after a shutdown.
        """
        while not self._closed:
            for priority in self._order():
                key = self._due[priority].pop(admits)
                if key is not None:
                    self._edits_in_a_row = self._edits_in_a_row + 1 if priority is Priority.EDIT else 0
                    self._processing.add(key)
                    return key, priority
            self._changed.clear()
            await self._changed.wait()
        raise QueueClosed

    def wake(self) -> None:
        """Make every waiting `get` look for a key again."""
        self._changed.set()

    def done(self, key: K) -> None:
        """End the processing of `key`. If it became due in the meantime, it is handed out again.

        Raises KeyError for a key that `get` did not hand out.
        """
        self._processing.remove(key)
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self._enqueue(key, dirty.priority, dirty.since)

    def shutdown(self) -> None:
        """Close the queue: every call of `get`, waiting ones included, raises QueueClosed."""
        self._closed = True
        self._delayed.clear()
        self.wake()

    def __len__(self) -> int:
        """Return the number of due keys, those that are being processed included."""
        return sum(self.depth().values())

    def depth(self) -> Mapping[Priority, int]:
        """Return the number of due keys by priority."""
        depth = {priority: len(flows) for priority, flows in self._due.items()}
        for dirty in self._dirty.values():
            depth[dirty.priority] += 1
        return depth

    def depth_of_flows(self) -> Mapping[str, int]:
        """Return the number of due keys of each flow that has any."""
        depth = Counter(map(self.flow_of, self._dirty))
        for flows in self._due.values():
            depth.update(flows.depth())
        return depth

    def oldest_age(self) -> float:
        """Return the seconds for which the oldest due key has been waiting; 0 without one."""
        since = [since for flows in self._due.values() for since in flows.due_since()]
        since += [dirty.since for dirty in self._dirty.values()]
        return _now() - min(since) if since else 0.0

    def _is_due(self, key: K) -> bool:
        return key in self._dirty or self._queued(key) is not None

    def _queued(self, key: K) -> Priority | None:
        flow = self.flow_of(key)
        return next((priority for priority, flows in self._due.items() if flows.contains(flow, key)), None)

    def _order(self) -> Iterable[Priority]:
        """Return the priorities in the order in which they are looked through now."""
        return Priority if self._edits_in_a_row < EDITS_PER_RESYNC else reversed(Priority)

    def _become_due(self, key: K, priority: Priority) -> None:
        if key in self._processing:
            dirty = self._dirty.setdefault(key, _Dirty(priority, _now()))
            dirty.priority = min(dirty.priority, priority)
        else:
            self._enqueue(key, priority, _now())

    def _enqueue(self, key: K, priority: Priority, since: float) -> None:
        queued, flow = self._queued(key), self.flow_of(key)
        if queued is None:
            self._due[priority].put(flow, key, since)
            self.wake()
        elif priority < queued:
            self._due[priority].put(flow, key, self._due[queued].remove(flow, key))  # the key keeps its age
            self.wake()


@dataclass(slots=True)
class _Dirty:
    """A key that became due again while it was processed."""

    priority: Priority
    since: float


class _Delays(Generic[K]):
    """Delayed keys: a heap, and one timer of the event loop for the earliest."""

    def __init__(self, expired: Callable[[K, Priority], None]) -> None:
        self._expired = expired
        self._current: dict[K, _Delay[K]] = {}
        self._heap: list[tuple[float, int, _Delay[K]]] = []
        self._arrivals = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, key: K, due: float, priority: Priority) -> None:
        """Delay `key` until the loop's time is `due`, unless it is due earlier."""
        known = self._current.get(key)
        if known is not None and known.due <= due:
            known.priority = min(known.priority, priority)
            return
        if known is not None:
            priority = min(known.priority, priority)
        delay = self._current[key] = _Delay(key, due, priority)
        heapq.heappush(self._heap, (due, next(self._arrivals), delay))
        self._drop_replaced()
        self._arm()

    def pop(self, key: K) -> Priority | None:
        """End the delay of `key`. Return its priority, or None if it had no delay."""
        delay = self._current.pop(key, None)
        return delay.priority if delay is not None else None

    def clear(self) -> None:
        """Remove all keys and stop the timer."""
        self._current.clear()
        self._heap.clear()
        self._arm()

    def _is_current(self, delay: "_Delay[K]") -> bool:
        return self._current.get(delay.key) is delay

    def _drop_replaced(self) -> None:
        # Each edit of a delayed object leaves a replaced entry until its due time, which may be hours later.
        if len(self._heap) > 2 * len(self._current) + 64:
            self._heap = [entry for entry in self._heap if self._is_current(entry[2])]
            heapq.heapify(self._heap)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._on_timer)

    def _on_timer(self) -> None:
        # The loop may fire a timer early, by the resolution of its clock. The first entry is due anyway.
        now = max(_now(), self._heap[0][0])
        while self._heap and self._heap[0][0] <= now:
            *_, delay = heapq.heappop(self._heap)
            if self._is_current(delay):
                del self._current[delay.key]
                self._expired(delay.key, delay.priority)
        self._arm()


@dataclass(slots=True, eq=False)
class _Delay(Generic[K]):
    key: K
    due: float
    priority: Priority


def _backoff(failures: int) -> tuple[float, float]:
    doublings = min(failures - 1, 10)  # ten doublings reach the maximum; more might overflow
    shortest = MIN_BACKOFF * 2**doublings
    return min(shortest, MAX_BACKOFF / 2), min(2 * shortest, MAX_BACKOFF)


def _now() -> float:
    return asyncio.get_running_loop().time()
