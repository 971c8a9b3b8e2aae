"""Measured costs by number of objects, their growth, and the lower limits of any client."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.settling import READ, WRITE
from cloudrun_identity.gcp.ratelimit import DEFAULT_RATES, Api, CallKind
from cloudrun_identity_playground.emulator.latency import Latency

BINDINGS_PER_POLICY = 100
MOST_PER_POLICY = 1_000
"""The most grants that this benchmark has on one policy. A policy takes 1,500 members."""

WRITE_RATE = DEFAULT_RATES[Api.RESOURCE_MANAGER, CallKind.WRITE]
"""The operator's limit on writes of project policies."""


@dataclass(frozen=True, slots=True)
class Point:
    """Costs of one number of bindings, which exist when the operator starts."""

    objects: int
    """Number of bindings, of one member each."""
    policies: int
    """Number of projects, over which the bindings are evenly spread."""
    reads: int
    """Policy reads until all are Ready."""
    writes: int
    """Policy writes until all are Ready."""
    seconds: float
    """Seconds from the start of the operator until all are Ready."""
    cpu: float
    """Processor time of the operator until all are Ready, in seconds."""
    memory: float
    """Peak memory of the operator in MiB."""
    restart_reads: int
    """Policy reads after a restart in sync."""
    restart_seconds: float
    """Seconds from a restart until all are reconciled or compared."""
    restart_cpu: float
    """Processor time from a restart until all are reconciled or compared, in seconds."""

    @property
    def calls(self) -> int:
        """Return the reads and writes of policies."""
        return self.reads + self.writes


@dataclass(frozen=True, slots=True)
class Growth:
    """Measured points, and what they are compared with."""

    conditions: str
    """The version and the machine."""
    start_memory: float
    """Peak memory of an operator with one binding in MiB."""
    start_cpu: float
    """Processor time of a start with one binding in seconds."""
    seconds_one_by_one: float
    """Seconds of one grant by a read and a write of the policy, without other writers."""
    points: tuple[Point, ...]
    """Costs by number of objects, ascending."""


COSTS: Mapping[str, Callable[[Growth, Point], float]] = {
    "policy reads and writes": lambda _, point: point.calls,
    "seconds until all are Ready": lambda _, point: point.seconds,
    "processor time until all are Ready, beyond that with one object": lambda growth, point: (
        point.cpu - growth.start_cpu
    ),
    "peak memory, beyond that with one object": lambda growth, point: point.memory - growth.start_memory,
    "policy reads at a restart": lambda _, point: point.restart_reads,
    "seconds of a restart": lambda _, point: point.restart_seconds,
    "processor time of a restart, beyond that with one object": lambda growth, point: (
        point.restart_cpu - growth.start_cpu
    ),
}
"""Costs of which the growth is stated."""


def exponents(growth: Growth) -> dict[str, float]:
    """Return the exponent of each cost as a power of the number of objects."""
    return {
        name: exponent([(point.objects, cost(growth, point)) for point in growth.points])
        for name, cost in COSTS.items()
    }


def exponent(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line through the logarithms; NaN with fewer than two pairs.

    Pairs without a logarithm are left out.
    """
    logs = [(math.log(x), math.log(y)) for x, y in pairs if x > 0 and y > 0]
    if len({x for x, _ in logs}) < 2:
        return math.nan
    mean_x, mean_y = (sum(axis) / len(logs) for axis in zip(*logs, strict=True))
    covariance: float = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    spread: float = sum((x - mean_x) ** 2 for x, _ in logs)
    return covariance / spread


def policies_of(objects: int, per_policy: int = BINDINGS_PER_POLICY) -> int:
    """Return the number of policies of a number of bindings."""
    return max(1, math.ceil(objects / per_policy))


def least_calls(policies: int) -> int:
    """Return the calls that any client needs: a read and a write of each policy."""
    return 2 * policies


def least_seconds(policies: int) -> float:
    """Return the seconds that any client needs within the limit on writes, if it writes each policy once."""
    latency = Latency.RECORDED.seconds(READ) + Latency.RECORDED.seconds(WRITE)
    return latency + _waiting(policies)


def calls_one_by_one(objects: int) -> int:
    """Return the calls of a client that reads and writes the policy for each grant."""
    return 2 * objects


def seconds_one_by_one(growth: Growth, point: Point) -> float:
    """Return the seconds of such a client, which works on all policies in parallel within the limit."""
    in_parallel = math.ceil(point.objects / point.policies) * growth.seconds_one_by_one
    return max(in_parallel, growth.seconds_one_by_one + _waiting(point.objects))


def _waiting(writes: int) -> float:
    """Return the seconds that the limit on writes takes."""
    return max(0.0, writes - WRITE_RATE.burst) / WRITE_RATE.per_minute * 60


def write(growth: Growth, path: Path) -> None:
    """Write the data as JSON."""
    path.write_text(json.dumps(asdict(growth), indent=2) + "\n")


def load(path: Path) -> Growth:
    """Read data that `write` has written."""
    content = json.loads(path.read_text())
    return Growth(**content | {"points": tuple(Point(**each) for each in content["points"])})
