"""Progress of a command on standard error, if it takes longer than two seconds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import click

INTERVAL = 2.0
"""Seconds before the first line, and between two lines."""


class Progress:
    """Prints what a command does at the moment, once per interval if it has changed."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._text = ""

    def show(self, text: str) -> None:
        """Set what the command does at the moment."""
        self._text = text

    def reconciled(self, done: int, total: int) -> None:
        """Set the number of reconciled objects."""
        self.show(f"planning: {done} of {total} objects")

    @asynccontextmanager
    async def printed(self) -> AsyncIterator[None]:
        """Print the progress during the block."""
        printing = asyncio.create_task(self._print())
        try:
            yield
        finally:
            printing.cancel()

    async def _print(self) -> None:
        shown = ""
        while True:
            await self._sleep(INTERVAL)
            if self._text != shown:
                shown = self._text
                click.echo(shown, err=True)
