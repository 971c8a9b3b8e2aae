"""Many objects, few policies: what the policy engine costs while others write the same policies.

Everything is applied before the operator starts, so that all of it is there at once. Google Cloud answers as
slowly as the real one was seen to.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from . import counts, others, process
from .bindings import NAMESPACE, UNMANAGED_PROJECT_ID, Bindings
from .counts import Counts
from .figures import Benchmark, Figure
from .others import ForeignWriter, OneByOne
from .staging import apply_all, staged

RARE_SWEEPS = "24h"
SAMPLE_MEMBERS = 20  # that the other tools' way is tried with
SAMPLE_SECONDS = 30.0  # and for no longer than this

_KIND = "IAMBinding"
_GET, _SET = (f"google.cloud.resourcemanager.v3.Projects/{verb}IamPolicy" for verb in ("Get", "Set"))


@dataclass(frozen=True, slots=True)
class Case:
    """So many objects, policies and foreign writers."""

    bindings: Bindings
    writers: int

    @property
    def title(self) -> str:
        """What tables call it."""
        policies = self.bindings.policies
        return f"{self.bindings.size:,} grants over {policies} {'policy' if policies == 1 else 'policies'}"

    @property
    def variant(self) -> str:
        """How tables head its column."""
        return _variant(self.writers)

    @property
    def contended(self) -> int:
        """How many of the policies somebody else writes."""
        return min(self.writers, self.bindings.policies)

    @property
    def writers_each(self) -> int:
        """How many others write each of these."""
        return self.writers // self.contended if self.contended else 0


Sample = dict[int, OneByOne]
"""How one by one fared, by the number of others that wrote the same policy."""


async def sample_one_by_one(writers: Iterable[int]) -> Sample:
    """Try the other tools' way on a few members, while each of these numbers of others write.

    Raises:
        DemoError: a part does not start or ends.

    """
    sample = {}
    for count in writers:
        async with (
            staged(Bindings(0, 1).write_seed) as stage,
            others.connected(stage.ports.google_grpc) as channel,
            others.writing(channel, [UNMANAGED_PROJECT_ID], count),
        ):
            sample[count] = await others.grant_one_by_one(
                channel, members=SAMPLE_MEMBERS, budget=SAMPLE_SECONDS
            )
    return sample


def tell_sample(sample: Sample) -> list[Benchmark]:
    """What was tried of the other tools' way."""
    return [
        Benchmark(
            "one_by_one",
            f"one by one, as others do it: {SAMPLE_MEMBERS} members, or {SAMPLE_SECONDS:g} s",
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
    """Measure one case on the embedded API; what one by one would take is scaled from the sample.

    Raises:
        DemoError: a part does not start, ends, or the objects are not all granted in time.

    """
    bindings = case.bindings
    async with (
        staged(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage,
        others.connected(stage.ports.google_grpc) as channel,
    ):
        await apply_all(stage, [*bindings.projects(RARE_SWEEPS), *bindings.objects()])
        async with others.writing(channel, bindings.project_ids, case.writers) as writers:
            began = time.monotonic()
            await stage.start_operator()
            pid = stage.parts.pids[-1]  # it was started last
            start = process.cpu_seconds(pid)
            ready = time.monotonic()
            await counts.until(stage, lambda now: _granted(now) == bindings.size, "all are granted")
            ended = time.monotonic()
        spent = await counts.until_quiet(stage)
        cpu = process.cpu_seconds(pid) - start
        figures = [
            *_google(spent),
            *_beside(case, writers, [await writer.has_lost() for writer in writers]),
            *_kubernetes(bindings, spent),
            Figure(
                "seconds",
                "seconds until all are Ready",
                ended - ready,
                baseline=_one_by_one_seconds(case, sample),
                decimals=1,
            ),
            Figure("start_seconds", "seconds that the operator takes to start", ready - began, decimals=1),
            Figure("cpu_ms", "CPU ms per grant", cpu / bindings.size * 1e3, decimals=2),
        ]
        figures.insert(0, _calls(case, spent, sample))
        if not case.writers:
            figures += await _idle(stage, bindings)
        figures.append(Figure("peak_mib", "MiB of the operator, at most", process.peak_memory(pid)))
        name = f"{bindings.size} over {bindings.policies}"
        return Benchmark(name, case.title, tuple(figures), case.variant)


async def _idle(stage: Stage, bindings: Bindings) -> Iterator[Figure]:
    """One sweep of every project, with nothing to do."""
    # Projects are swept 0.7 to 1 intervals after the last sweep: all of them once within one interval. The
    # rest, in which it comes to rest, has to be longer than the first sweeps of all projects take.
    interval = max(20, bindings.policies, bindings.size // 50)
    await apply_all(stage, bindings.projects(f"{interval}s"))
    before = await counts.until_quiet(stage)
    await counts.until(
        stage, lambda now: _sync(now.since(before)) >= bindings.policies, "all projects are swept"
    )
    spent = (await counts.until_quiet(stage)).since(before)
    return iter(
        (
            Figure("idle_passes", "left alone, one look for drift: passes over policies", _sync(spent)),
            Figure("idle_reads", "reads of policies", _google_calls(spent, _GET), is_part=True),
            Figure("idle_writes", "writes of policies", _google_calls(spent, _SET), is_part=True),
            Figure("idle_kubernetes", "writes to Kubernetes", spent.changes.total(), is_part=True),
        )
    )


def _google(spent: Counts) -> Iterator[Figure]:
    aborted = _google_calls(spent, _SET, code="ABORTED")
    yield Figure("passes", "passes over policies", _sync(spent), is_part=True)
    yield Figure("reads", "reads", _google_calls(spent, _GET), is_part=True)
    yield Figure("writes", "writes", _google_calls(spent, _SET) - aborted, is_part=True)
    yield Figure("aborted", "aborted writes", aborted, is_part=True)


def _calls(case: Case, spent: Counts, sample: Sample) -> Figure:
    calls = _google_calls(spent, _GET) + _google_calls(spent, _SET)
    contended, free = sample[case.writers_each], sample[0]
    share = case.contended / case.bindings.policies
    each = free.calls_each * (1 - share) + (contended.calls_each * share if share else 0.0)
    return Figure(
        "calls", "reads and writes of policies", calls, baseline=_unless_never(case.bindings.size * each)
    )


def _one_by_one_seconds(case: Case, sample: Sample) -> float | None:
    """Policies are independent of each other, so the one that takes longest decides."""
    members = math.ceil(case.bindings.size / case.bindings.policies)
    return _unless_never(members * max(sample[0].seconds_each, sample[case.writers_each].seconds_each))


def _unless_never(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _beside(case: Case, writers: Sequence[ForeignWriter], lost: Sequence[bool]) -> Iterator[Figure]:
    if case.writers:
        tallies = [writer.client.tally for writer in writers]
        yield Figure("foreign_writes", "writes of others", sum(tally.writes for tally in tallies))
        yield Figure("foreign_aborted", "aborted ones", sum(tally.aborted for tally in tallies), is_part=True)
        yield Figure("foreign_lost", "lost ones", sum(lost), is_part=True)


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


def _google_calls(now: Counts, method: str, **labels: str) -> int:
    return now.metric("google_calls_total", method=method, **labels)


def _granted(now: Counts) -> int:
    return now.ready(_KIND)


def _sync(now: Counts) -> int:
    return now.metric("policy_syncs_total", target_kind="Project")


def _variant(writers: int) -> str:
    return {0: "nobody else writes", 1: "1 other writes"}.get(writers, f"{writers} others write")
