"""Tables and figures of the growth."""

import math
from collections.abc import Sequence

from benchmarks.figures import MISSING, Benchmark, Figure, aligned, number

from . import peers
from .data import (
    COSTS,
    Growth,
    Point,
    calls_one_by_one,
    exponents,
    least_calls,
    least_seconds,
    seconds_one_by_one,
)

_HEADINGS = (
    "objects",
    "policies",
    "reads",
    "writes",
    "least calls",
    "one by one",
    "seconds",
    "least",
    "one by one",
    "CPU s",
    "MiB",
    "restart: reads",
    "seconds",
    "CPU s",
)


_PEER_HEADINGS = (
    "other tools",
    "members of one policy",
    "reads",
    "writes",
    "seconds",
    "calls per minute when idle",
)


def table(growth: Growth) -> list[str]:
    """Return one row per number of objects, the exponents, and the costs of other tools."""
    points = [_HEADINGS, *(_row(growth, point) for point in growth.points)]
    powers = [(name, _exponent(power)) for name, power in exponents(growth).items()]
    others = [(peer.tool, *map(_whole, _costs(peer))) for peer in peers.MEASUREMENTS]
    return [
        *aligned(points),
        "",
        *aligned([("growth with the number of objects", "exponent"), *powers]),
        "",
        *aligned([_PEER_HEADINGS, *others]),
    ]


def _row(growth: Growth, point: Point) -> Sequence[str]:
    calls = (point.reads, point.writes, least_calls(point.policies), calls_one_by_one(point.objects))
    return (
        *map(_whole, (point.objects, point.policies, *calls)),
        number(point.seconds, 1),
        number(least_seconds(point.policies), 1),
        _whole(seconds_one_by_one(growth, point)),
        number(point.cpu, 1),
        _whole(point.memory),
        _whole(point.restart_reads),
        number(point.restart_seconds, 1),
        number(point.restart_cpu, 1),
    )


def _costs(peer: peers.Measurement) -> Sequence[float]:
    return (peer.members, peer.reads, peer.writes, peer.seconds, peer.idle_calls)


def _whole(value: float) -> str:
    return number(value, 0)


def benchmarks(growth: Growth) -> list[Benchmark]:
    """Return the costs and their exponents for the JSON file."""
    costs = [
        Benchmark(
            f"growth {point.objects}",
            f"{point.objects:,} objects",
            tuple(Figure(name, name, cost(growth, point)) for name, cost in COSTS.items()),
        )
        for point in growth.points
    ]
    powers = tuple(
        Figure(name, name, power) for name, power in exponents(growth).items() if not math.isnan(power)
    )
    return [*costs, Benchmark("growth exponents", "exponents", powers)]


def _exponent(power: float) -> str:
    return MISSING if math.isnan(power) else number(power, 2)
