"""The command line. An error is one line on stderr and a non-zero exit code, never a traceback."""

import os
import sys
from importlib.metadata import entry_points
from typing import Any

import click

from cloudrun_identity import __version__
from cloudrun_identity.commands.check import check
from cloudrun_identity.commands.convert import convert
from cloudrun_identity.commands.crds import crds
from cloudrun_identity.commands.export import export
from cloudrun_identity.commands.ledgers import ledgers
from cloudrun_identity.commands.lint import lint
from cloudrun_identity.commands.permissions import permissions
from cloudrun_identity.commands.plan import plan
from cloudrun_identity.commands.recommend import recommend
from cloudrun_identity.commands.recover import recover
from cloudrun_identity.commands.role import role
from cloudrun_identity.commands.run import run
from cloudrun_identity.commands.status import status
from cloudrun_identity.commands.suggest import suggest
from cloudrun_identity.commands.tree import tree
from cloudrun_identity.commands.ui import ui
from cloudrun_identity.commands.what_can import what_can
from cloudrun_identity.commands.who_can import who_can

ENVIRONMENT = "CLOUDRUN_IDENTITY"
"""Prefix of the environment variables that set options."""

ENTRY_POINTS = "cloudrun_identity.commands"
"""Entry point group of the commands that other packages provide."""

PLAYGROUND_COMMANDS = {
    "demo": "Run the operator on this machine and show what it does.",
    "emulator": "Serve an emulated Google Cloud.",
    "kubeapi": "Serve a Kubernetes-compatible API.",
}
"""Commands of the package cloudrun-identity-playground, with their help in the list of commands."""


class Commands(click.Group):
    """The operator's own commands, and those of other packages, which are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        provided = (each.name for each in entry_points(group=ENTRY_POINTS))
        return sorted({*super().list_commands(ctx), *provided, *PLAYGROUND_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name if it exists."""
        own = super().get_command(ctx, cmd_name)
        if own:
            return own
        provided = bool(entry_points(group=ENTRY_POINTS, name=cmd_name))
        if not provided and cmd_name not in PLAYGROUND_COMMANDS:
            return None
        text = PLAYGROUND_COMMANDS.get(cmd_name, "")
        return _ProvidedCommand(cmd_name, text if provided else f"{text} (needs the extra `playground`)")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command. An error in its options is one line, without the usage."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise _MisuseError(error.format_message()) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # a bug, which must not end in a traceback either
            from cloudrun_identity.manager.logs import describe

            raise click.ClickException(f"unexpected {describe(error)}") from error


class _MisuseError(click.ClickException):
    """An invalid option or argument."""

    exit_code = 2


class _ProvidedCommand(click.Command):
    """A command of another package. Only its call imports that package; the list of commands does not."""

    def __init__(self, name: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Import the command, and let it parse its arguments."""
        return self._load().make_context(info_name, args, parent, **extra)

    def _load(self) -> click.Command:
        missing = "the playground"
        for entry_point in entry_points(group=ENTRY_POINTS, name=self.name or ""):
            try:
                command = entry_point.load()
            except ModuleNotFoundError as error:
                missing = error.name or "a package"
                continue
            if isinstance(command, click.Command):
                return command
        raise click.ClickException(
            f"{self.name} needs {missing}, which is not installed: "
            "pip install 'cloudrun-identity[playground]'"
        )


@click.group(
    cls=Commands, context_settings={"auto_envvar_prefix": ENVIRONMENT, "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="cloudrun-identity")
def cli() -> None:
    """Manage Cloud Run identities from Kubernetes."""


for command in (
    check,
    convert,
    crds,
    export,
    ledgers,
    lint,
    permissions,
    plan,
    recommend,
    recover,
    role,
    run,
    status,
    suggest,
    tree,
    ui,
    what_can,
    who_can,
):
    cli.add_command(command)


def main() -> None:
    """Run the console script."""
    try:
        cli(prog_name="cloudrun-identity")
    except BrokenPipeError:  # `cloudrun-identity crds | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
