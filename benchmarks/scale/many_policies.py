"""One fleet of many bindings: it arrives, the operator restarts, is edited meanwhile, and idles."""

import asyncio
import statistics
import time
from collections import Counter

from benchmarks import counts, process
from benchmarks.bindings import NAMESPACE, Bindings
from benchmarks.counts import Counts
from benchmarks.environment import RARELY, apply_all, apply_over, start_operator, started
from benchmarks.settling import KIND, READ, WRITE, Snapshot, all_ready, operator_pid, settled, snapshot
from cloudrun_identity.kube import objects
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.cluster import Readiness
from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.stage import OPERATOR, OPERATOR_NAMESPACE, Stage

from .goals import Rows

INTERVAL = 30
"""Seconds: the drift interval while the operator is idle. Costs are stated per interval."""
INTERVALS = 4
"""Number of measured intervals."""
EDITS = 10

_EDIT_WITHIN = 120.0  # seconds
_EDIT_POLL = 0.05  # seconds
_LIST = "/List"
_RUN = "google.cloud.run."


async def measure(rows: Rows) -> None:
    """Measure the many bindings. Raises DemoError."""
    sizes = rows.sizes
    bindings = Bindings(sizes.many, sizes.policies)
    async with started(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        await apply_all(stage, bindings.projects(RARELY))
        await start_operator(stage)
        await _arrive(rows, stage, bindings)
        await stage.parts.stop(OPERATOR)
        await _restart(rows, stage, bindings)
        await stage.parts.stop(OPERATOR)
        await apply_all(stage, bindings.projects(f"{INTERVAL}s"))
        await start_operator(stage)
        await _edit(rows, stage, bindings)
        await _idle(rows, stage, bindings)


async def _arrive(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    projects = len(bindings.project_ids)
    await settled(stage, lambda now: now.ready("ManagedProject") == projects, "the projects are Ready", 0)
    before = await snapshot(stage)
    await apply_over(stage, bindings.objects(), rows.sizes.arrival_seconds)
    applied = time.monotonic()
    ready = await all_ready(stage, bindings.size)
    pid = operator_pid(stage)
    rows.add("arrival_cpu", (ready.cpu - before.cpu) / bindings.size * 1e3)
    rows.add_part(
        "arrival_cpu", "writes to Kubernetes per object", _changes_each(before, ready, bindings), "writes", 2
    )
    rows.add("arrival_writes", ready.writes - before.writes)
    rows.add_part("arrival_writes", "policy reads", ready.reads - before.reads, "reads")
    rows.add_part("arrival_writes", "until all are applied", applied - before.time, "s")
    rows.add_part("arrival_writes", "until all are Ready", ready.time - before.time, "s")
    rows.add("memory", process.peak_memory(pid))
    rows.add_part("memory", "resident", process.resident_memory(pid), "MiB")


async def _restart(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    before = await stage.google.calls()
    launched = time.monotonic()
    await start_operator(stage)
    acting = time.monotonic()
    policies = before[READ] + bindings.policies

    def are_compared(now: Counts) -> bool:
        return now.ready(KIND) == bindings.size and now.calls[READ] >= policies

    ended = await settled(stage, are_compared, "all are reconciled or compared", bindings.size)
    pid = operator_pid(stage)
    rows.add("restart_reads", ended.reads - before[READ])
    rows.add("restart_writes", ended.writes - before[WRITE])
    rows.add_part("restart_writes", "writes to Kubernetes", ended.counts.changes.total(), "writes")
    rows.add("restart_cpu", ended.cpu / bindings.size * 1e3)
    rows.add("restart_seconds", ended.time - launched)
    rows.add_part("restart_seconds", "until /readyz", acting - launched, "s", 1)
    rows.add_part("restart_seconds", "peak memory", process.peak_memory(pid), "MiB")


async def _edit(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    client = await connect(stage.kubeconfig)
    try:
        seconds: list[float] = []
        for edited in bindings.edited(EDITS):
            taken = await _seconds_until_ready(client, stage, edited)
            if not (await counts.read(stage)).metric("queue_depth"):
                break
            seconds.append(taken)
    finally:
        await client.close()
    if seconds:
        rows.add("edit_seconds", statistics.median(seconds))
        rows.add_part("edit_seconds", "longest", max(seconds), "s", 1)
        rows.add_part("edit_seconds", "edits while other objects wait", len(seconds), "edits")


async def _seconds_until_ready(client: KubeClient, stage: Stage, obj: Object) -> float:
    """Apply an edit, and return the seconds until the object is Ready in its new generation."""
    name, resource = obj["metadata"]["name"], objects.resource(KIND)
    start = time.monotonic()
    await stage.cluster.apply(obj)
    while not Readiness.of(await client.get(resource, name, NAMESPACE)).is_ready:
        if time.monotonic() - start > _EDIT_WITHIN:
            raise DemoError(f"{KIND} {name}: not Ready {_EDIT_WITHIN:g} s after an edit")
        await asyncio.sleep(_EDIT_POLL)
    return time.monotonic() - start


async def _idle(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    await counts.until(stage, lambda now: _is_idle(now, bindings.size), "the operator is idle")
    await asyncio.sleep(INTERVAL)  # the first resyncs follow the start of all projects
    before = await snapshot(stage)
    await asyncio.sleep(INTERVAL * INTERVALS)
    after = await snapshot(stage)
    calls = after.counts.since(before.counts).calls
    lists = Counter({rpc: count for rpc, count in calls.items() if _LIST in rpc})
    workloads = sum(count for rpc, count in lists.items() if rpc.startswith(_RUN))
    rows.add("idle_calls", (calls - lists).total() / INTERVALS)
    for rpc, count in sorted((calls - lists).items()):
        rows.add_part("idle_calls", rpc.rpartition(".")[2], count / INTERVALS, "calls")
    rows.add("idle_lists", workloads / INTERVALS)
    rows.add("idle_cpu", (after.cpu - before.cpu) / INTERVALS * (10_000 / bindings.size))


def _is_idle(now: Counts, size: int) -> bool:
    return now.ready(KIND) == size and not now.metric("queue_depth")


def _changes_each(before: Snapshot, after: Snapshot, bindings: Bindings) -> float:
    """Return the writes to Kubernetes per object, without those of the Lease."""
    return after.counts.since(before.counts).changes.total() / bindings.size
