"""Reading of a seed file, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError

from .seed import Place, Seed, SeedError


@dataclass(frozen=True)
class SeedFile:
    """A seed and the file it comes from."""

    path: Path
    seed: Seed
    text: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the seed in the file.

        Raises SeedError: The file cannot be read, is not YAML, or has not the form of a seed.
        """
        try:
            text = path.read_text()
            content = yaml.safe_load(text)
        except OSError as error:
            raise SeedError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SeedError(f"{path}: is not UTF-8 text") from error
        except yaml.YAMLError as error:
            raise SeedError(f"{path}{_line_of(error)}: is no YAML: {_problem(error)}") from error
        try:
            seed = Seed.model_validate({} if content is None else content)
        except ValidationError as error:
            raise _located(path, text, *_first(error)) from error
        return cls(path, seed, text)

    def blame(self, error: SeedError) -> SeedError:
        """Return an error of this seed with the file and the line."""
        return _located(self.path, self.text, str(error), error.place)


def load_seed(path: Path) -> Seed:
    """Read the seed in the file.

    Raises SeedError: as `SeedFile.read`.
    """
    return SeedFile.read(path).seed


def _located(path: Path, text: str, reason: str, place: Place) -> SeedError:
    return SeedError(f"{path}:{_line(text, place)}: {reason}", place)


def _line(text: str, place: Place) -> int:
    """Return the line of `place`, or of the nearest existing parent."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = node.start_mark.line if node is not None else 0
    for step in place:
        found = _child(node, step) if node is not None else None
        if found is None:
            break
        line, node = found
    return line + 1


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """Return the line where a field or an item begins, and its value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line, node.value[step]
    return None


def _first(error: ValidationError) -> tuple[str, Place]:
    """Return the first problem as one line, and its place."""
    problem = error.errors()[0]
    place = problem["loc"]
    return f"{_path(place) or 'the seed'}: {problem['msg']}{_shown(problem['input'])}", place


def _path(place: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _shown(value: Any) -> str:
    return f" (value {value!r})" if isinstance(value, str | int | float | bool) else ""


def _line_of(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark is not None else ""


def _problem(error: yaml.YAMLError) -> str:
    return " ".join((getattr(error, "problem", None) or str(error)).split())
