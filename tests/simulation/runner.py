"""Run one history in a new world, and check the invariants."""

import gc
import random
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from . import loop as simulated
from .execution import Execution
from .expectation import Expectation
from .invariants import AtTheEnd, DuringHistory, end_state
from .keys import pooled_keys
from .result import Result
from .steps import History
from .world import World, installed


def run(history: History, *, opens_projects: bool = True) -> Result:
    """Run a history. `opens_projects` restores the usual spec of all ManagedProjects at the end.

    An error of the simulation is a violation, too.
    """
    result = Result()
    with (
        simulated.seeded(history.seed) as source,
        pooled_keys(),
        tempfile.TemporaryDirectory() as directory,
        _without_collection(),
    ):
        try:
            simulated.run(
                lambda loop: _run(
                    history, source, Path(directory), loop, result, opens_projects=opens_projects
                )
            )
        except Exception as error:
            result.trace.extend(traceback.format_exc().splitlines())
            result.violated(f"the simulation failed: {error!r}")
    return result


async def _run(
    history: History,
    source: random.Random,
    directory: Path,
    loop: simulated.SimulatedLoop,
    result: Result,
    *,
    opens_projects: bool,
) -> None:
    world = World(source, directory, result.trace)
    result.checkpoints = world.checkpoints
    with installed(world, loop):
        async with world.running():
            expectation = Expectation(world)
            during = DuringHistory(world, loop, expectation, result)
            execution = Execution(world, loop, expectation, result)

            def after_step() -> None:
                expectation.note_step(loop.time())
                during.update()

            await execution.run(history, after_step)
            await execution.settle(opens_projects=opens_projects)
            for violation in AtTheEnd(world, expectation).violations():
                result.violated(violation)
            result.end = end_state(world, expectation.objects())
            result.seconds = loop.time()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect garbage only after a history: collections during it find little, and take long."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
        _keep_what_is_shared()


@cache
def _keep_what_is_shared() -> None:
    """Exclude modules and caches, which the first history has filled, from all later collections."""
    gc.freeze()
