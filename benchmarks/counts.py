"""What has been called and written so far, from outside: the emulator's counts and the operator's metrics."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.stage import Stage

POLL_INTERVAL = 0.5  # seconds; each look costs the operator a rendering of its metrics
QUIET = 3.0  # seconds without a call or a write after which nothing more is expected
TIMEOUT = 600.0  # seconds until whatever is awaited must have come

SWEEP = "google.cloud.resourcemanager.v3.Projects/GetProject"
"""The call that every look for drift in a project begins with."""

_LEASES = "leases"

Sight = TypeVar("Sight")
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls to Google Cloud by RPC, writes to Kubernetes by `VERB RESOURCE`, and the operator's metrics."""

    calls: Counter[str]
    writes: Counter[str]
    metrics: Counter[tuple[str, Labels]]

    def since(self, before: "Counts") -> "Counts":
        """What has come since `before`."""
        return Counts(self.calls - before.calls, self.writes - before.writes, self.metrics - before.metrics)

    def metric(self, name: str, **labels: str) -> int:
        """The sum over all series of a metric that have these labels."""
        return sum(
            value for (each, its), value in self.metrics.items() if each == name and labels.items() <= its
        )

    def ready(self, kind: str) -> int:
        """How many objects of a kind are Ready."""
        return self.metric("objects", kind=kind, ready="True")

    @property
    def changes(self) -> Counter[str]:
        """The writes to Kubernetes but for those of the lease, which is renewed for ever."""
        return Counter({what: count for what, count in self.writes.items() if _LEASES not in what})

    @property
    def policy_calls(self) -> int:
        """Reads and writes of project policies."""
        service = "google.cloud.resourcemanager.v3.Projects"
        return self.calls[f"{service}/GetIamPolicy"] + self.calls[f"{service}/SetIamPolicy"]


async def read(stage: Stage) -> Counts:
    """Count everything up to now."""
    async with stage.session.get(f"http://127.0.0.1:{stage.ports.operator}/metrics") as reply:
        text = await reply.text()
    metrics: Counter[tuple[str, Labels]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("cloudrun_identity_"):
                name = sample.name.removeprefix("cloudrun_identity_")
                metrics[name, frozenset(sample.labels.items())] = round(sample.value)
    return Counts(await stage.google.calls(), _writes(metrics), metrics)


async def until(stage: Stage, retains: Callable[[Counts], bool], what: str) -> Counts:
    """Count until it holds; the counts of which it does. Raises like `seen`."""
    return await seen(stage, lambda: read(stage), retains, what)


async def seen(
    stage: Stage, look: Callable[[], Awaitable[Sight]], retains: Callable[[Sight], bool], what: str
) -> Sight:
    """Look until it holds; what is seen then. `what` is awaited, in words.

    Raises:
        DemoError: a part has ended, or it did not come to hold in time.

    """
    deadline = time.monotonic() + TIMEOUT
    while not retains(sight := await look()):
        stage.parts.check()
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not after {TIMEOUT:g} s")
        await asyncio.sleep(POLL_INTERVAL)
    return sight


async def until_quiet(stage: Stage) -> Counts:
    """Count until nothing more is called or written, but for the lease."""
    quiet_since, last = time.monotonic(), await read(stage)

    def is_quiet(counts: Counts) -> bool:
        nonlocal quiet_since, last
        if (counts.calls, counts.changes) != (last.calls, last.changes):
            quiet_since, last = time.monotonic(), counts
        return time.monotonic() - quiet_since > QUIET

    return await until(stage, is_quiet, "the operator comes to rest")


async def after_sweeps(stage: Stage, sweeps: int) -> Counts:
    """Count when a project was looked through so many more times."""
    before = await read(stage)
    await until(stage, lambda now: now.calls[SWEEP] >= before.calls[SWEEP] + sweeps, "a look for drift")
    return await until_quiet(stage)


def _writes(metrics: Counter[tuple[str, Labels]]) -> Counter[str]:
    writes: Counter[str] = Counter()
    for (name, labels), value in metrics.items():
        if name == "kubernetes_writes_total":
            of = dict(labels)
            writes[f"{of['verb']} {of['resource']}"] += value
    return writes
