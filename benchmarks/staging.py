"""The stage that a benchmark plays on, and many objects put on it at once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.stage import Stage, set_up
from cloudrun_identity_playground.emulator.latency import Latency

_APPLIED_AT_ONCE = 32  # more only wait in the API server


@asynccontextmanager
async def staged(write_seed: Callable[[Path], None], *namespaces: str) -> AsyncIterator[Stage]:
    """An embedded API with our kinds and these namespaces, and a Google Cloud as slow as the recorded one.

    `write_seed(path)` writes what is in the cloud.
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
    """Apply the objects, some at a time."""
    turns = asyncio.Semaphore(_APPLIED_AT_ONCE)

    async def apply(obj: Object) -> None:
        async with turns:
            await stage.cluster.apply(obj)

    await asyncio.gather(*map(apply, objs))
