"""`cloudrun-identity export`: what a live project has, as manifests."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import click

from .google import google_clients, google_options, one_line_errors


@click.command()
@click.option("--project", metavar="ID", required=True, help="The Google Cloud project.")
@click.option(
    "--location",
    "locations",
    metavar="L",
    multiple=True,
    help="Where to look for services, jobs and worker pools; repeatable. [default: nowhere]",
)
@click.option(
    "--secret", "secrets", metavar="NAME", multiple=True, help="A secret to export the policy of; repeatable."
)
@click.option(
    "--without",
    metavar="EMAIL",
    multiple=True,
    help="A service account to leave out with what it is granted, such as the operator's; repeatable.",
)
@click.option("--namespace", metavar="NS", help="The objects' namespace. [default: as the project]")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write files to; none of them may exist yet. [default: stdout]",
)
@google_options
def export(
    project: str,
    locations: tuple[str, ...],
    secrets: tuple[str, ...],
    without: tuple[str, ...],
    namespace: str | None,
    output: Path | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print the manifests that declare what a project has, so that applying them changes nothing there.

    What is left out is named on stderr. Nothing is written to Google Cloud.
    """
    from cloudrun_identity.exporting.export import Export
    from cloudrun_identity.exporting.export import export as exported
    from cloudrun_identity.exporting.names import object_name
    from cloudrun_identity.exporting.survey import survey

    namespace = namespace or object_name(project)
    if not _NAMESPACE.fullmatch(namespace):
        raise click.BadParameter(
            f"{namespace!r} is no name of a namespace: a-z, 0-9 and -, at most 63", param_hint="--namespace"
        )

    async def look() -> Export:
        async with google_clients(google_endpoint, google_token_file) as clients:
            found = await survey(clients, project, locations, secrets)
            return exported(found, namespace, frozenset({*without, clients.identity} - {""}))

    with one_line_errors():
        result = asyncio.run(look())
    for left_out in result.left_out:
        click.echo(f"left out: {left_out}", err=True)
    if not locations:
        click.echo("left out: Cloud Run workloads: say --location to look for them", err=True)
    if output is None:
        click.echo(result.text, nl=False)
    else:
        _write(output, result.files)


def _write(directory: Path, files: Mapping[str, str]) -> None:
    """Write all files, or none where one exists already."""
    existing = [name for name in files if (directory / name).exists()]
    if existing:
        raise click.ClickException(f"{directory / existing[0]} exists already; choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
