"""Token buckets that keep the operator below Google's quotas, with edits before resyncs."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeVar

from .errors import LONGEST_RATE_PAUSE


class Api(StrEnum):
    """Google Cloud APIs that the operator calls, by host. Guardrails can name further ones."""

    IAM = "iam.googleapis.com"
    IAM_CREDENTIALS = "iamcredentials.googleapis.com"
    RESOURCE_MANAGER = "cloudresourcemanager.googleapis.com"
    ORG_POLICY = "orgpolicy.googleapis.com"
    RECOMMENDER = "recommender.googleapis.com"
    RUN = "run.googleapis.com"
    SECRET_MANAGER = "secretmanager.googleapis.com"  # noqa: S105 - a host
    STORAGE = "storage.googleapis.com"
    PUB_SUB = "pubsub.googleapis.com"
    ARTIFACT_REGISTRY = "artifactregistry.googleapis.com"
    CLOUD_TASKS = "cloudtasks.googleapis.com"
    KMS = "cloudkms.googleapis.com"
    SPANNER = "spanner.googleapis.com"
    BIGTABLE = "bigtableadmin.googleapis.com"
    POLICY_ANALYZER = "policyanalyzer.googleapis.com"
    MONITORING = "monitoring.googleapis.com"
    LOGGING = "logging.googleapis.com"


class CallKind(StrEnum):
    """Kind of a call. Reads and writes have separate quotas."""

    READ = "read"
    WRITE = "write"


class Priority(IntEnum):
    """Order in which waiting calls get tokens."""

    EDIT = 0
    """Calls of a reconcile after an edit, or after a change of a dependency."""

    RESYNC = 1
    """Calls of a periodic reconcile."""


call_priority: ContextVar[Priority] = ContextVar("call_priority", default=Priority.EDIT)
"""Priority of the current reconcile. The workers set it."""


slot_released: ContextVar[Callable[[], AbstractAsyncContextManager[None]]] = ContextVar(
    "slot_released", default=nullcontext
)
"""Context manager that releases the slot of the worker. The workers set it."""


def without_slot() -> AbstractAsyncContextManager[None]:
    """Release the slot of the worker during the block, which waits for a token or for a shared task."""
    return slot_released.get()()


Result = TypeVar("Result")


def start_shared_task(work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
    """Start a task that several reconciles may wait for.

    The task does not release the worker slot of the reconcile that starts it. To get the slot back, it could
    have to wait for the reconciles that wait for it.
    """
    context = copy_context()
    context.run(slot_released.set, nullcontext)
    return asyncio.create_task(work, name=name, context=context)


@dataclass(frozen=True, slots=True)
class BucketKey:
    """Calls that count against one quota."""

    api: str
    """API that is called, by host."""

    kind: CallKind
    """Read or write."""

    quota_project: str = ""
    """Project that is charged."""

    region: str = ""
    """Region of the API host; empty for the global host."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket gains `per_minute` tokens evenly, and holds at most `burst` tokens."""

    per_minute: float
    burst: int


_BELOW_DEFAULT = (
    Api.PUB_SUB,
    Api.ARTIFACT_REGISTRY,
    Api.CLOUD_TASKS,
    Api.SPANNER,
    Api.BIGTABLE,
    Api.POLICY_ANALYZER,
    Api.MONITORING,
    Api.LOGGING,
)
DEFAULT_RATE = Rate(per_minute=240, burst=50)
"""Rate below the quotas of these APIs, and of those that only the generic target kind names. The lowest is
Spanner's: 5 administrative requests per second
(https://cloud.google.com/spanner/quotas#administrative_limits)."""

