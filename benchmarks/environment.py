"""The environment of a benchmark: an API server, an emulator, and many objects applied at once."""

import asyncio
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cloudrun_identity import __version__
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.stage import Stage, set_up
from cloudrun_identity_playground.emulator.latency import Latency

CONCURRENT_REQUESTS = 32
"""Requests at the same time; more would only wait in the API server."""

RARELY = "24h"
"""Drift interval without a resync during a measurement."""

_LEASE_DURATION = "2m"


@asynccontextmanager
async def started(write_seed: Callable[[Path], None], *namespaces: str) -> AsyncIterator[Stage]:
    """Start an embedded API server with the CRDs and namespaces, and an emulator with recorded latencies.

    `write_seed(path)` writes the initial content of the emulator.
    """
    with tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory:
        seed = Path(directory) / "seed.yaml"
        write_seed(seed)
        async with set_up(None, seed=seed, latency=Latency.RECORDED) as stage:
            await stage.cluster.install_definitions()
            for name in namespaces:
                await stage.cluster.install_namespace(name)
            yield stage


async def start_operator(stage: Stage) -> float:
    """Start an operator that keeps its Lease also on a busy machine. Return the seconds until it is ready."""
    return await stage.start_operator(CLOUDRUN_IDENTITY_RUN_LEASE_DURATION=_LEASE_DURATION)


async def apply_all(stage: Stage, objs: Iterable[Object]) -> None:
    """Apply the objects, a limited number at a time."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def apply(obj: Object) -> None:
        async with slots:
            await stage.cluster.apply(obj)

    await asyncio.gather(*map(apply, objs))


async def apply_over(stage: Stage, objs: Sequence[Object], seconds: float) -> None:
    """Apply the objects evenly over a time, or as fast as the API server accepts them."""
    start = time.monotonic()
    batches = [objs[at : at + CONCURRENT_REQUESTS] for at in range(0, len(objs), CONCURRENT_REQUESTS)]
    for number, batch in enumerate(batches):
        await asyncio.sleep(max(0.0, start + seconds * number / len(batches) - time.monotonic()))
        await apply_all(stage, batch)


def conditions() -> str:
    """Return the version of the operator and the machine, in one line."""
    described = subprocess.run(
        ["git", "log", "-1", "--format=%h of %cs"], capture_output=True, text=True, check=False
    )
    commit = described.stdout.strip()
    version = f"{__version__} at {commit}" if commit else __version__
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"Version {version}; {cores} cores, Python {python}, load {load:.1f}."
