"""The run of the checks: one after the other, in one sandbox that is cleaned up at the end."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cloudrun_identity.gcp.errors import GoogleError

from .beliefs import Belief, Cost, Observation, Result, described, undecided
from .sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one belief."""

    belief: Belief
    """The belief."""
    observations: tuple[Observation, ...] = ()
    """The answers of Google Cloud; none if the check was skipped."""
    seconds: float = 0.0
    """Duration of the check."""

    @property
    def result(self) -> Result:
        """FALSE if an observation refutes the belief, and HOLDS if all observations confirm it."""
        results = {observation.result for observation in self.observations}
        for result in (Result.FALSE, Result.UNKNOWN, Result.HOLDS):
            if result in results:
                return result
        return Result.SKIPPED


async def check_all(
    beliefs: Sequence[Belief], sandbox: Sandbox, costs: Collection[Cost], progress: Callable[[str], None]
) -> tuple[Finding, ...]:
    """Check the beliefs with the selected costs. `progress` receives a line before each check."""
    findings: list[Finding] = []
    for belief in beliefs:
        if belief.cost not in costs:
            findings.append(Finding(belief))
            continue
        progress(f"checking {belief.id}")
        findings.append(await check(belief, sandbox))
    return tuple(findings)


async def check(belief: Belief, sandbox: Sandbox) -> Finding:
    """Check one belief. A failed call that the check does not expect decides nothing."""
    observations: list[Observation] = []
    started = time.monotonic()
    try:
        async for observation in belief.check(sandbox):
            observations.append(observation)  # noqa: PERF401 - kept if the check fails later
    except GoogleError as error:
        observations.append(undecided(f"{error.method} {error.resource}".strip(), described(error)))
    except TimeoutError as error:
        observations.append(undecided("the rest of the check", str(error)))
    return Finding(belief, tuple(observations), time.monotonic() - started)