DEFAULT_RATES: Mapping[tuple[str, CallKind], Rate] = {
    # Google allows 6,000 reads and 600 writes per minute. With a full bucket, a minute stays below 5/6 of it.
    (Api.IAM, CallKind.READ): Rate(per_minute=4200, burst=600),
    (Api.IAM, CallKind.WRITE): Rate(per_minute=400, burst=100),
    # The operator requests one token per hour and credential.
    (Api.IAM_CREDENTIALS, CallKind.READ): Rate(per_minute=60, burst=60),
    (Api.IAM_CREDENTIALS, CallKind.WRITE): Rate(per_minute=60, burst=60),
    # 2,400 reads were observed to succeed. Google documents no number for writes, only that it is far lower.
    (Api.RESOURCE_MANAGER, CallKind.READ): Rate(per_minute=1200, burst=200),
    (Api.RESOURCE_MANAGER, CallKind.WRITE): Rate(per_minute=120, burst=60),
    # Google documents no general number. The operator reads once per project and interval.
    (Api.ORG_POLICY, CallKind.READ): Rate(per_minute=120, burst=60),
    (Api.ORG_POLICY, CallKind.WRITE): Rate(per_minute=30, burst=10),
    # Google allows 100 reads and writes per minute, recommender and organization without a support package
    # (https://cloud.google.com/recommender/quotas).
    (Api.RECOMMENDER, CallKind.READ): Rate(per_minute=60, burst=30),
    (Api.RECOMMENDER, CallKind.WRITE): Rate(per_minute=60, burst=30),
    # Google allows 3,000 reads and 180 writes per minute and region.
    (Api.RUN, CallKind.READ): Rate(per_minute=2000, burst=300),
    (Api.RUN, CallKind.WRITE): Rate(per_minute=100, burst=50),
    (Api.SECRET_MANAGER, CallKind.READ): Rate(per_minute=300, burst=50),
    (Api.SECRET_MANAGER, CallKind.WRITE): Rate(per_minute=300, burst=50),
    # Google limits updates, to one per second and bucket, and no reads (https://cloud.google.com/storage/quotas).
    (Api.STORAGE, CallKind.READ): Rate(per_minute=1200, burst=200),
    (Api.STORAGE, CallKind.WRITE): DEFAULT_RATE,
    # Google allows the calling project 300 reads and 60 writes per minute (https://cloud.google.com/kms/quotas).
    (Api.KMS, CallKind.READ): Rate(per_minute=200, burst=50),
    (Api.KMS, CallKind.WRITE): Rate(per_minute=40, burst=10),
    **{(api, kind): DEFAULT_RATE for api in _BELOW_DEFAULT for kind in CallKind},
    # Pulls of the change feed and their acknowledgments, which Google limits by bytes only
    # (https://cloud.google.com/pubsub/quotas). Writes of policies of topics count, too.
    (Api.PUB_SUB, CallKind.WRITE): Rate(per_minute=1200, burst=100),
}


@dataclass(slots=True)
class Reservation:
    """A token for one call."""

    key: BucketKey
    """The calls that may use it."""

    is_used: bool = False
    """True once a call has used it."""

    is_returned: bool = False
    """True after the block in which it was reserved."""

    def use_for(self, key: BucketKey) -> bool:
        """Use the token for a call, if it fits. Return whether it did."""
        if self.is_used or self.is_returned or key != self.key:
            return False
        self.is_used = True
        return True


_reservation: ContextVar[Reservation | None] = ContextVar("rate_limit_reservation", default=None)
"""The token that is reserved for the current task."""

STEADY_SHARE = 2 / 3
"""Share of the rate for resources that are written continuously. The rest is for single writes of others,
which need not wait then."""

CALL_MEMORY = 120.0
"""Seconds for which a reserved call counts for `RateLimiter.spacing`."""


