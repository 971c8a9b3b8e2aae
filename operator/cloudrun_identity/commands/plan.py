"""`cloudrun-identity plan`: print what applying manifests would change in Google Cloud."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .google import google_clients, google_options, one_line_errors
from .options import filename_option, manifests_in, nothing_found

if TYPE_CHECKING:
    from cloudrun_identity.plan.model import DryRun

CHANGES = 2
"""The exit code for a plan with changes, as of `terraform plan -detailed-exitcode`."""


@click.command()
@filename_option(required=True)
@click.option(
    "-n",
    "--namespace",
    metavar="NS",
    default="default",
    show_default=True,
    help="Namespace of objects without one.",
)
@google_options
def plan(
    paths: tuple[Path, ...], namespace: str, google_endpoint: str | None, google_token_file: Path | None
) -> None:
    """Print what applying manifests would change, without a write.

    The plan assumes that the cluster has no other objects. Exit codes: 0 for no changes, 2 for changes, 1 for
    an error or for an object that would not become Ready.
    """
    from cloudrun_identity.api import GROUP
    from cloudrun_identity.plan.dry_run import dry_run

    objects = manifests_in(paths, namespace)
    if all(obj["kind"] == "Namespace" for obj in objects):
        raise nothing_found(f"object of {GROUP}", paths)

    async def work_out() -> "DryRun":
        async with google_clients(google_endpoint, google_token_file) as clients:
            return await dry_run(clients, objects)

    with one_line_errors():
        planned = asyncio.run(work_out())
    for line in _lines(planned):
        click.echo(line)
    if planned.is_blocked:
        sys.exit(1)
    sys.exit(CHANGES if planned.steps else 0)


def _lines(planned: "DryRun") -> Iterator[str]:
    """Yield the steps by resource, then the blockers, then the summary."""
    for resource, steps in groupby(planned.steps, key=lambda step: step.resource):
        yield resource
        for step in steps:
            note = ", observed only" if step.observed else ""
            yield f"  {step.sign} {step.text}  ({step.object}{note})"
    for blocker in planned.blockers:
        yield f"{'!' if blocker.final else '?'} {blocker.object}: {blocker.reason}: {blocker.message}"
    yield _summary(planned)


def _summary(planned: "DryRun") -> str:
    signs = [step.sign.value for step in planned.steps]
    counts = f"{signs.count('+')} to add, {signs.count('~')} to change, {signs.count('-')} to remove"
    held_up = len({blocker.object for blocker in planned.blockers if blocker.final})
    objects = "object" if held_up == 1 else "objects"
    refused = f"; {held_up} {objects} would not become Ready" if held_up else ""
    return f"Nothing would change{refused}." if not signs else f"Plan: {counts}{refused}."
