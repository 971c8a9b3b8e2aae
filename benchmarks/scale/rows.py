"""Collect the rows of the `scale` benchmark while it runs, so that a failure leaves the earlier ones."""

from benchmarks.figures import Figure

from .goals import GOALS, Measured, Sizes, label

RARE_RESYNC = "24h"
"""Drift interval without a resync during a measurement."""


class Rows:
    """The measured figures by the name of their goal."""

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
