"""The start of the operator: processor time until it acts, and memory without objects."""

import asyncio
import statistics

from benchmarks import process
from benchmarks.bindings import NAMESPACE, Bindings
from benchmarks.environment import RARELY, apply_all, start_operator, started
from benchmarks.settling import READ, all_ready, operator_pid
from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.stage import OPERATOR, OPERATOR_NAMESPACE, Stage

from .goals import Rows

STARTS = 3
_POLL_INTERVAL = 0.02  # seconds
_ACTS_WITHIN = 60.0  # seconds


async def measure(rows: Rows) -> None:
    """Measure an operator without objects, and several starts with one binding. Raises DemoError."""
    bindings = Bindings(1, 1)
    async with started(bindings.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        await start_operator(stage)
        await all_ready(stage, 0)
        pid = operator_pid(stage)
        rows.add("idle_memory", process.peak_memory(pid))
        rows.add_part("idle_memory", "resident", process.resident_memory(pid), "MiB")
        rows.add_part("idle_memory", "of the imports alone", process.memory_of_imports(), "MiB")
        await apply_all(stage, [*bindings.projects(RARELY), *bindings.objects()])
        await all_ready(stage, 1)
        spent = []
        for _ in range(STARTS):
            await stage.parts.stop(OPERATOR)
            spent.append(await _cpu_until_it_acts(stage))
        rows.add("start_cpu", statistics.median(spent))


async def _cpu_until_it_acts(stage: Stage) -> float:
    """Start the operator, and return its processor time when it reads the policy of the binding."""
    before = (await stage.google.calls())[READ]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _ACTS_WITHIN
    start = asyncio.create_task(start_operator(stage))
    try:
        while (await stage.google.calls())[READ] == before:
            if loop.time() > deadline or _has_failed(start):
                raise DemoError(f"the operator did not read a policy within {_ACTS_WITHIN:g} s")
            await asyncio.sleep(_POLL_INTERVAL)
        return process.cpu_seconds(operator_pid(stage))
    finally:
        await start


def _has_failed(start: "asyncio.Task[float]") -> bool:
    return start.done() and start.exception() is not None
