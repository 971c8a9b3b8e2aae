"""The manifests that a command is given with -f."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cloudrun_identity.kube.resources import Object

Command = TypeVar("Command", bound=Callable[..., Any])


def filename_option(*, required: bool) -> Callable[[Command], Command]:
    """The option `-f`, whose values are the argument `paths`."""
    return click.option(
        "-f",
        "--filename",
        "paths",
        type=click.Path(exists=True, allow_dash=True, path_type=Path),
        multiple=True,
        required=required,
        help="A file with manifests, a directory of such files, or - for stdin; repeatable.",
    )


def manifests_in(paths: Iterable[Path], namespace: str) -> "list[Object]":
    """All objects of ours, and namespaces; ends the command, with a line for each, where some are wrong."""
    from cloudrun_identity.kube.manifest_files import read_manifests

    manifests = read_manifests(paths, namespace)
    if manifests.problems:
        for problem in manifests.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(1)
    return manifests.objects


def nothing_found(what: str, paths: Iterable[Path]) -> click.ClickException:
    """The error that there is nothing to work on: most often a path is not the one that was meant."""
    return click.ClickException(f"there is no {what} in {', '.join(map(str, paths))}")
