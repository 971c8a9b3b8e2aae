"""Record the demo as an animated SVG, which browsers and GitHub play without a script.

    python -m tools.demo_recording [FILE]

The demo runs in a pseudo-terminal. The recording shortens its waits.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

FILE = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"

COLUMNS, ROWS = 118, 30
"""Size of the terminal."""

LINE_TIME, STEP_TIME, END_TIME = 0.12, 1.1, 4.0
"""Seconds after each line, before each step, and at the end."""

FONT, CHARACTER, LINE = 13, 7.8, 18
"""Size of the font, width of a character and height of a line, in pixels."""

LONGEST = 600.0
"""Seconds after which a demo that hangs is ended."""

CLASSES = {"1": "h", "32": "g", "31": "r", "33": "y", "2": "f", "36": "c"}
"""Class of each color of the terminal."""

STYLE = """
text{fill:#e7eaf1;white-space:pre;
font:13px ui-monospace,"Cascadia Mono","DejaVu Sans Mono","Liberation Mono",monospace}
.h{font-weight:700}.g{fill:#5fce95}.r{fill:#ff8a84}.y{fill:#e6b25c}.f{fill:#98a2b5}.c{fill:#8eaaff}
"""


@dataclass(frozen=True)
class Line:
    """One line of the output."""

    text: str
    """The line with the sequences of its colors."""

    @property
    def is_step(self) -> bool:
        """True if the line begins a step of the demo."""
        return re.match(r"\x1b\[1m\d+ ", self.text) is not None


def main(path: Path) -> None:
    """Run the demo, and write the recording."""
    lines = list(recorded([sys.executable, "-m", "cloudrun_identity", "demo"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drawn(lines), "utf-8")
    print(f"{path}: {len(lines)} lines")


def recorded(command: list[str]) -> Iterator[Line]:
    """Yield the lines that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, env=environment)
    os.close(theirs)
    output = bytearray()
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline and select.select([ours], [], [], LONGEST)[0]:
        try:
            output += os.read(ours, 1 << 16)
        except OSError:  # the command has ended
            break
    process.terminate()
    if code := process.wait():
        sys.exit(f"the demo failed with exit code {code}")
    for line in output.decode(errors="replace").replace("\r\n", "\n").split("\n"):
        yield Line(line.rpartition("\r")[2].replace("\x1b[K", ""))  # without overwritten progress


def drawn(lines: Iterable[Line]) -> str:
    """Return an SVG in which the lines appear one after the other, and scroll up."""
    shown = list(lines)
    times, now = [], 0.5
    for line in shown:
        now += STEP_TIME if line.is_step else LINE_TIME if line.text else 0
        times.append(now)
    total = now + END_TIME
    width, height = round(COLUMNS * CHARACTER) + 32, ROWS * LINE + 52
    frames = [
        f"{100 * at / total:.2f}%{{transform:translateY({_offset(i)}px)}}" for i, at in enumerate(times)
    ]
    texts = "".join(
        f'<text x="16" y="{54 + number * LINE}">{_colored(line.text)}</text>'
        for number, line in enumerate(shown)
        if line.text
    )
    bottom = (len(shown) + 1) * LINE
    covers = [
        f"{100 * at / total:.2f}%{{transform:translateY({(i + 1) * LINE}px)}}" for i, at in enumerate(times)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Recording of the command cloudrun-identity demo">'
        f"<style>{STYLE}"
        f"#s{{animation:s {total:.1f}s step-end infinite}}#c{{animation:c {total:.1f}s step-end infinite}}"
        f"@keyframes s{{0%{{transform:none}}{''.join(frames)}}}"
        f"@keyframes c{{0%{{transform:none}}{''.join(covers)}}}"
        "</style>"
        f'<rect width="{width}" height="{height}" rx="10" fill="#0e1118"/>'
        f'<svg y="41" width="{width}" height="{height - 51}" viewBox="0 41 {width} {height - 51}">'
        f'<g id="s">{texts}'
        f'<rect id="c" y="40" width="{width}" height="{bottom}" fill="#0e1118"/></g></svg>'
        '<circle cx="20" cy="19" r="6" fill="#ff6159"/><circle cx="40" cy="19" r="6" fill="#ffbd2e"/>'
        '<circle cx="60" cy="19" r="6" fill="#28c941"/>'
        f'<text class="f" x="{width // 2}" y="24" text-anchor="middle">cloudrun-identity demo</text>'
        "</svg>\n"
    )


def _offset(number: int) -> int:
    """Return how far the terminal has scrolled when a line appears."""
    return -max(0, number + 1 - ROWS) * LINE


def _colored(text: str) -> str:
    """Return a line with its colors as spans."""
    parts: list[str] = []
    style = ""
    for piece in re.split(r"(\x1b\[[\d;]*m)", text):
        if piece.startswith("\x1b["):
            style = CLASSES.get(piece[2:-1], "")
        elif piece:
            content = escape(piece, quote=False)
            parts.append(f'<tspan class="{style}">{content}</tspan>' if style else content)
    return "".join(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
