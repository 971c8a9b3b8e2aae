"""`cloudrun-identity plan`: what applying manifests would change in Google Cloud."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .google import GOOGLE_ENDPOINT, google_clients, one_line_errors

if TYPE_CHECKING:
    from cloudrun_identity.controllers.planning.plan import Plan

CHANGES = 2
"""The exit code where something would change, as of `terraform plan -detailed-exitcode`."""


@click.command()
@click.option(
    "-f",
    "--filename",
    "paths",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    required=True,
    help="A file with manifests, or a directory of such files; repeatable.",
)
@click.option(
    "-n", "--namespace", metavar="NS", default="default", show_default=True, help="Of objects that name none."
)
@GOOGLE_ENDPOINT
def plan(paths: tuple[Path, ...], namespace: str, google_endpoint: str | None) -> None:
    """Print what applying manifests to an empty cluster would change in Google Cloud, and change nothing.

    Exit code 0: nothing would change, 2: something would, 1: something is wrong, or would not be done.
    """
    from cloudrun_identity.kube.manifest_files import read_manifests
    from cloudrun_identity.runtime.rehearsal import rehearse

    manifests = read_manifests(paths, namespace)
    if manifests.problems:
        for problem in manifests.problems:
            click.echo(f"Error: {problem}", err=True)
        sys.exit(1)

    async def work_out() -> "Plan":
        async with google_clients(google_endpoint) as clients:
            return await rehearse(clients, manifests.objects)

    with one_line_errors():
        planned = asyncio.run(work_out())
    for line in _lines(planned):
        click.echo(line)
    if planned.is_held_up:
        sys.exit(1)
    sys.exit(CHANGES if planned.steps else 0)


def _lines(planned: "Plan") -> Iterator[str]:
    """The steps under the resources that they change, then what would not be done, then the count."""
    for resource, steps in groupby(planned.steps, key=lambda step: step.resource):
        yield resource
        for step in steps:
            yield f"  {step.sign} {step.text}  ({step.object})"
    for obstacle in planned.obstacles:
        yield f"{'!' if obstacle.final else '?'} {obstacle.object}: {obstacle.reason}: {obstacle.message}"
    yield _summary(planned)


def _summary(planned: "Plan") -> str:
    signs = [step.sign.value for step in planned.steps]
    counts = f"{signs.count('+')} to add, {signs.count('~')} to change, {signs.count('-')} to remove"
    held_up = len({obstacle.object for obstacle in planned.obstacles if obstacle.final})
    objects = "object" if held_up == 1 else "objects"
    refused = f"; {held_up} {objects} would not become Ready" if held_up else ""
    return f"Nothing would change{refused}." if not signs else f"Plan: {counts}{refused}."