class RateLimiter:
    """One token bucket per BucketKey, created on first use.

    It belongs to the event loop that uses it, and uses its clock.
    """

    def __init__(self, rates: Mapping[tuple[str, CallKind], Rate] = DEFAULT_RATES) -> None:
        self._rates = rates
        self._buckets: dict[BucketKey, _Bucket] = {}

    async def acquire(self, key: BucketKey, priority: Priority) -> None:
        """Wait for a token. Edits get tokens first, then the calls that have waited longest.

        The first call in a block of `reserved` uses its token.
        """
        reservation = _reservation.get()
        if reservation is not None and reservation.use_for(key):
            return
        await self._bucket(key).acquire(priority)

    @asynccontextmanager
    async def reserved(
        self, key: BucketKey, priority: Priority, resource: Hashable
    ) -> AsyncIterator[Reservation]:
        """Wait for a token, for the first call in the block. An unused token is returned.

        `resource` is what the call is about. `spacing` divides the rate among the resources.
        """
        bucket = self._bucket(key)
        await bucket.acquire(priority)
        reservation = Reservation(key)
        outer = _reservation.set(reservation)
        try:
            yield reservation
        finally:
            _reservation.reset(outer)
            reservation.is_returned = True
            if reservation.is_used:
                bucket.note_call(resource)
            else:
                bucket.put_back()

    def spacing(self, key: BucketKey) -> float:
        """Return the seconds between two reserved calls for a resource with which the rate suffices for all.

        The resources of the last minutes then use `STEADY_SHARE` of the rate, and the rest is free for other
        calls. 0 while there are no more calls than one burst.
        """
        return self._bucket(key).spacing()

    def is_low(self, key: BucketKey) -> bool:
        """Return whether less than half of a burst is left."""
        return self._bucket(key).is_low()

    def drain(self, key: BucketKey, retry_after: float | None) -> None:
        """Empty the bucket after a 429 of Google. It stays empty for `retry_after` seconds, if given.

        It stays empty for at most LONGEST_RATE_PAUSE. The next call then shows whether the quota is still
        exhausted.
        """
        self._bucket(key).drain(min(retry_after or 0.0, LONGEST_RATE_PAUSE))

    def _bucket(self, key: BucketKey) -> "_Bucket":
        bucket = self._buckets.get(key)
        if bucket is None:
            rate = self._rates.get((key.api, key.kind), DEFAULT_RATE)
            bucket = self._buckets[key] = _Bucket(rate, tokens=rate.burst, filled_at=_now())
        return bucket


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    tokens: float
    filled_at: float
    """Time up to which tokens were added. It is in the future during a pause."""
    waiting: list[tuple[Priority, int, asyncio.Future[None]]] = field(default_factory=list)
    arrivals: "itertools.count[int]" = field(default_factory=itertools.count)
    timer: asyncio.TimerHandle | None = None
    reserved: "deque[tuple[float, Hashable]]" = field(default_factory=deque)
    """Reserved calls within `CALL_MEMORY`: their times and resources."""

    async def acquire(self, priority: Priority) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (priority, next(self.arrivals), turn))
        self._serve()
        if not turn.done():
            try:
                async with without_slot():
                    await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.put_back()
                raise

    def drain(self, pause: float) -> None:
        self.tokens = 0.0
        self.filled_at = max(self.filled_at, _now() + pause)

    def put_back(self) -> None:
        self._fill()
        self.tokens = min(self.rate.burst, self.tokens + 1.0)
        self._serve()

    def note_call(self, resource: Hashable) -> None:
        self.reserved.append((_now(), resource))

    def spacing(self) -> float:
        while self.reserved and self.reserved[0][0] < _now() - CALL_MEMORY:
            self.reserved.popleft()
        if len(self.reserved) <= self.rate.burst:
            return 0.0
        resources = len({resource for _, resource in self.reserved})
        return resources * 60 / self.rate.per_minute / STEADY_SHARE

    def is_low(self) -> bool:
        self._fill()
        return self.tokens < self.rate.burst / 2

    def _serve(self) -> None:
        self._fill()
        while self.waiting and self.tokens >= _ONE:
            *_, turn = heapq.heappop(self.waiting)
            if not turn.done():  # done: the waiting call was canceled
                self.tokens -= 1.0
                turn.set_result(None)
        if self.waiting and self.timer is None:
            self.timer = asyncio.get_running_loop().call_at(self._next_token_at(), self._on_timer)

    def _on_timer(self) -> None:
        self.timer = None
        self._serve()

    def _fill(self) -> None:
        elapsed = _now() - self.filled_at
        if elapsed > 0:
            self.tokens = min(self.rate.burst, self.tokens + elapsed * self.rate.per_minute / 60)
            self.filled_at += elapsed

    def _next_token_at(self) -> float:
        return self.filled_at + (1.0 - self.tokens) * 60 / self.rate.per_minute


# Token counts are floating point numbers: when the timer for a token fires, the count may be just below one.
_ONE = 1.0 - 1e-6


def _now() -> float:
    return asyncio.get_running_loop().time()
