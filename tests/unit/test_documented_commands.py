"""Every command line of cloudrun-identity in the documentation has existing commands, options and values."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from cloudrun_identity.cli import cli
from tests.documented import ROOT

PAGES = (
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/**/README.md")),
    ROOT / "playground" / "README.md",
)
PROGRAM = "cloudrun-identity"
_OPERATORS = frozenset({"|", "||", "&&", ";", "&", "&;", ")", ">", ">>", "<", "<<", "2>", "2>&1"})
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Documented:
    """A command line on a page."""

    page: str
    line: int
    arguments: tuple[str, ...]
    is_complete: bool
    """False for one in a sentence, which may leave out required arguments."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def documented_commands(page: Path) -> Iterator[Documented]:
    """Yield the command lines of cloudrun-identity on a page."""
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(ROOT))
    prose = text
    for block in re.finditer(r"^( *)```(?:sh|console|bash)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
        prose = prose.replace(block[2], "\n" * block[2].count("\n"))
        first = text[: block.start(2)].count("\n") + 1
        is_console = re.search(r"^\$ ", block[2], re.MULTILINE) is not None
        for offset, line in _lines(block[2]):
            if not is_console or line.startswith("$ "):
                for arguments in _calls(line.removeprefix("$ ")):
                    yield Documented(name, first + offset, arguments, is_complete=True)
    for code in re.finditer(r"`((?:kubectl )?cloudrun-identity [^`\n]+)`", prose):
        for arguments in _calls(code[1]):
            yield Documented(name, prose[: code.start()].count("\n") + 1, arguments, is_complete=False)


def _lines(block: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a block with their offset, with continued lines joined."""
    joined, start = "", 0
    for offset, line in enumerate(block.splitlines()):
        start = offset if not joined else start
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield start, joined.strip()
            joined = ""


def _calls(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each call of the program in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        words = line.split()
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            command.append(word)
            continue
        while command and (re.fullmatch(r"\w+=.*", command[0]) or command[0] in ("kubectl", "uvx", "pipx")):
            command.pop(0)
        if command and Path(command[0]).name == PROGRAM:
            yield tuple(command[1:])
        command = []


COMMANDS = [
    command
    for page in PAGES
    for command in documented_commands(page)
    # `cloudrun-identity COMMAND` stands for any command.
    if command.arguments and command.arguments[0] not in (_ELLIPSIS, "COMMAND")
]


def parse(arguments: tuple[str, ...], *, is_complete: bool) -> None:
    """Parse a command line as click does, without reading files and without running it.

    Raises click.UsageError: a command or an option does not exist, a value is invalid, or one is missing.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    rest = list(arguments)
    if not is_complete:  # `[--option]` is optional
        rest = [word for each in rest if (word := each.strip("[]")) != _ELLIPSIS]
    while isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(rest)
        if not rest:
            return
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        loaded = getattr(found, "_load", None)
        command = loaded() if callable(loaded) else found
        context = click.Context(command, info_name=name, parent=context)
    values, _, _ = command.make_parser(context).parse_args(rest)
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if not isinstance(value, str | bool | int | list | tuple):
            if parameter.required and is_complete:
                raise click.MissingParameter(ctx=context, param=parameter)
            continue
        if isinstance(parameter.type, click.Choice | click.types.IntParamType):
            for each in value if isinstance(value, list | tuple) else [value]:
                if is_complete or not str(each).isupper():
                    parameter.type.convert(each, parameter, context)


def test_documentation_has_commands_of_every_kind() -> None:
    called = {command.arguments[0] for command in COMMANDS}
    assert set(cli.list_commands(click.Context(cli, **cli.context_settings))) <= called


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_documented_command_line_exists(command: Documented) -> None:
    parse(command.arguments, is_complete=command.is_complete)


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("plan", "--nonsense"), ("plan", "-o", "nonsense"), ("who-can",)],
    ids=["command", "option", "value", "missing argument"],
)
def test_line_that_does_not_parse_is_found(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        parse(arguments, is_complete=True)
