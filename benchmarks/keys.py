"""Keys that are all due at once, from the first to the end of the one before, and then left alone.

Google Cloud takes no more than its own quota here: it answers 429 to the write beyond the 600th of a minute.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cloudrun_identity.controllers.identity_key.plan import SETTLE
from cloudrun_identity.gcp.ratelimit import DEFAULT_RATES, Api, CallKind
from cloudrun_identity.manager import clock
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from . import counts
from .counts import Counts
from .figures import Benchmark, Figure
from .key_fleet import KEYLESS, NAMESPACE, OVERLAP, PERIOD, KeyFleet
from .staging import apply_all, staged

WRITES_A_MINUTE, READS_A_MINUTE = 600, 6000
"""Google's quota of the IAM API for a project."""

RARE_SWEEPS, FREQUENT_SWEEPS = "24h", "10s"
SWEEPS = 3

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
class Course:
    """How many writes there had been at which second, as often as somebody looked."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def note(self, seconds: float, writes: int) -> None:
        """Look at it once more."""
        self.seen.append((seconds, writes))

    @property
    def busiest_minute(self) -> int:
        """The most writes between two looks that are a minute apart or less."""
        return max(
            (
                writes - before
                for number, (since, before) in enumerate(self.seen)
                for until, writes in self.seen[number:]
                if until - since <= _MINUTE
            ),
            default=0,
        )


async def measure(fleet: KeyFleet) -> list[Benchmark]:
    """Measure on the embedded API.

    Raises:
        DemoError: a part does not start, ends, or does not do what is awaited.

    """
    async with staged(fleet.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        quota = {"reads": READS_A_MINUTE, "writes": WRITES_A_MINUTE}
        await stage.google.set_switches(requestsPerMinute={Api.IAM: quota})
        key_clock = stage.parts.directory / "key-clock"
        _turn(key_clock, timedelta())
        await stage.start_operator(**{clock.VARIABLE: str(key_clock)})
        await _deliver(fleet, stage)
        return [await _rotate(fleet, stage, key_clock), await _idle(fleet, stage)]


async def _deliver(fleet: KeyFleet, stage: Stage) -> None:
    await stage.cluster.apply(fleet.project(RARE_SWEEPS))
    await apply_all(stage, fleet.identities())
    everybody = fleet.with_keys + KEYLESS
    await counts.until(
        stage, lambda now: now.ready("CloudRunIdentity") == everybody, "the identities are Ready"
    )
    await apply_all(stage, fleet.objects())
    await counts.until(stage, lambda now: now.ready("IdentityKey") == fleet.size, "the keys are Ready")
    await counts.until_quiet(stage)


async def _rotate(fleet: KeyFleet, stage: Stage, key_clock: Path) -> Benchmark:
    """Every key is due; later the end of the overlap is, and the end of the time to enable one again."""
    before, course = await counts.read(stage), Course()
    _turn(key_clock, PERIOD)
    published = await _ask(fleet, stage, course, lambda now: now.writes["patch secrets"], "are followed")
    rotated = (await counts.until_quiet(stage)).since(before)
    _turn(key_clock, PERIOD + OVERLAP)
    disabled = await _ask(fleet, stage, course, lambda now: now.calls[_DISABLE], "are disabled")
    await counts.until_quiet(stage)
    _turn(key_clock, PERIOD + 2 * OVERLAP)
    deleted = await _ask(fleet, stage, course, lambda now: now.calls[_DELETE], "are deleted")
    spent = (await counts.until_quiet(stage)).since(before)
    size, by_limit = fleet.size, seconds_by_limit(fleet.size)
    return Benchmark(
        "keys",
        f"{size} keys of {fleet.with_keys} identities due at once",
        (
            Figure("seconds", "seconds until every Secret has the next", published),
            Figure(
                "seconds_by_limit", "of which limits take", by_limit + SETTLE.total_seconds(), is_part=True
            ),
            Figure("seconds_disabled", "seconds until all former ones are disabled", disabled),
            Figure("seconds_deleted", "seconds until they are deleted", deleted),
            Figure("retiring_by_limit", "of which limits take, each", by_limit, is_part=True),
            Figure("busiest_minute", "writes in the busiest minute", course.busiest_minute, WRITES_A_MINUTE),
            Figure("refused", "calls that met the quota", _refused(spent), 0),
            Figure("writes_each", "writes to Google Cloud, each", _writes(spent) / size, 3, decimals=2),
            Figure("lists_each", "lists of keys, each", spent.calls[_LIST] / size, decimals=2),
            Figure(
                "rotation_lists_each",
                "until the Secret has the next",
                rotated.calls[_LIST] / size,
                decimals=2,
                is_part=True,
            ),
            *_kubernetes(spent, size),
        ),
    )


async def _idle(fleet: KeyFleet, stage: Stage) -> Benchmark:
    await stage.cluster.apply(fleet.project(FREQUENT_SWEEPS))
    before = await counts.after_sweeps(stage, 1)
    spent = (await counts.after_sweeps(stage, SWEEPS)).since(before)
    sweeps = spent.calls[counts.SWEEP]
    return Benchmark(
        "keys_idle",
        f"left alone, {sweeps} sweeps",
        (
            Figure("lists", "lists of keys", spent.calls[_LIST], sweeps * fleet.with_keys),
            Figure("idle_writes", "writes to Google Cloud", _writes(spent), 0),
            Figure("idle_kubernetes", "writes to Kubernetes", spent.changes.total(), 0),
        ),
    )


def seconds_by_limit(writes: int) -> float:
    """How long so many writes take by the operator's own limit, which begins with a full bucket."""
    rate = DEFAULT_RATES[Api.IAM, CallKind.WRITE]
    return max(0, writes - rate.burst) / rate.per_minute * 60


async def _ask(
    fleet: KeyFleet, stage: Stage, course: Course, done: Callable[[Counts], int], what: str
) -> float:
    """Have every object looked at; the seconds until so many writes were made as there are objects."""
    before = done(await counts.read(stage))

    def is_over(now: Counts) -> bool:
        course.note(time.monotonic(), _writes(now))
        return done(now) >= before + fleet.size

    began = time.monotonic()
    asking = asyncio.create_task(apply_all(stage, fleet.objects(asked=what)))
    await counts.until(stage, is_over, f"all keys {what}")
    seconds = time.monotonic() - began
    await asking
    return seconds


def _kubernetes(spent: Counts, size: int) -> Iterator[Figure]:
    yield Figure("kubernetes_each", "writes to Kubernetes, each", spent.changes.total() / size, decimals=2)
    for what, count in sorted(spent.changes.items()):
        yield Figure(f"kubernetes_each {what}", what, count / size, decimals=2, is_part=True)


def _turn(key_clock: Path, ahead: timedelta) -> None:
    """Let the clock that keys go by be so far ahead."""
    written = key_clock.with_suffix(".new")
    written.write_text(str(ahead.total_seconds()))
    written.replace(key_clock)


def _writes(spent: Counts) -> int:
    return sum(spent.calls[method] for method in (_CREATE, _DISABLE, _DELETE))


def _refused(spent: Counts) -> int:
    return spent.metric("google_calls_total", code="RESOURCE_EXHAUSTED")
