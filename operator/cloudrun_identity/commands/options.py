"""Options that several commands share, and the exit codes of those that report differences."""

import os
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloudrun_identity.kube.manifest_files import Manifests

Command = TypeVar("Command", bound=Callable[..., Any])


class DetailedExitCode(click.Command):
    """Command that exits with 1 for a wrong option, because its exit code 2 means changes."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise click.ClickException(error.format_message()) from error


KUBECONFIG = click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="Kubeconfig file. [default: KUBECONFIG, ~/.kube/config, or the pod's own access]",
)

CONTEXT = click.option(
    "--context", metavar="NAME", help="Context of the kubeconfig. [default: its current context]"
)

NO_COLOR = click.option(
    "--no-color",
    is_flag=True,
    help="Print no colors. [default: colors on a terminal without NO_COLOR]",
)

DEFAULT_NAMESPACE = "cloudrun-identity"

OPERATOR_NAMESPACE = click.option(
    "--operator-namespace",
    metavar="NS",
    help=f"Namespace of the PolicyLedgers and the Lease. [default: the pod's, else {DEFAULT_NAMESPACE}]",
)


SHOWN_NAMESPACE = click.option(
    "-n", "--namespace", metavar="NS", default="", help="Namespace to show. [default: all]"
)

OBJECT_NAMESPACE = click.option(
    "-n",
    "--namespace",
    metavar="NS",
    default="default",
    show_default=True,
    help="Namespace of objects without one.",
)


def cluster_option(text: str) -> Callable[[Command], Command]:
    """Return the option `--cluster`. `text` states what the command does with the cluster."""
    return click.option("--cluster", is_flag=True, help=f"{text} Implied by --kubeconfig, --context.")


READ_CLUSTER = cluster_option("Read the objects of the current context or of this pod.")


def project_option(text: str, *, required: bool = False) -> Callable[[Command], Command]:
    """Return the option `--project`, the ID of a Google Cloud project."""
    default = None if required else ""
    return click.option("--project", metavar="ID", default=default, required=required, help=text)


def locations_option(
    text: str, default: str = "spec.locations of the ManagedProject"
) -> Callable[[Command], Command]:
    """Return the repeatable option `--location`, which sets `locations`. `text` is about one of them."""
    return click.option(
        "--location",
        "locations",
        metavar="L",
        multiple=True,
        help=f"{text}; repeatable. [default: {default}]",
    )


def operator_namespace_of(named: str | None) -> str:
    """Return the value of `--operator-namespace`, or its default."""
    from cloudrun_identity.kube.connection import pod_namespace

    return named or pod_namespace() or DEFAULT_NAMESPACE


class Duration(click.ParamType[timedelta]):
    """A Go duration, such as 15s or 1m30s."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the duration."""
        from cloudrun_identity.api import parse_duration

        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def filename_option(*, required: bool) -> Callable[[Command], Command]:
    """Return the option `-f`, which sets the argument `paths`."""
    return click.option(
        "-f",
        "--filename",
        "paths",
        type=click.Path(exists=True, allow_dash=True, path_type=Path),
        multiple=True,
        required=required,
        help="File with manifests, directory of such files, or - for stdin; repeatable.",
    )


def use_colors(*, no_color: bool) -> bool:
    """Return whether standard output gets colors (https://no-color.org)."""
    return not no_color and not os.environ.get("NO_COLOR") and sys.stdout.isatty()


def manifests_in(paths: Iterable[Path], namespace: str) -> "Manifests":
    """Return the objects of the operator's kinds, and namespaces. Invalid manifests end the command."""
    from cloudrun_identity.kube.manifest_files import read_manifests

    manifests = read_manifests(paths, namespace)
    if manifests.problems:
        for problem in manifests.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(1)
    return manifests


def nothing_found(what: str, paths: Iterable[Path]) -> click.ClickException:
    """Return the error for paths without such objects, which are often mistyped."""
    return click.ClickException(f"there is no {what} in {', '.join(map(str, paths))}")
