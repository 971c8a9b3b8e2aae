"""Many grants on few policies: the cost of policy syncs while others write the same policies.

All objects exist before the operator starts. The emulator has the recorded latencies of Google Cloud.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from . import counts, other_writers, process
from .bindings import NAMESPACE, UNMANAGED_PROJECT_ID, Bindings
from .counts import Counts
from .environment import apply_all, started
from .figures import Benchmark, Figure
from .other_writers import OneByOne, OtherWriter

RARE_RESYNC = "24h"
SAMPLE_MEMBERS = 20  # of the one-by-one sample
SAMPLE_SECONDS = 30.0  # the longest duration of the sample

_KIND = "IAMBinding"


@dataclass(frozen=True, slots=True)
class Case:
    """A number of objects, policies and other writers."""

    bindings: Bindings
    writers: int

    @property
    def title(self) -> str:
        """Return the title in tables."""
        policies = self.bindings.policies
        noun = "buckets" if self.bindings.buckets else "policy" if policies == 1 else "policies"
        return f"{self.bindings.size:,} grants over {policies} {noun}"

    @property
    def name(self) -> str:
        """Return the key in JSON."""
        buckets = " buckets" if self.bindings.buckets else ""
        return f"{self.bindings.size} over {self.bindings.policies}{buckets}"

    @property
    def variant(self) -> str:
        """Return the heading of the column in tables."""
        return _variant(self.writers)

    @property
    def contended(self) -> int:
        """Return the number of policies with other writers."""
        return min(self.writers, self.bindings.policies)

    @property
    def writers_each(self) -> int:
        """Return the number of other writers per contended policy."""
        return self.writers // self.contended if self.contended else 0


Sample = dict[int, OneByOne]
"""Results of granting one by one, by the number of other writers of the policy."""


async def sample_one_by_one(writers: Iterable[int]) -> Sample:
    """Grant a few members one by one, once for each number of other writers.

    Raises:
        DemoError: a process does not start or ends early.

    """
    sample = {}
    for count in writers:
        async with (
            started(Bindings(0, 1).write_seed) as stage,
            other_writers.connected(stage.ports.google_grpc) as channel,
            other_writers.writing(channel, [UNMANAGED_PROJECT_ID], count),
        ):
            sample[count] = await other_writers.grant_one_by_one(
                channel, members=SAMPLE_MEMBERS, budget=SAMPLE_SECONDS
            )
    return sample


def sample_figures(sample: Sample) -> list[Benchmark]:
    """Return the figures of the one-by-one samples."""
    return [
        Benchmark(
            "one_by_one",
            f"one by one: {SAMPLE_MEMBERS} members, or {SAMPLE_SECONDS:g} s",
            (
                Figure("granted", "members granted", tried.members),
                Figure("reads", "reads", tried.tally.reads),
                Figure("writes", "writes", tried.tally.writes),
                Figure("aborted", "aborted writes", tried.tally.aborted),
                Figure("seconds", "seconds", tried.seconds, decimals=1),
            ),
            _variant(writers),
        )
        for writers, tried in sample.items()
    ]


async def measure(case: Case, sample: Sample) -> Benchmark:
    """Measure one case on the embedded API. The baseline is scaled from the one-by-one sample.

    Raises:
        DemoError: a process does not start or ends early, or the objects are not granted in time.

    """
    bindings = case.bindings
    async with (
        started(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage,
        other_writers.connected(stage.ports.google_grpc) as channel,
    ):
        await apply_all(stage, [*bindings.projects(RARE_RESYNC), *bindings.objects()])
        async with other_writers.writing(channel, bindings.project_ids, case.writers) as writers:
            launched = time.monotonic()
            await stage.start_operator()
            pid = stage.parts.pids[-1]  # the operator was started last
            start = process.cpu_seconds(pid)
            ready = time.monotonic()
            await counts.until(stage, lambda now: _granted(now) == bindings.size, "all are granted")
            ended = time.monotonic()
        spent = await counts.until_quiet(stage)
        cpu = process.cpu_seconds(pid) - start
        figures = [
            *_google(case, spent),
            *_beside(case, writers, [await writer.has_lost() for writer in writers]),
            *_kubernetes(bindings, spent),
            Figure(
                "seconds",
                "seconds until all are Ready",
                ended - ready,
                baseline=_one_by_one_seconds(case, sample),
                decimals=1,
            ),
            Figure("start_seconds", "seconds to start the operator", ready - launched, decimals=1),
            Figure("cpu_ms", "CPU ms per grant", cpu / bindings.size * 1e3, decimals=2),
        ]
        figures.insert(0, _calls(case, spent, sample))
        if not case.writers:
            figures += await _idle(stage, bindings)
        figures.append(Figure("peak_mib", "peak MiB of the operator", process.peak_memory(pid)))
        return Benchmark(case.name, case.title, tuple(figures), case.variant)


async def _idle(stage: Stage, bindings: Bindings) -> Iterator[Figure]:
    """Return the figures of one resync of every project without drift."""
    # A resync follows the last one after 0.9 to 1.1 intervals. The interval must be longer than the first
    # resyncs of all projects take, so that none is counted twice.
    interval = max(20, bindings.policies, bindings.size // 50)
    await apply_all(stage, bindings.projects(f"{interval}s"))
    before = await counts.until_quiet(stage)
    await counts.until(
        stage, lambda now: _sync(bindings, now.since(before)) >= bindings.policies, "all are resynced"
    )
    spent = (await counts.until_quiet(stage)).since(before)
    return iter(
        (
            Figure("idle_syncs", "idle, one resync: policy syncs", _sync(bindings, spent)),
            Figure("idle_reads", "reads of policies", _policy_calls(bindings, spent, "Get"), is_part=True),
            Figure("idle_writes", "writes of policies", _policy_calls(bindings, spent, "Set"), is_part=True),
            Figure("idle_kubernetes", "writes to Kubernetes", spent.changes.total(), is_part=True),
        )
    )


def _google(case: Case, spent: Counts) -> Iterator[Figure]:
    bindings, policies = case.bindings, case.bindings.policies
    aborted = _policy_calls(bindings, spent, "Set", code="ABORTED")
    reads, writes = (_policy_calls(bindings, spent, verb) for verb in ("Get", "Set"))
    yield Figure("syncs", "policy syncs", _sync(bindings, spent), is_part=True)
    yield Figure("reads", "reads", reads, is_part=True)
    yield Figure("writes", "writes", writes - aborted, is_part=True)
    yield Figure("per_policy", "both per policy", (reads + writes) / policies, decimals=2, is_part=True)
    yield Figure("aborted", "aborted writes", aborted, is_part=True)


def _calls(case: Case, spent: Counts, sample: Sample) -> Figure:
    calls = sum(_policy_calls(case.bindings, spent, verb) for verb in ("Get", "Set"))
    contended, free = sample[case.writers_each], sample[0]
    share = case.contended / case.bindings.policies
    each = free.calls_each * (1 - share) + (contended.calls_each * share if share else 0.0)
    return Figure(
        "calls", "reads and writes of policies", calls, baseline=_unless_never(case.bindings.size * each)
    )


def _one_by_one_seconds(case: Case, sample: Sample) -> float | None:
    """Return the seconds of the slowest policy, because policies are independent of each other."""
    members = math.ceil(case.bindings.size / case.bindings.policies)
    return _unless_never(members * max(sample[0].seconds_each, sample[case.writers_each].seconds_each))


def _unless_never(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _beside(case: Case, writers: Sequence[OtherWriter], lost: Sequence[bool]) -> Iterator[Figure]:
    if case.writers:
        tallies = [writer.client.tally for writer in writers]
        yield Figure("other_writes", "writes of other writers", sum(tally.writes for tally in tallies))
        yield Figure("other_aborted", "aborted writes", sum(tally.aborted for tally in tallies), is_part=True)
        yield Figure("other_lost", "lost writes", sum(lost), is_part=True)


def _kubernetes(bindings: Bindings, spent: Counts) -> Iterator[Figure]:
    ledgers = sum(count for what, count in spent.writes.items() if "policyledgers" in what)
    yield Figure("ledger_writes", "writes of ledgers", ledgers)
    yield Figure(
        "kubernetes_each",
        "other writes to Kubernetes per object",
        (spent.changes.total() - ledgers) / bindings.size,
        decimals=2,
    )
    for what, count in sorted(spent.changes.items()):
        if "policyledgers" not in what:
            yield Figure(f"kubernetes_each {what}", what, count / bindings.size, decimals=2, is_part=True)


def _policy_calls(bindings: Bindings, now: Counts, verb: str, **labels: str) -> int:
    """Return the number of reads (`Get`) or writes (`Set`) of policies."""
    method = f"{TARGET_KINDS[bindings.kind].policy_service}/{verb}IamPolicy"
    return now.metric("google_calls_total", method=method, **labels)


def _granted(now: Counts) -> int:
    return now.ready(_KIND)


def _sync(bindings: Bindings, now: Counts) -> int:
    return now.metric("policy_syncs_total", target_kind=bindings.kind.value)


def _variant(writers: int) -> str:
    return {0: "no other writer", 1: "1 other writer"}.get(writers, f"{writers} other writers")
