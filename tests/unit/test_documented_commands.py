"""Every command line of cloudrun-identity in the documentation has existing commands, options and values."""

import click
import pytest

from cloudrun_identity.cli import cli
from tests.command_lines import PAGES, Documented, documented_commands

PROGRAM = "cloudrun-identity"
_ELLIPSIS = "…"
COMMANDS = [
    command
    for page in PAGES
    for command in documented_commands(page, PROGRAM)
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
