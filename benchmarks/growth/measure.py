"""Measure the costs of increasing numbers of bindings on the embedded API."""

import time
from collections.abc import Callable, Iterable

from benchmarks import process, syncers
from benchmarks.bindings import NAMESPACE, Bindings
from benchmarks.counts import Counts
from benchmarks.environment import RARELY, apply_all, start_operator, started
from benchmarks.settling import KIND, READ, all_ready, operator_pid, settled
from cloudrun_identity_playground.demo.stage import OPERATOR, OPERATOR_NAMESPACE

from .data import Growth, Point, policies_of

OBJECTS = (100, 300, 1_000, 3_000, 10_000)
MORE_OBJECTS = 30_000
"""Measured with --full only: a quarter of an hour."""


async def measure(
    sizes: Iterable[int], per_policy: int, conditions: str, progress: Callable[[str], None]
) -> Growth:
    """Measure each number of bindings. Raises DemoError."""
    progress("growth: an operator with one object")
    one = await _measure(Bindings(1, 1))
    progress(f"growth: {syncers.SAMPLE_MEMBERS} grants one by one")
    (sample,) = (await syncers.sample_one_by_one([0])).values()
    points = []
    for size in sorted(sizes):
        bindings = Bindings(size, policies_of(size, per_policy))
        progress(f"growth: {size:,} bindings, policies: {bindings.policies}")
        points.append(await _measure(bindings))
    return Growth(conditions, one.memory, one.restart_cpu, sample.seconds_each, tuple(points))


async def _measure(bindings: Bindings) -> Point:
    def are_looked_at(now: Counts) -> bool:
        return now.ready(KIND) == bindings.size and now.calls[READ] >= reads + bindings.policies

    async with started(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        await apply_all(stage, [*bindings.projects(RARELY), *bindings.objects()])
        launched = time.monotonic()
        await start_operator(stage)
        ready = await all_ready(stage, bindings.size)
        memory = process.peak_memory(operator_pid(stage))
        reads, writes = ready.reads, ready.writes
        await stage.parts.stop(OPERATOR)
        restarted = time.monotonic()
        await start_operator(stage)
        looked_at = await settled(stage, are_looked_at, "all are reconciled or compared", bindings.size)
        return Point(
            objects=bindings.size,
            policies=bindings.policies,
            reads=reads,
            writes=writes,
            seconds=ready.time - launched,
            cpu=ready.cpu,
            memory=memory,
            restart_reads=looked_at.reads - reads,
            restart_seconds=looked_at.time - restarted,
            restart_cpu=looked_at.cpu,
        )
