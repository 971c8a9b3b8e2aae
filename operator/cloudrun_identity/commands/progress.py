"""Progress of a command on standard error, if it takes longer than two seconds."""

import time
from collections.abc import Callable

import click

INTERVAL = 2.0
"""Seconds before the first line, and between two lines."""


class Progress:
    """Prints what a command does at the moment, at most once per interval."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock() + INTERVAL

    def show(self, text: str) -> None:
        """Print the text if the interval is over."""
        if self._clock() >= self._next:
            self._next = self._clock() + INTERVAL
            click.echo(text, err=True)

    def reconciled(self, done: int, total: int) -> None:
        """Print the number of reconciled objects if the interval is over."""
        self.show(f"planning: {done} of {total} objects")
