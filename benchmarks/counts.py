"""Counts of calls and writes, from the emulator and from the operator's metrics."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.stage import Stage

POLL_INTERVAL = 0.5  # seconds; each poll makes the operator render its metrics
ATTEMPTS = 6  # of a read
QUIET = 3.0  # seconds without a call or a write after which the operator is idle
TIMEOUT = 1_800.0  # seconds to wait for an expected state; a busy machine takes long

_LEASES = "leases"

State = TypeVar("State")
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts since the start of the processes."""

    calls: Counter[str]
    """Calls to Google Cloud by RPC."""
    writes: Counter[str]
    """Writes to Kubernetes by `VERB RESOURCE`."""
    metrics: Counter[tuple[str, Labels]]
    """The operator's metrics by name and labels."""

    def since(self, before: "Counts") -> "Counts":
        """Return the counts since `before`."""
        return Counts(self.calls - before.calls, self.writes - before.writes, self.metrics - before.metrics)

    def metric(self, name: str, **labels: str) -> int:
        """Return the sum of all series of a metric with these labels."""
        return sum(
            value for (each, its), value in self.metrics.items() if each == name and labels.items() <= its
        )

    def ready(self, kind: str) -> int:
        """Return the number of Ready objects of a kind."""
        return self.metric("objects", kind=kind, ready="True")

    @property
    def changes(self) -> Counter[str]:
        """Return the writes to Kubernetes without those of the Lease, which the operator always renews."""
        return Counter({what: count for what, count in self.writes.items() if _LEASES not in what})

    @property
    def policy_calls(self) -> int:
        """Return the number of reads and writes of project policies."""
        service = "google.cloud.resourcemanager.v3.Projects"
        return self.calls[f"{service}/GetIamPolicy"] + self.calls[f"{service}/SetIamPolicy"]


async def read(stage: Stage) -> Counts:
    """Read the current counts. On a busy machine, an answer may take several attempts.

    Raises:
        DemoError: a process has ended.

    """
    for _ in range(ATTEMPTS - 1):
        try:
            return await _read(stage)
        except TimeoutError:
            stage.parts.check()
    return await _read(stage)


async def _read(stage: Stage) -> Counts:
    async with stage.session.get(f"http://127.0.0.1:{stage.ports.operator}/metrics") as reply:
        text = await reply.text()
    metrics: Counter[tuple[str, Labels]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("cloudrun_identity_"):
                name = sample.name.removeprefix("cloudrun_identity_")
                metrics[name, frozenset(sample.labels.items())] = round(sample.value)
    return Counts(await stage.google.calls(), _writes(metrics), metrics)


async def until(stage: Stage, is_reached: Callable[[Counts], bool], what: str) -> Counts:
    """Wait until the counts satisfy a condition, and return them. Raises like `wait_for`."""
    return await wait_for(stage, lambda: read(stage), is_reached, what)


async def wait_for(
    stage: Stage,
    read_state: Callable[[], Awaitable[State]],
    is_reached: Callable[[State], bool],
    what: str,
    interval: float = POLL_INTERVAL,
) -> State:
    """Read the state at an interval until it satisfies a condition, `what`, and return it.

    Raises:
        DemoError: a process has ended, or the condition was not satisfied in time.

    """
    deadline = time.monotonic() + TIMEOUT
    while not is_reached(state := await read_state()):
        stage.parts.check()
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not after {TIMEOUT:g} s")
        await asyncio.sleep(interval)
    return state


async def until_quiet(stage: Stage) -> Counts:
    """Wait until the operator makes no calls and writes, except for the Lease."""
    quiet_since, last = time.monotonic(), await read(stage)

    def is_quiet(counts: Counts) -> bool:
        nonlocal quiet_since, last
        if (counts.calls, counts.changes) != (last.calls, last.changes):
            quiet_since, last = time.monotonic(), counts
        return time.monotonic() - quiet_since > QUIET

    return await until(stage, is_quiet, "the operator is idle")


async def over_intervals(stage: Stage, seconds: float, count: int) -> Counts:
    """Return the counts during this many drift intervals of `seconds`, after the first one."""
    await asyncio.sleep(seconds)
    before = await until_quiet(stage)
    await asyncio.sleep(seconds * count)
    return (await until_quiet(stage)).since(before)


def _writes(metrics: Counter[tuple[str, Labels]]) -> Counter[str]:
    writes: Counter[str] = Counter()
    for (name, labels), value in metrics.items():
        if name == "kubernetes_writes_total":
            named = dict(labels)
            writes[f"{named['verb']} {named['resource']}"] += value
    return writes
