"""Parser for the part of the Dockerfile language that this repository uses.

`tools/image_layout.py` executes the result. An instruction or an option outside this part is an error, so
that no step of the Dockerfile is ever left out. Reference: https://docs.docker.com/reference/dockerfile/
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

INSTRUCTIONS = frozenset(
    {
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "RUN",
        "USER",
        "WORKDIR",
    }
)

_VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::(?P<operator>[+-])(?P<word>[^}]*))?\})")


class UnsupportedError(ValueError):
    """An instruction that this parser does not know. The message names the line."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, with its continuation lines joined."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class Stage:
    """A `FROM` instruction and the instructions up to the next one."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """The stages, and the instructions `ARG` before the first of them."""

    arguments: tuple[Instruction, ...]
    stages: tuple[Stage, ...]


def parse(text: str) -> Dockerfile:
    """Parse a Dockerfile. Raise `UnsupportedError` for an unknown instruction."""
    arguments: list[Instruction] = []
    stages: list[tuple[str, str, list[Instruction]]] = []
    for instruction in _instructions(text):
        if instruction.name == "FROM":
            base, name = _from(instruction)
            stages.append((base, name, []))
        elif stages:
            stages[-1][2].append(instruction)
        elif instruction.name == "ARG":
            arguments.append(instruction)
        else:
            raise UnsupportedError(f"line {instruction.line}: {instruction.name} before FROM")
    return Dockerfile(
        tuple(arguments), tuple(Stage(base, name, tuple(steps)) for base, name, steps in stages)
    )


def _instructions(text: str) -> Iterator[Instruction]:
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if joined else number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        name, _, value = joined.partition(" ")
        if name not in INSTRUCTIONS:
            raise UnsupportedError(f"line {start}: {name} is not supported")
        yield Instruction(name, value.strip(), start)
        joined = ""


def _from(instruction: Instruction) -> tuple[str, str]:
    match instruction.value.split():
        case [base]:
            return base, ""
        case [base, "AS", name]:
            return base, name
    raise UnsupportedError(f"line {instruction.line}: FROM {instruction.value}")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+alternative}`."""

    def value(found: re.Match[str]) -> str:
        known = variables.get(found["plain"] or found["name"], "")
        match found["operator"]:
            case "+":
                return expand(found["word"], variables) if known else ""
            case "-":
                return known or expand(found["word"], variables)
        return known

    return _VARIABLE.sub(value, text)


def pairs(instruction: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the names and values of `ENV` or `LABEL`."""
    words = shlex.split(instruction.value)
    if not all("=" in word for word in words):
        raise UnsupportedError(f"line {instruction.line}: {instruction.name} without =")
    return {name: expand(value, variables) for name, _, value in (word.partition("=") for word in words)}


def exec_form(instruction: Instruction, text: str = "") -> list[str]:
    """Return the words of a command that is a JSON array, by default the whole value."""
    try:
        words = json.loads(text or instruction.value)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UnsupportedError(f"line {instruction.line}: {instruction.name} needs a JSON array of strings")
    return words


def healthcheck(instruction: Instruction) -> list[str]:
    """Return the command of `HEALTHCHECK`."""
    _, found, command = instruction.value.partition("CMD ")
    if not found:
        raise UnsupportedError(f"line {instruction.line}: HEALTHCHECK without CMD")
    return exec_form(instruction, command)


@dataclass(frozen=True)
class Copy:
    """A `COPY` instruction. `stage` is empty if it copies from the build context."""

    sources: tuple[str, ...]
    """Paths in the build context or in the stage."""

    destination: str
    """Path in the image, relative to the working directory. A directory if it ends with a slash."""

    stage: str
    """Name of an earlier stage, or empty."""

    @property
    def into_directory(self) -> bool:
        """True if each source keeps its name below the destination."""
        return self.destination.endswith("/") or len(self.sources) > 1


def copy(instruction: Instruction) -> Copy:
    """Return the paths of a `COPY` instruction."""
    words, stage = instruction.value.split(), ""
    if words[0].startswith("--from="):
        stage = words.pop(0).removeprefix("--from=")
    if len(words) < 2 or any(word.startswith("--") for word in words):
        raise UnsupportedError(f"line {instruction.line}: COPY {instruction.value}")
    return Copy(tuple(words[:-1]), words[-1], stage)


def is_ignored(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    """Return whether the last pattern of a .dockerignore that matches a path, or a parent of it, excludes it.

    Reference: https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    parts = [PurePosixPath(*path.parts[:count]) for count in range(1, len(path.parts) + 1)]
    ignored = False
    for pattern in patterns:
        excludes = not pattern.startswith("!")
        if any(_matches(part, pattern.removeprefix("!")) for part in parts):
            ignored = excludes
    return ignored


def _matches(path: PurePosixPath, pattern: str) -> bool:
    """Return whether a path has as many parts as a pattern, and each matches; `**/` matches any parents."""
    if pattern.startswith("**/"):
        rest = pattern.removeprefix("**/")
        return _matches(PurePosixPath(*path.parts[-len(PurePosixPath(rest).parts) :]), rest)
    wanted = PurePosixPath(pattern).parts
    return len(wanted) == len(path.parts) and all(map(fnmatchcase, path.parts, wanted))


def ignore_patterns(text: str) -> list[str]:
    """Return the patterns of a .dockerignore."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
