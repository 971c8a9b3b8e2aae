"""Token buckets that keep the operator below Google's quotas, edits ahead of resyncs."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeVar


class Api(StrEnum):
    """The Google services that the operator calls, by host."""

    IAM = "iam.googleapis.com"
    IAM_CREDENTIALS = "iamcredentials.googleapis.com"
    RESOURCE_MANAGER = "cloudresourcemanager.googleapis.com"
    ORG_POLICY = "orgpolicy.googleapis.com"
    RUN = "run.googleapis.com"
    SECRET_MANAGER = "secretmanager.googleapis.com"  # noqa: S105 - a host


class CallKind(StrEnum):
    """Reads and writes have quotas of their own."""

    READ = "read"
    WRITE = "write"


class Priority(IntEnum):
    """Who goes first when tokens are short."""

    EDIT = 0
    RESYNC = 1


call_priority: ContextVar[Priority] = ContextVar("call_priority", default=Priority.EDIT)
"""The priority of the pass that is calling; the reconcile loop sets it."""


stepping_out: ContextVar[Callable[[], AbstractAsyncContextManager[None]]] = ContextVar(
    "stepping_out", default=nullcontext
)
"""What a pass leaves to others while it waits for a token: the workers set it to their slot."""


Result = TypeVar("Result")


def start_shared(work: Coroutine[Any, Any, Result], name: str) -> "asyncio.Task[Result]":
    """Start what many passes may come to wait for.

    It is born in one of them and has no slot of its own to step out of: to come back it would need one, and
    those who wait for it may hold them all.
    """
    context = copy_context()
    context.run(stepping_out.set, nullcontext)
    return asyncio.create_task(work, name=name, context=context)


@dataclass(frozen=True, slots=True)
class BucketKey:
    """What Google counts together; `quota_project` is the one charged, `region` is for Cloud Run alone."""

    api: Api
    access: CallKind
    quota_project: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` tokens flow in evenly, and up to `burst` of them are kept for later."""

    per_minute: float
    burst: int


DEFAULT_RATES: Mapping[tuple[Api, CallKind], Rate] = {
    # Google allows 6,000 reads and 600 writes a minute; one that begins with a full bucket stays below 5/6.
    (Api.IAM, CallKind.READ): Rate(per_minute=4200, burst=600),
    (Api.IAM, CallKind.WRITE): Rate(per_minute=400, burst=100),
    # One token an hour and credential.
    (Api.IAM_CREDENTIALS, CallKind.READ): Rate(per_minute=60, burst=60),
    (Api.IAM_CREDENTIALS, CallKind.WRITE): Rate(per_minute=60, burst=60),
    # 2,400 reads were seen to be allowed; for writes Google promises far fewer and no number.
    (Api.RESOURCE_MANAGER, CallKind.READ): Rate(per_minute=1200, burst=200),
    (Api.RESOURCE_MANAGER, CallKind.WRITE): Rate(per_minute=120, burst=60),
    # Google names no number that holds for all; one look a project and interval is far from any.
    (Api.ORG_POLICY, CallKind.READ): Rate(per_minute=120, burst=60),
    (Api.ORG_POLICY, CallKind.WRITE): Rate(per_minute=30, burst=10),
    # 3,000 reads and 180 writes a minute and region.
    (Api.RUN, CallKind.READ): Rate(per_minute=2000, burst=300),
    (Api.RUN, CallKind.WRITE): Rate(per_minute=100, burst=50),
    (Api.SECRET_MANAGER, CallKind.READ): Rate(per_minute=300, burst=50),
    (Api.SECRET_MANAGER, CallKind.WRITE): Rate(per_minute=300, burst=50),
}


LONGEST_PAUSE = 60.0
"""Seconds for which a bucket stays empty at most, whatever Google asks for: its quotas are a minute's."""


class RateLimiter:
    """One token bucket for each BucketKey, made when first asked for.

    It belongs to the event loop that it is used in and takes its time from it.
    """

    def __init__(self, rates: Mapping[tuple[Api, CallKind], Rate] = DEFAULT_RATES) -> None:
        self._rates = rates
        self._buckets: dict[BucketKey, _Bucket] = {}

    async def acquire(self, key: BucketKey, priority: Priority) -> None:
        """Wait for a token; among those waiting edits go first, then who asked first."""
        await self._bucket(key).acquire(priority)

    def exhausted(self, key: BucketKey, retry_after: float | None) -> None:
        """Empty a bucket that Google answered 429 for; it stays empty for `retry_after` seconds, if given.

        For `LONGEST_PAUSE` at most: then another call asks again, and who waits hears why it fails.
        """
        self._bucket(key).drain(min(retry_after or 0.0, LONGEST_PAUSE))

    def _bucket(self, key: BucketKey) -> "_Bucket":
        bucket = self._buckets.get(key)
        if bucket is None:
            rate = self._rates[key.api, key.access]
            bucket = self._buckets[key] = _Bucket(rate, tokens=rate.burst, filled_at=_now())
        return bucket


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    tokens: float
    filled_at: float
    """The time up to which tokens have flowed in; in the future while Google's pause lasts."""
    waiting: list[tuple[Priority, int, asyncio.Future[None]]] = field(default_factory=list)
    arrivals: "itertools.count[int]" = field(default_factory=itertools.count)
    timer: asyncio.TimerHandle | None = None

    async def acquire(self, priority: Priority) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (priority, next(self.arrivals), turn))
        self._serve()
        if not turn.done():
            async with stepping_out.get()():
                await turn

    def drain(self, pause: float) -> None:
        self.tokens = 0.0
        self.filled_at = max(self.filled_at, _now() + pause)

    def _serve(self) -> None:
        self._fill()
        while self.waiting and self.tokens >= _ONE:
            *_, turn = heapq.heappop(self.waiting)
            if not turn.done():  # done: whoever waited was cancelled
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


# Tokens flow in by floating point arithmetic, and a timer set for the next whole one may find it just short.
_ONE = 1.0 - 1e-6


def _now() -> float:
    return asyncio.get_running_loop().time()
