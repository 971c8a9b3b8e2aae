"""`cloudrun-identity export`: print manifests for the resources of a Google Cloud project."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .formats import examples
from .google import google_clients, google_options, one_line_errors
from .options import locations_option, project_option
from .output_files import NAMESPACE_BY_PREFIX, NAMESPACES_FILE, OVERWRITE, namespaces_of, write_files
from .progress import Progress

if TYPE_CHECKING:
    from cloudrun_identity.exporting.export import Export
    from cloudrun_identity.exporting.survey import Survey
    from cloudrun_identity.gcp.clients import GoogleClients


@click.command(
    epilog=examples(
        "cloudrun-identity export --project acme-shop -o acme-shop",
        "# Accounts team-a-… in namespace team-a, and so on; all others in namespace platform",
        "cloudrun-identity export --project acme-shop --namespace-by-prefix team-a-=team-a "
        "--namespace-by-prefix team-b-=team-b --namespace platform -o acme-shop",
        "cloudrun-identity export --project acme-shop --secret checkout-db --target StorageBucket/exports",
    )
)
@project_option("ID of the Google Cloud project.", required=True)
@locations_option("Location to export services, jobs and worker pools of", default="all of Cloud Run")
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
@click.option(
    "--patterns",
    is_flag=True,
    help="Combine names in the guardrails into patterns, which also admit later names. "
    "[default: only if exact lists do not fit]",
)
@click.option(
    "--namespace",
    metavar="NS",
    help="Namespace of the objects that no other option places. [default: the project ID]",
)
@NAMESPACES_FILE
@NAMESPACE_BY_PREFIX
@click.option(
    "--namespace-by-label",
    "label",
    metavar="KEY",
    default="",
    help="Label of Cloud Run workloads with the namespace of the workload and its account.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write to. [default: stdout]",
)
@OVERWRITE
@google_options
def export(
    project: str,
    locations: tuple[str, ...],
    secrets: tuple[str, ...],
    targets: tuple[str, ...],
    without: tuple[str, ...],
    suggest: bool,
    patterns: bool,
    namespace: str | None,
    namespaces_file: Path | None,
    prefixes: tuple[str, ...],
    label: str,
    output: Path | None,
    overwrite: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print manifests for the resources of a project.

    Applying the manifests changes nothing in Google Cloud. Resources that they leave out are named on stderr,
    with totals at the end. The command writes nothing to Google Cloud.

    With several namespaces, the name of each file starts with the namespace. All files are in one directory,
    so that kubectl apply -f DIR applies them all.
    """
    from cloudrun_identity.exporting.export import export as exported
    from cloudrun_identity.exporting.names import object_name
    from cloudrun_identity.exporting.survey import survey
    from cloudrun_identity.iam.grants import Target
    from cloudrun_identity.iam.resource_names import parse_target

    namespaces = namespaces_of(namespace or object_name(project), namespaces_file, prefixes, label)
    try:
        named = {parse_target(text, project) for text in targets}
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--target") from None
    named |= {Target.secret(project, secret) for secret in secrets}
    progress = Progress()

    async def read() -> "tuple[Survey, Export]":
        async with progress.printed(), google_clients(google_endpoint, google_token_file) as clients:
            found = await survey(clients, project, locations, named, progress.show)
            progress.show("building the manifests")
            excluded = frozenset({*without, clients.identity} - {""})
            result = await asyncio.to_thread(exported, found, namespaces, excluded, patterns=patterns)
            if suggest:
                result = await _with_suggestions(result, found, clients, namespaces.default)
            return found, result

    with one_line_errors():
        found, result = asyncio.run(read())
    others: tuple[str, ...] = ()
    if output is None:
        click.echo(result.text, nl=False)
    else:
        others = write_files(output, result.files, overwrite=overwrite)
    _report(found, result)
    for name in others:
        click.echo(f"note: {output}/{name} is not part of this export; kubectl would apply it, too", err=True)


def _report(found: "Survey", result: "Export") -> None:
    """Print on standard error what the export leaves out, what to know about it, and totals."""
    for left_out in result.left_out:
        click.echo(f"left out: {left_out}", err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    for account, keys in found.hand_made_keys.items():
        click.echo(
            f"note: ServiceAccount {account} has {len(keys)} key{'s' * (len(keys) != 1)} made by hand: "
            f"{', '.join(keys)}; an IdentityKey can replace them",
            err=True,
        )
    if result.is_forced:
        click.echo("note: exact lists do not fit into the guardrails of one ManagedProject", err=True)
    for convention in result.conventions:
        click.echo(f"pattern: {convention}; it also admits later ones of such a name", err=True)
    if result.is_too_large:
        click.echo(
            "note: project.yaml is too large for client-side apply; use kubectl apply --server-side", err=True
        )
    count = len(result.namespaces)
    click.echo(f"exported: {result.totals} in {count:,} namespace{'s' * (count != 1)}", err=True)
    if result.left_out:
        click.echo(f"not exported: {len(result.left_out):,}", err=True)
    for reason, count in result.reasons:
        click.echo(f"  {count:,}: {reason}", err=True)


async def _with_suggestions(
    result: "Export", found: "Survey", clients: "GoogleClients", namespace: str
) -> "Export":
    """Return the export with one more file: what `suggest` proposes for the exported workloads."""
    from dataclasses import replace

    import yaml

    from cloudrun_identity.exporting.declared import Declared
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
    return replace(result, files=files)
