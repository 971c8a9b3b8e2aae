"""Many bindings of one policy: applied at once, and deleted at once."""

import asyncio
import time

from benchmarks import process
from benchmarks.bindings import NAMESPACE, Bindings
from benchmarks.environment import CONCURRENT_REQUESTS, RARELY, apply_all, start_operator, started
from benchmarks.settling import KIND, all_ready, operator_pid, settled, snapshot
from cloudrun_identity.kube import objects
from cloudrun_identity.kube.client import connect
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from .goals import Rows


async def measure(rows: Rows) -> None:
    """Measure arrival and deletion of the few bindings. Raises DemoError."""
    bindings = Bindings(rows.sizes.few, 1)
    async with started(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        await start_operator(stage)
        await apply_all(stage, bindings.projects(RARELY))
        await _arrive(rows, stage, bindings)
        await _delete(rows, stage, bindings)


async def _arrive(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    await settled(stage, lambda now: now.ready("ManagedProject") == 1, "the project is Ready", 0)
    before = await snapshot(stage)
    await apply_all(stage, bindings.objects())
    ready = await all_ready(stage, bindings.size)
    rows.add("arrival_few_cpu", (ready.cpu - before.cpu) / bindings.size * 1e3)
    rows.add_part("arrival_few_cpu", "policy reads", ready.reads - before.reads, "reads")
    rows.add_part("arrival_few_cpu", "policy writes", ready.writes - before.writes, "writes")
    rows.add_part("arrival_few_cpu", "seconds until all are Ready", ready.time - before.time, "s", 1)


async def _delete(rows: Rows, stage: Stage, bindings: Bindings) -> None:
    client = await connect(stage.kubeconfig)
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def delete(name: str) -> None:
        async with slots:
            await client.delete(objects.resource(KIND), name, NAMESPACE)

    try:
        before = await snapshot(stage)
        await asyncio.gather(*(delete(each["metadata"]["name"]) for each in bindings.objects()))
        accepted = time.monotonic()
        deleted = await settled(
            stage, lambda now: not now.metric("objects", kind=KIND), "all are deleted", bindings.size
        )
    finally:
        await client.close()
    rows.add("deletion_reads", deleted.reads - before.reads)
    rows.add("deletion_writes", deleted.writes - before.writes)
    rows.add("deletion_seconds", deleted.time - before.time)
    rows.add_part("deletion_seconds", "until the API server has accepted all", accepted - before.time, "s", 1)
    rows.add_part(
        "deletion_seconds",
        "processor time per object",
        (deleted.cpu - before.cpu) / bindings.size * 1e3,
        "ms",
        2,
    )
    rows.add_part("deletion_seconds", "peak memory", process.peak_memory(operator_pid(stage)), "MiB")
