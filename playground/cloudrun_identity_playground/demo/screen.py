"""What the demo writes: short headed steps, aligned columns, colour and a live line on a terminal only."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import zip_longest
from typing import TextIO

WIDTH = 100
INDENT = "   "

_LEAST = 20  # characters that a line gets, however much stands before it


class Style(StrEnum):
    """Colours, as the parameters of ANSI's SGR sequence."""

    HEADING = "1"
    GOOD = "32"
    BAD = "31"
    CHANGED = "33"
    FAINT = "2"
    COMMAND = "36"


class Screen:
    """Writes to one stream; `live` says that it is a terminal, where lines can be rewritten."""

    def __init__(self, stream: TextIO, *, live: bool, colour: bool) -> None:
        self._stream = stream
        self._live = live
        self._colour = colour
        self._steps = 0
        self._progress = ""

    @classmethod
    def on(cls, stream: TextIO) -> "Screen":
        """Open the screen: live on a terminal, and there in colour unless NO_COLOR is set (no-color.org)."""
        live = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(stream, live=live, colour=live and not os.environ.get("NO_COLOR"))

    @property
    def _width(self) -> int:
        """How long a line may be: that of a narrow terminal, but not of a wide one."""
        return min(WIDTH, shutil.get_terminal_size().columns) if self._live else WIDTH

    def style(self, text: str, style: Style) -> str:
        """`text` in a colour, or as it is."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def title(self, text: str, explanation: str) -> None:
        """Write the first lines of all."""
        self._write(self.style(text, Style.HEADING))
        self.paragraph(explanation, indent="")

    def step(self, text: str) -> None:
        """Begin a numbered step."""
        self._steps += 1
        self._write("")
        self._write(self.style(f"{self._steps:<{len(INDENT) - 1}} {text}", Style.HEADING))

    def paragraph(self, text: str, *, indent: str = INDENT, style: Style | None = None) -> None:
        """Write a text, wrapped."""
        for line in _wrap(text, self._width - len(indent)):
            self._write(indent + (self.style(line, style) if style else line))

    def line(self, text: str = "") -> None:
        """Write one line of a step, as it is."""
        self._write(f"{INDENT}{text}" if text else "")

    def command(self, text: str) -> None:
        """Write the command whose output follows."""
        self._write("")
        self._write(self.style(f"$ {text}", Style.COMMAND))

    def verbatim(self, text: str) -> None:
        """Write the output of a command, not indented and not cut."""
        for line in text.rstrip("\n").split("\n"):
            self._write(line.rstrip())

    def columns(self, rows: Iterable[Sequence[str]], styles: Sequence[Style | None] = ()) -> None:
        """Write aligned rows, their last cells wrapped; `styles` are those of the columns."""
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
        """End a demo that failed: why, and what else is known."""
        self._write("")
        self._write(self.style(f"Failed: {message}", Style.BAD))
        for each in evidence:
            self.line(each)

    def progress(self, state: str, clock: str) -> None:
        """Tell what is awaited: on a terminal in one line with a clock, else in a line for each new state."""
        if self._live:
            # One character less than fits: a full line would make some terminals go on to the next.
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
    """Pad the cells of each row, all but its last, to the width of their column and `gap` spaces more.

    `minimum` is the least width of a column with its gap.
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
    """Break between words only: an e-mail address stays whole, even where it is too long."""
    return textwrap.wrap(text, max(width, _LEAST), break_on_hyphens=False, break_long_words=False) or [""]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
