"""Goals of the `scale` benchmark, each with its unit, and the table that compares them with measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import MISSING, Figure, aligned, number

MEGABYTES_256 = 256e6 / 2**20
"""256 MB in MiB."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One row of the table: a figure, and the value that it must not exceed."""

    name: str
    """The key in JSON, without numbers of objects."""
    label: str
    """The label in the table. `{few}`, `{many}` and `{policies}` are the sizes."""
    unit: str
    """The unit of the measured value and of the limit."""
    at_most: float
    """The limit, for the sizes of `Sizes()`."""
    decimals: int = 0
    """The number of decimals in the table."""


GOALS = (
    Goal("arrival_few_cpu", "processor time per object until Ready, {few} at once on one policy", "ms", 4, 2),
    Goal("arrival_cpu", "processor time per object until Ready, {many} on {policies} policies", "ms", 4, 2),
    Goal("arrival_writes", "policy writes while {many} arrive within {seconds} s", "writes", 300),
    Goal("memory", "peak memory after {many} on {policies} policies have become Ready", "MiB", MEGABYTES_256),
    Goal("restart_reads", "policy reads at a restart in sync, {policies} policies", "reads", 110),
    Goal("restart_writes", "policy writes at a restart in sync", "writes", 0),
    Goal("restart_cpu", "processor time per object at a restart in sync", "ms", 1, 2),
    Goal("restart_seconds", "restart until all {many} are reconciled or compared", "s", 30, 1),
    Goal("edit_seconds", "one edit until Ready while {many} are reconciled or compared, median", "s", 2, 1),
    Goal(
        "idle_calls", "calls without lists per interval, {policies} projects of one policy", "calls", 160, 2
    ),
    Goal("idle_lists", "lists of workloads per interval, no identities or attachments", "lists", 0, 2),
    Goal("idle_cpu", "processor time per 10,000 objects and interval", "s", 0.5, 2),
    Goal("deletion_reads", "policy reads, {few} of one policy deleted at once", "reads", 4),
    Goal("deletion_writes", "policy writes, {few} of one policy deleted at once", "writes", 4),
    Goal("deletion_seconds", "seconds until {few} of one policy are deleted", "s", 10, 1),
    Goal("start_cpu", "processor time of `run` until its first policy read", "s", 1.5, 2),
    Goal("idle_memory", "peak memory of an idle operator without objects", "MiB", 110),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of objects and policies. The goals apply to the defaults."""

    many: int = 10_000

    @property
    def policies(self) -> int:
        """Return the number of policies of the many bindings: 100 bindings each."""
        return max(1, self.many // 100)

    @property
    def few(self) -> int:
        """Return the number of bindings on one policy."""
        return max(1, self.many // 10)

    @property
    def arrival_seconds(self) -> float:
        """Return the seconds within which the many bindings are applied: 5,000 per minute."""
        return self.many * 120 / 10_000

    @property
    def has_goals(self) -> bool:
        """Return whether the goals apply."""
        return self == Sizes()


Measured = dict[str, tuple[Figure, ...]]
"""The figure of each goal by its name, followed by parts of it."""


class Rows:
    """The figures that were measured so far, so that a failure leaves them."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.measured: Measured = {}
        self._goals = {goal.name: goal for goal in GOALS}

    def add(self, name: str, value: float) -> None:
        """Add the figure of a goal."""
        goal = self._goals[name]
        figure = Figure(name, label(goal, self.sizes), value, decimals=goal.decimals, unit=goal.unit)
        self.measured[name] = (figure,)

    def add_part(self, name: str, part: str, value: float, unit: str, decimals: int = 0) -> None:
        """Add a figure without a goal below that of a goal, which was added before."""
        figure = Figure(f"{name} {part}", part, value, decimals=decimals, is_part=True, unit=unit)
        self.measured[name] = (*self.measured[name], figure)


def table(measured: Measured, sizes: Sizes) -> list[str]:
    """Return the table of all goals. A figure that was not measured is a dash."""
    rows: list[Sequence[str]] = [["figure", "unit", "measured", "goal", "met"], [""]]
    for goal in GOALS:
        figure, *parts = measured.get(goal.name, (None,))
        limit = number(goal.at_most, goal.decimals)
        value = MISSING if figure is None else number(figure.value, goal.decimals)
        rows.append([label(goal, sizes), goal.unit, value, limit, verdict(goal, figure, sizes)])
        rows += [
            [f"    {part.label}", part.unit, number(part.value, part.decimals)] for part in parts if part
        ]
    return aligned(rows)


def label(goal: Goal, sizes: Sizes) -> str:
    """Return the label of a goal with the sizes."""
    return goal.label.format(
        few=f"{sizes.few:,}",
        many=f"{sizes.many:,}",
        policies=sizes.policies,
        seconds=f"{sizes.arrival_seconds:g}",
    )


def verdict(goal: Goal, figure: Figure | None, sizes: Sizes) -> str:
    """Return `yes` or `no`, or a dash without a measurement, or with sizes that the goals are not for."""
    if figure is None or not sizes.has_goals:
        return MISSING
    return "yes" if figure.value <= goal.at_most else "no"


def figures(measured: Measured, sizes: Sizes) -> tuple[Figure, ...]:
    """Return the figures for the JSON file, with the goals as baselines."""
    limits = {goal.name: goal for goal in GOALS}
    return tuple(
        Figure(
            figure.name,
            figure.label,
            figure.value,
            baseline=limits[name].at_most if sizes.has_goals and not figure.is_part else None,
            unit=figure.unit,
        )
        for name, found in measured.items()
        for figure in found
    )
