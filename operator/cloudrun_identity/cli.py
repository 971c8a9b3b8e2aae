"""The command line. What goes wrong ends as one line on stderr and a non-zero exit, never as a traceback."""

import os
import sys
from importlib.metadata import entry_points
from typing import Any

import click

from cloudrun_identity import __version__
from cloudrun_identity.commands.crds import crds
from cloudrun_identity.commands.export import export
from cloudrun_identity.commands.permissions import permissions
from cloudrun_identity.commands.plan import plan
from cloudrun_identity.commands.role import role
from cloudrun_identity.commands.run import run
from cloudrun_identity.commands.tree import tree

ENVIRONMENT = "CLOUDRUN_IDENTITY"
COMMANDS = "cloudrun_identity.commands"
PLAYGROUND_COMMANDS = ("demo", "emulator", "kubeapi")
"""Commands of the package cloudrun-identity-playground; without it they say how to install it."""


class Commands(click.Group):
    """Our own commands, and those that other packages bring by entry point, loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        added = (each.name for each in entry_points(group=COMMANDS))
        return sorted({*super().list_commands(ctx), *added, *PLAYGROUND_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        own = super().get_command(ctx, cmd_name)
        if own:
            return own
        for entry_point in entry_points(group=COMMANDS, name=cmd_name):
            try:
                command = entry_point.load()
            except ModuleNotFoundError as error:
                return _unavailable(cmd_name, error.name or "a package")
            return command if isinstance(command, click.Command) else None
        return _unavailable(cmd_name, "the playground") if cmd_name in PLAYGROUND_COMMANDS else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named; what is wrong with its options is one line, without its usage."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise _MisuseError(error.format_message()) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # a bug, and still no traceback for the user
            from cloudrun_identity.manager.logs import describe

            raise click.ClickException(f"unexpected {describe(error)}") from error


class _MisuseError(click.ClickException):
    """An option or argument that cannot be."""

    exit_code = 2


def _unavailable(name: str, missing: str) -> click.Command:
    """A command that says what to install."""

    @click.command(name, help="(not installed: needs the extra `playground`)", add_help_option=False)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:  # noqa: ARG001
        raise click.ClickException(
            f"{name} needs {missing}, which is not installed: pip install 'cloudrun-identity[playground]'"
        )

    command.context_settings = {"ignore_unknown_options": True}
    return command


@click.group(cls=Commands, context_settings={"auto_envvar_prefix": ENVIRONMENT})
@click.version_option(__version__, prog_name="cloudrun-identity")
def cli() -> None:
    """Manage Cloud Run identities from Kubernetes."""


for command in (crds, export, permissions, plan, role, run, tree):
    cli.add_command(command)


def main() -> None:
    """The entry point of the console script."""
    try:
        cli(prog_name="cloudrun-identity")
    except BrokenPipeError:  # `cloudrun-identity crds | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
