"""The command line. What goes wrong ends as one line on stderr and a non-zero exit, never as a traceback."""

import asyncio
import logging
import os
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from cloudrun_identity import __version__

ENVIRONMENT = "CLOUDRUN_IDENTITY"
COMMANDS = "cloudrun_identity.commands"
DEFAULT_NAMESPACE = "cloudrun-identity"


class Commands(click.Group):
    """Our own commands, and those that other packages bring by entry point, loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *(each.name for each in entry_points(group=COMMANDS))})

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
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named; what is wrong with its options is one line, without its usage."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise _MisuseError(error.format_message()) from error


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


class Duration(click.ParamType[timedelta]):
    """A Go duration, such as 15s or 1m30s."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration that `value` says."""
        from cloudrun_identity.api import parse_duration

        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(cls=Commands, context_settings={"auto_envvar_prefix": ENVIRONMENT})
@click.version_option(__version__, prog_name="cloudrun-identity")
def cli() -> None:
    """Manage Cloud Run identities from Kubernetes."""


@cli.command()
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="File that says where the cluster is. [default: KUBECONFIG, ~/.kube/config, or the pod's own]",
)
@click.option(
    "--google-endpoint",
    metavar="HOST:PORT",
    help="An emulator to use instead of Google Cloud: plaintext, no credentials.",
)
@click.option(
    "--operator-namespace",
    metavar="NS",
    help=f"Where ledgers and the lease are kept. [default: the pod's, else {DEFAULT_NAMESPACE}]",
)
@click.option(
    "--lease-duration",
    type=Duration(),
    default="15s",
    show_default=True,
    help="How long a standby waits for a holder that no longer renews.",
)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port of /healthz, /readyz and /metrics; 0: any free one.",
)
def run(
    kubeconfig: str | None,
    google_endpoint: str | None,
    operator_namespace: str | None,
    lease_duration: timedelta,
    http_port: int,
) -> None:
    """Run the operator until SIGTERM."""
    if lease_duration < timedelta(seconds=1):
        raise click.BadParameter("must be at least 1s", param_hint="--lease-duration")
    # gRPC's core reads this as it is loaded; what it says of its connections is no JSON, and errors reach us.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here, because kopf and the Google clients are slow to load and `crds` needs neither.
    from cloudrun_identity import handlers
    from cloudrun_identity.kube.namespaces import pod_namespace
    from cloudrun_identity.runtime import logs, process

    logs.configure()
    settings = process.Settings(
        kubeconfig=kubeconfig,
        google_endpoint=google_endpoint,
        namespace=operator_namespace or pod_namespace() or DEFAULT_NAMESPACE,
        lease_duration=lease_duration.total_seconds(),
        http_port=http_port,
    )
    try:
        asyncio.run(process.run(settings, handlers.watch))
    except process.FAILURES as failure:
        raise click.ClickException(str(failure)) from None
    except Exception as error:  # a bug, and still no traceback for the user
        logging.getLogger(__name__).debug("unexpected", exc_info=error)
        raise click.ClickException(f"unexpected {logs.describe(error)}") from None


@cli.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write one file a kind into. [default: all to stdout]",
)
def crds(output: Path | None) -> None:
    """Print the CustomResourceDefinitions, or write them to files."""
    from cloudrun_identity.api import KINDS
    from cloudrun_identity.api.crd import render, write

    if output is None:
        click.echo("---\n".join(render(kind) for kind in KINDS), nl=False)
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in write(output):
            click.echo(path)
    except OSError as error:
        raise click.ClickException(f"--output {output}: {error.strerror or error}") from error


def main() -> None:
    """The entry point of the console script."""
    try:
        cli(prog_name="cloudrun-identity")
    except BrokenPipeError:  # `cloudrun-identity crds | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
