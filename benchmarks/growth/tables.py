"""Tables and figures of the growth."""

import math

from benchmarks.figures import MISSING, Benchmark, Figure, aligned, number

from . import peers
from .data import (
    COSTS,
    Growth,
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
    "limit",
    "one by one",
    "s",
    "limit",
    "one by one",
    "CPU s",
    "MiB",
    "restart: reads",
    "s",
    "CPU s",
)


def table(growth: Growth) -> list[str]:
    """Return one row per number of objects, then the exponents and what other tools were measured at."""
    rows = [
        [
            number(point.objects, 0),
            number(point.policies, 0),
            number(point.reads, 0),
            number(point.writes, 0),
            number(least_calls(point.policies), 0),
            number(calls_one_by_one(point.objects), 0),
            number(point.seconds, 1),
            number(least_seconds(point.policies), 1),
            number(seconds_one_by_one(growth, point), 0),
            number(point.cpu, 1),
            number(point.memory, 0),
            number(point.restart_reads, 0),
            number(point.restart_seconds, 1),
            number(point.restart_cpu, 1),
        ]
        for point in growth.points
    ]
    powers = [["growth with the number of objects", "exponent"]]
    powers += [[name, _exponent(power)] for name, power in exponents(growth).items()]
    others = [["measured at other tools", "members", "reads", "writes", "s", "calls per minute when idle"]]
    others += [
        [
            peer.tool,
            number(peer.members, 0),
            number(peer.reads, 0),
            number(peer.writes, 0),
            number(peer.seconds, 0),
            number(peer.idle_calls, 0),
        ]
        for peer in peers.MEASUREMENTS
    ]
    return [*aligned([_HEADINGS, *rows]), "", *aligned(powers), "", *aligned(others)]


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
