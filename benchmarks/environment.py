"""The environment of a benchmark: an API server, an emulator, and many objects applied at once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.stage import Stage, set_up
from cloudrun_identity_playground.emulator.latency import Latency

_CONCURRENT_APPLIES = 32  # more would only wait in the API server


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


async def apply_all(stage: Stage, objs: Iterable[Object]) -> None:
    """Apply the objects, a limited number at a time."""
    slots = asyncio.Semaphore(_CONCURRENT_APPLIES)

    async def apply(obj: Object) -> None:
        async with slots:
            await stage.cluster.apply(obj)

    await asyncio.gather(*map(apply, objs))
