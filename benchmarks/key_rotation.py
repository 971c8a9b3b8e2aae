"""Many keys that are due for rotation at the same time: published, disabled, deleted, then idle.

The emulator enforces the quota of Google Cloud: it answers 429 after 600 writes per minute.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cloudrun_identity.controllers.identity_key.plan import SETTLE
from cloudrun_identity.gcp.ratelimit import DEFAULT_RATES, Api, CallKind
from cloudrun_identity.manager import hooks
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from . import counts
from .counts import Counts
from .environment import apply_all, started
from .figures import Benchmark, Figure
from .key_objects import KEYLESS, NAMESPACE, OVERLAP, PERIOD, KeyObjects

WRITES_PER_MINUTE, READS_PER_MINUTE = 600, 6000
"""Google's quota of the IAM API per project and minute."""

RARE_RESYNC = "24h"
INTERVAL, INTERVALS = 10, 3
"""Seconds of the drift interval when idle, and the number of measured intervals."""

_IAM = "google.iam.admin.v1.IAM"
_CREATE, _DISABLE, _DELETE, _LIST = (
    f"{_IAM}/{method}"
    for method in (
        "CreateServiceAccountKey",
        "DisableServiceAccountKey",
        "DeleteServiceAccountKey",
        "ListServiceAccountKeys",
    )
)
_MINUTE = 60.0


@dataclass(slots=True)
class WriteHistory:
    """Samples of the number of writes over time."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def add(self, seconds: float, writes: int) -> None:
        """Add a sample."""
        self.seen.append((seconds, writes))

    @property
    def busiest_minute(self) -> int:
        """Return the most writes between two samples that are at most a minute apart."""
        return max(
            (
                writes - before
                for number, (since, before) in enumerate(self.seen)
                for until, writes in self.seen[number:]
                if until - since <= _MINUTE
            ),
            default=0,
        )


async def measure(keys: KeyObjects) -> list[Benchmark]:
    """Measure on the embedded API.

    Raises:
        DemoError: a process does not start or ends early, or an expected state is not reached.

    """
    async with started(keys.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        quota = {"reads": READS_PER_MINUTE, "writes": WRITES_PER_MINUTE}
        await stage.google.set_switches(requestsPerMinute={Api.IAM: quota})
        key_clock = stage.parts.directory / "key-clock"
        _set_clock(key_clock, timedelta())
        await stage.start_operator(**{hooks.KEY_CLOCK: str(key_clock)})
        await _deliver(keys, stage)
        return [await _rotate(keys, stage, key_clock), await _idle(keys, stage)]


async def _deliver(keys: KeyObjects, stage: Stage) -> None:
    await stage.cluster.apply(keys.project(RARE_RESYNC))
    await apply_all(stage, keys.identities())
    identities = keys.with_keys + KEYLESS
    await counts.until(
        stage, lambda now: now.ready("CloudRunIdentity") == identities, "the identities are Ready"
    )
    await apply_all(stage, keys.objects())
    await counts.until(stage, lambda now: now.ready("IdentityKey") == keys.size, "the keys are Ready")
    await counts.until_quiet(stage)


async def _rotate(keys: KeyObjects, stage: Stage, key_clock: Path) -> Benchmark:
    """Let every key be due, then the end of the overlap, then the end of the time before deletion."""
    before, history = await counts.read(stage), WriteHistory()
    _set_clock(key_clock, PERIOD)
    published = await _ask(keys, stage, history, lambda now: now.writes["patch secrets"], "are rotated")
    rotated = (await counts.until_quiet(stage)).since(before)
    _set_clock(key_clock, PERIOD + OVERLAP)
    disabled = await _ask(keys, stage, history, lambda now: now.calls[_DISABLE], "are disabled")
    await counts.until_quiet(stage)
    _set_clock(key_clock, PERIOD + 2 * OVERLAP)
    deleted = await _ask(keys, stage, history, lambda now: now.calls[_DELETE], "are deleted")
    spent = (await counts.until_quiet(stage)).since(before)
    size, by_limit = keys.size, seconds_by_limit(keys.size)
    return Benchmark(
        "keys",
        f"{size} keys of {keys.with_keys} identities due at once",
        (
            Figure("seconds", "seconds until every Secret has its next key", published),
            Figure(
                "seconds_by_limit",
                "of which for rate limits and propagation",
                by_limit + SETTLE.total_seconds(),
                is_part=True,
            ),
            Figure("seconds_disabled", "seconds until all former keys are disabled", disabled),
            Figure("seconds_deleted", "seconds until all former keys are deleted", deleted),
            Figure("retiring_by_limit", "of which for rate limits, each", by_limit, is_part=True),
            Figure(
                "busiest_minute", "writes in the busiest minute", history.busiest_minute, WRITES_PER_MINUTE
            ),
            Figure("refused", "calls that exceeded the quota", _refused(spent), 0),
            Figure("writes_each", "writes to Google Cloud per key", _writes(spent) / size, 3, decimals=2),
            Figure("lists_each", "lists of keys per key", spent.calls[_LIST] / size, decimals=2),
            Figure(
                "rotation_lists_each",
                "until the Secret has its next key",
                rotated.calls[_LIST] / size,
                decimals=2,
                is_part=True,
            ),
            *_kubernetes(spent, size),
        ),
    )


async def _idle(keys: KeyObjects, stage: Stage) -> Benchmark:
    await stage.cluster.apply(keys.project(f"{INTERVAL}s"))
    spent = await counts.over_intervals(stage, INTERVAL, INTERVALS)
    return Benchmark(
        "keys_idle",
        f"idle, {INTERVALS} intervals",
        (
            Figure("lists", "lists of keys", spent.calls[_LIST], INTERVALS * keys.with_keys),
            Figure("idle_writes", "writes to Google Cloud", _writes(spent), 0),
            Figure("idle_kubernetes", "writes to Kubernetes", spent.changes.total(), 0),
        ),
    )


def seconds_by_limit(writes: int) -> float:
    """Return the seconds that the operator's rate limit takes for this many writes."""
    rate = DEFAULT_RATES[Api.IAM, CallKind.WRITE]
    return max(0, writes - rate.burst) / rate.per_minute * 60


async def _ask(
    keys: KeyObjects, stage: Stage, history: WriteHistory, done: Callable[[Counts], int], what: str
) -> float:
    """Request a reconcile of every object. Return the seconds until there was one write per object."""
    before = done(await counts.read(stage))

    def is_over(now: Counts) -> bool:
        history.add(time.monotonic(), _writes(now))
        return done(now) >= before + keys.size

    start = time.monotonic()
    applying = asyncio.create_task(apply_all(stage, keys.objects(requested_at=what)))
    await counts.until(stage, is_over, f"all keys {what}")
    seconds = time.monotonic() - start
    await applying
    return seconds


def _kubernetes(spent: Counts, size: int) -> Iterator[Figure]:
    yield Figure("kubernetes_each", "writes to Kubernetes per key", spent.changes.total() / size, decimals=2)
    for what, count in sorted(spent.changes.items()):
        yield Figure(f"kubernetes_each {what}", what, count / size, decimals=2, is_part=True)


def _set_clock(key_clock: Path, ahead: timedelta) -> None:
    """Set the key clock ahead by this much."""
    written = key_clock.with_suffix(".new")
    written.write_text(str(ahead.total_seconds()))
    written.replace(key_clock)


def _writes(spent: Counts) -> int:
    return sum(spent.calls[method] for method in (_CREATE, _DISABLE, _DELETE))


def _refused(spent: Counts) -> int:
    return spent.metric("google_calls_total", code="RESOURCE_EXHAUSTED")
