"""Output of the demo: numbered steps, aligned columns, and on a terminal colors and a progress line."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import TextIO

WIDTH = 100
INDENT = "   "

_LEAST = 20  # minimal width of a wrapped cell


class Style(StrEnum):
    """Colors, as parameters of ANSI's SGR sequence."""

    HEADING = "1"
    GOOD = "32"
    BAD = "31"
    CHANGED = "33"
    FAINT = "2"
    COMMAND = "36"


class Screen:
    """Writes to one stream. `live` says that it is a terminal, where a line can be overwritten."""

    def __init__(self, stream: TextIO, *, live: bool, colour: bool) -> None:
        self._stream = stream
        self._live = live
        self._colour = colour
        self._steps = 0
        self._progress = ""

    @classmethod
    def on(cls, stream: TextIO) -> "Screen":
        """Return a screen: live on a terminal, with colors unless NO_COLOR is set (no-color.org)."""
        live = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(stream, live=live, colour=live and not os.environ.get("NO_COLOR"))

    @property
    def _width(self) -> int:
        """Maximal length of a line: the width of the terminal, within limits."""
        return min(WIDTH, shutil.get_terminal_size().columns) if self._live else WIDTH

    def style(self, text: str, style: Style) -> str:
        """Return `text` in a color if colors are on."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def title(self, text: str, explanation: str) -> None:
        """Write the title of the demo."""
        self._write(self.style(text, Style.HEADING))
        self.paragraph(explanation, indent="")

    def step(self, text: str) -> None:
        """Begin a numbered step."""
        self._steps += 1
        self._write("")
        self._write(self.style(f"{self._steps:<{len(INDENT) - 1}} {text}", Style.HEADING))

    def paragraph(self, text: str, *, indent: str = INDENT, style: Style | None = None) -> None:
        """Write wrapped text."""
        for line in _wrap(text, self._width - len(indent)):
            self._write(indent + (self.style(line, style) if style else line))

    def line(self, text: str = "") -> None:
        """Write one line of a step without wrapping."""
        self._write(f"{INDENT}{text}" if text else "")

    def command(self, text: str) -> None:
        """Write a command before its output."""
        self._write("")
        self._write(self.style(f"$ {text}", Style.COMMAND))

    def verbatim(self, text: str) -> None:
        """Write the output of a command, neither indented nor cut."""
        for line in text.rstrip("\n").split("\n"):
            self._write(line.rstrip())

    def columns(self, rows: Iterable[Sequence[str]], styles: Sequence[Style | None] = ()) -> None:
        """Write aligned rows and wrap their last cells; `styles` belong to the columns."""
        for *cells, last in align(rows, gap=2):
            hanging = " " * len(INDENT + "".join(cells))
            first, *others = _wrap(last, self._width - len(hanging))
            styled = (
                self.style(cell, style) if style else cell
                for cell, style in zip_longest([*cells, first], styles[: len(cells) + 1])
            )
            self._write(f"{INDENT}{''.join(styled)}".rstrip())
            for line in others:
                self._write(f"{hanging}{line}")

    def failure(self, message: str, evidence: Iterable[str]) -> None:
        """Write the reason why the demo failed, and more evidence."""
        self._write("")
        self._write(self.style(f"Failed: {message}", Style.BAD))
        for each in evidence:
            self.line(each)

    def progress(self, state: str, clock: str) -> None:
        """Show the progress in one line with a clock, or without a terminal in a line for each new state."""
        if self._live:
            # One character less than the width: some terminals wrap after a full line.
            self._stream.write("\r\x1b[K" + _cut(f"{INDENT}{clock}  {state}", self._width - 1))
            self._stream.flush()
        elif state != self._progress:
            self._write(f"{INDENT}{clock}  {state}")
        self._progress = state

    def _write(self, text: str) -> None:
        if self._live and self._progress:
            self._stream.write("\r\x1b[K")
        self._progress = ""
        self._stream.write(text + "\n")
        self._stream.flush()


def align(rows: Iterable[Sequence[str]], *, gap: int, minimum: int = 0) -> list[list[str]]:
    """Pad all cells of a row but the last to the width of their column plus `gap` spaces.

    `minimum` is the minimal width of a column with its gap.
    """
    table = [list(row) for row in rows]
    columns = max((len(row) for row in table), default=0)
    widths = [
        max(minimum, gap + max(len(row[column]) for row in table if column < len(row)))
        for column in range(columns)
    ]
    return [
        [*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), *row[-1:]]
        for row in table
    ]


def _wrap(text: str, width: int) -> list[str]:
    """Wrap text between words only, so that an e-mail address is never split."""
    return textwrap.wrap(text, max(width, _LEAST), break_on_hyphens=False, break_long_words=False) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
