"""Conventions of all commands: the option `-o`, its formats for programs, and examples in the help."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


FORMATS = ("text", "json", "yaml")
"""Formats of a report."""


def output_option(
    *others: str, formats: Sequence[str] = FORMATS, note: str = ""
) -> Callable[[Command], Command]:
    """Return the option `-o` with the formats and `others`, which sets `output`. The first is the default.

    `note` continues the help.
    """
    return click.option(
        "-o",
        "--output",
        type=click.Choice([*formats, *others]),
        default=formats[0],
        show_default=True,
        help=f"Format of the output. {note}".rstrip(),
    )


def formatted(data: Mapping[str, object], output: str) -> str:
    """Return data as JSON or YAML, as `output` names it."""
    if output == "yaml":
        import yaml

        plain = json.loads(json.dumps(data))  # YAML would write enumerations as Python objects
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).rstrip()
    return json.dumps(data, indent=2, ensure_ascii=False)


def examples(*lines: str) -> str:
    """Return the examples at the end of a command's help: commands, and comments that start with `#`."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
