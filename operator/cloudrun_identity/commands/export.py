"""`cloudrun-identity export`: print manifests for the resources of a Google Cloud project."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .formats import examples
from .google import google_clients, google_options, one_line_errors
from .output_files import check_namespace, write_files

if TYPE_CHECKING:
    from cloudrun_identity.exporting.export import Export
    from cloudrun_identity.exporting.survey import Survey
    from cloudrun_identity.gcp.clients import GoogleClients


@click.command(
    epilog=examples(
        "cloudrun-identity export --project acme-shop --location europe-west1 -o acme-shop",
        "cloudrun-identity export --project acme-shop --secret checkout-db --target StorageBucket/exports",
    )
)
@click.option("--project", metavar="ID", required=True, help="ID of the Google Cloud project.")
@click.option(
    "--location",
    "locations",
    metavar="L",
    multiple=True,
    help="Location to export services, jobs and worker pools of; repeatable. [default: none]",
)
@click.option(
    "--secret",
    "secrets",
    metavar="NAME",
    multiple=True,
    help="Secret to export the IAM policy of; repeatable.",
)
@click.option(
    "--target",
    "targets",
    metavar="KIND/NAME",
    multiple=True,
    help="Other resource to export the IAM policy of, such as StorageBucket/NAME, "
    "CloudTasksQueue/LOCATION/NAME, SpannerDatabase/INSTANCE/NAME or KMSCryptoKey/LOCATION/KEYRING/NAME, "
    "or the full resource name of a resource without a kind; repeatable.",
)
@click.option(
    "--without",
    metavar="EMAIL",
    multiple=True,
    help="Service account to leave out with its grants, such as the operator's; repeatable.",
)
@click.option(
    "--suggest",
    is_flag=True,
    help="Add suggestions.yaml: the grants that the workloads need and do not have, as of `suggest`.",
)
@click.option("--namespace", metavar="NS", help="Namespace of the objects. [default: the project ID]")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to. Existing files are not overwritten. [default: stdout]",
)
@google_options
def export(
    project: str,
    locations: tuple[str, ...],
    secrets: tuple[str, ...],
    targets: tuple[str, ...],
    without: tuple[str, ...],
    suggest: bool,
    namespace: str | None,
    output: Path | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print manifests for the resources of a project.

    Applying the manifests changes nothing in Google Cloud. Resources that they leave out are named on stderr.
    The command writes nothing to Google Cloud.
    """
    from cloudrun_identity.exporting.export import Export
    from cloudrun_identity.exporting.export import export as exported
    from cloudrun_identity.exporting.names import object_name
    from cloudrun_identity.exporting.survey import survey
    from cloudrun_identity.iam.grants import Target
    from cloudrun_identity.iam.resource_names import parse_target

    namespace = namespace or object_name(project)
    check_namespace(namespace)

    try:
        named = {parse_target(text, project) for text in targets}
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--target") from None
    named |= {Target.secret(project, secret) for secret in secrets}

    async def read() -> Export:
        async with google_clients(google_endpoint, google_token_file) as clients:
            found = await survey(clients, project, locations, named)
            result = exported(found, namespace, frozenset({*without, clients.identity} - {""}))
            return await _with_suggestions(result, found, clients, namespace) if suggest else result

    with one_line_errors():
        result = asyncio.run(read())
    for left_out in result.left_out:
        click.echo(f"left out: {left_out}", err=True)
    if not locations:
        click.echo("left out: Cloud Run workloads: use --location to export them", err=True)
    if output is None:
        click.echo(result.text, nl=False)
    else:
        write_files(output, result.files)


async def _with_suggestions(
    result: "Export", found: "Survey", clients: "GoogleClients", namespace: str
) -> "Export":
    """Return the export with one more file: what `suggest` proposes for the exported workloads."""
    import yaml

    from cloudrun_identity.exporting.declared import Declared
    from cloudrun_identity.exporting.export import Export
    from cloudrun_identity.exporting.suggestion_manifests import documents, text_of
    from cloudrun_identity.exporting.suggestions import suggest, without
    from cloudrun_identity.exporting.workload_sources import (
        Found,
        held_grants,
        permission_checks,
        read_numbers,
    )

    declared = Declared(obj for text in result.files.values() for obj in yaml.safe_load_all(text))
    workloads = Found()
    for state in found.workloads:
        workloads.add(state)
    await read_numbers(clients, workloads)
    suggestions = suggest(workloads.states, declared, namespace, workloads.numbers)
    suggestions = without(suggestions, await held_grants(permission_checks(clients), suggestions))
    text = text_of(suggestions, documents(suggestions, declared))
    files = {**result.files, "suggestions.yaml": text} if text else result.files
    return Export(files, result.left_out)
