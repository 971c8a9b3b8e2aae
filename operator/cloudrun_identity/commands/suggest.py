"""`cloudrun-identity suggest`: propose the least grants that workloads need, as manifests."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .formats import examples, output_option
from .google import google_clients, google_options, one_line_errors
from .ledgers import with_cluster
from .options import (
    CONTEXT,
    KUBECONFIG,
    READ_CLUSTER,
    DetailedExitCode,
    filename_option,
    locations_option,
    manifests_in,
    nothing_found,
    project_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudrun_identity.exporting.declared import Declared
    from cloudrun_identity.exporting.suggestions import Suggestion
    from cloudrun_identity.exporting.workload_sources import Found
    from cloudrun_identity.gcp.workloads import Workload
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.manifest_files import Manifests
    from cloudrun_identity.kube.resources import Object

EXAMPLES = examples(
    "# From the YAML of a service, without access to Google Cloud",
    "gcloud run services describe checkout --format=export > checkout.yaml",
    "cloudrun-identity suggest -f checkout.yaml --project payments-prod-1234",
    "# What a service, or every workload in a location, needs beyond what it has",
    "cloudrun-identity suggest --project payments-prod-1234 --location europe-west1 service/checkout",
    "cloudrun-identity suggest --project payments-prod-1234 --location europe-west1",
    "# For the workloads that attachments name, with the guardrails and objects of a cluster",
    "cloudrun-identity suggest -f manifests/ --context prod -o text",
)

KINDS = {"service": "Service", "job": "Job", "workerpool": "WorkerPool"}


@click.command(
    cls=DetailedExitCode, short_help="Propose the least grants that workloads need.", epilog=EXAMPLES
)
@click.argument("workloads", metavar="[KIND/NAME]...", nargs=-1)
@filename_option(required=False)
@project_option("Project of the workloads that are named, or in the files.")
@locations_option("Location of the workloads")
@click.option(
    "-n",
    "--namespace",
    metavar="NS",
    default="",
    help="Namespace of the suggested objects, and of objects in files without one. "
    "[default: the one that the ManagedProject admits, else made from the project ID]",
)
@KUBECONFIG
@CONTEXT
@READ_CLUSTER
@output_option(formats=("yaml", "json", "text"))
@google_options
def suggest(
    workloads: tuple[str, ...],
    paths: tuple[Path, ...],
    project: str,
    locations: tuple[str, ...],
    namespace: str,
    kubeconfig: str | None,
    context: str | None,
    cluster: bool,
    output: str,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Propose the least grants that workloads need, as manifests to paste.

    Workloads come from Cloud Run YAML and from the IdentityAttachments in the files, or are read from Google
    Cloud: KIND/NAME is service/NAME, job/NAME or workerpool/NAME, and without it all workloads of the
    project in the location. With a cluster alone, they are those of its IdentityAttachments. Grants that the
    files or the cluster declare, or that the IAM policies have, are left out. Policies are read only if a
    workload is. The command writes nothing.

    Exit codes: 0 if nothing is suggested, 2 if something is suggested, 1 for an error: an option or a
    manifest is invalid, a workload in the arguments does not exist, or something could not be read.
    """
    from cloudrun_identity.api import IdentityAttachment
    from cloudrun_identity.exporting.declared import Declared
    from cloudrun_identity.exporting.workload_sources import attached_workloads

    in_cluster = bool(cluster or kubeconfig or context)
    if not paths and not project and not in_cluster:
        raise click.ClickException(
            "name manifests with -f, a project with --project, or a cluster with --context"
        )
    manifests = manifests_in(paths, namespace or "default")
    objects: list[Object] = []
    if in_cluster:
        objects = with_cluster(kubeconfig, read_objects, context)
    declared = Declared([*objects, *manifests.objects])
    found = _in_files(manifests, declared, project, locations)
    attachments = Declared(manifests.objects if paths or project else objects).all(IdentityAttachment)
    asked = _named(workloads, project, locations or _locations_of(declared, project))
    named = (*asked, *attached_workloads(attachments, declared, found))
    lists_all = bool(project) and not named and not found.states
    if paths and not (named or found.states or lists_all):
        raise nothing_found("Cloud Run manifest or IdentityAttachment", paths)
    with one_line_errors():
        suggestions = asyncio.run(
            _suggested(
                found,
                declared,
                named,
                _places(project, locations, declared) if lists_all else (),
                project,
                namespace,
                google_endpoint,
                google_token_file,
            )
        )
    for left_out in found.left_out:
        click.echo(f"left out: {left_out}", err=True)
    _print(suggestions, declared, output)
    if not {state.workload for state in found.states}.issuperset(asked):
        sys.exit(1)
    sys.exit(2 if any(not each.is_empty for each in suggestions) else 0)


def _in_files(
    manifests: "Manifests", declared: "Declared", project: str, locations: "Sequence[str]"
) -> "Found":
    """Return the workloads whose Cloud Run YAML is in the files."""
    from cloudrun_identity.exporting.workload_sources import Found, UnknownProject, in_manifest
    from cloudrun_identity.gcp.cloud_run_manifests import InvalidManifest, is_cloud_run

    found = Found()
    for source, document in manifests.others:
        if is_cloud_run(document):
            name = (document.get("metadata") or {}).get("name", "")
            try:
                in_manifest(document, declared, project, next(iter(locations), ""), found)
            except (InvalidManifest, UnknownProject) as error:
                raise click.ClickException(f"{source.path}: {document['kind']} {name}: {error}") from None
    return found


def _named(workloads: "Sequence[str]", project: str, locations: "Sequence[str]") -> "tuple[Workload, ...]":
    """Return the workloads in the arguments."""
    from cloudrun_identity.api import WorkloadKind
    from cloudrun_identity.gcp.workloads import Workload

    named = []
    for text in workloads:
        kind, _, name = text.partition("/")
        if kind.lower() not in KINDS or not name:
            raise click.ClickException(f"{text!r} is not {', '.join(f'{each}/NAME' for each in KINDS)}")
        if not project:
            raise click.ClickException(f"name the project of {text} with --project")
        if len(locations) != 1:
            raise click.ClickException(f"name the location of {text} with --location")
        named.append(Workload(WorkloadKind(KINDS[kind.lower()]), project, locations[0], name))
    return tuple(named)


def _locations_of(declared: "Declared", project: str) -> tuple[str, ...]:
    found = declared.project_on(project)
    return tuple(found.spec.locations) if found else ()


def _places(project: str, locations: "Sequence[str]", declared: "Declared") -> tuple[str, ...]:
    """Return the locations to list the workloads of."""
    places = tuple(locations) or _locations_of(declared, project)
    if not places:
        raise click.ClickException(f"name the locations of the workloads of {project} with --location")
    return places


async def _suggested(
    found: "Found",
    declared: "Declared",
    named: "Sequence[Workload]",
    places: "Sequence[str]",
    project: str,
    namespace: str,
    endpoint: str | None,
    token_file: Path | None,
) -> "tuple[Suggestion, ...]":
    """Return the suggestions; with workloads to read, also compare them with the policies."""
    from cloudrun_identity.exporting.suggestions import suggest as suggested
    from cloudrun_identity.exporting.suggestions import without
    from cloudrun_identity.exporting.workload_sources import (
        held_grants,
        list_workloads,
        permission_checks,
        read_numbers,
        read_workloads,
    )

    if not named and not places:
        return suggested(found.states, declared, namespace, found.numbers)
    async with google_clients(endpoint, token_file) as clients:
        await read_workloads(clients, named, found)
        await list_workloads(clients, project, places, found)
        await read_numbers(clients, found)
        suggestions = suggested(found.states, declared, namespace, found.numbers)
        return without(suggestions, await held_grants(permission_checks(clients), suggestions))


async def read_objects(client: "KubeClient") -> "list[Object]":
    """Return the objects of the cluster that suggestions depend on.

    A kind that is not installed has no objects. Raises KubeError.
    """
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.objects import resource
    from cloudrun_identity.kube.resources import NAMESPACES

    kinds = ("ManagedProject", "CustomRole", "CloudRunIdentity", "IAMBinding", "IdentityAttachment")
    objects = [{**raw, "kind": "Namespace"} for raw in await client.list(NAMESPACES)]
    for kind in kinds:
        try:
            objects += [{**raw, "kind": kind} for raw in await client.list(resource(kind))]
        except KubeError as error:
            if not error.is_not_found:
                raise
    return objects


def _print(suggestions: "Sequence[Suggestion]", declared: "Declared", output: str) -> None:
    """Print the suggestions in the chosen format."""
    from cloudrun_identity.exporting.suggestion_manifests import documents, text_of

    from .suggest_output import as_json, as_text, summary

    found = documents(suggestions, declared)
    match output:
        case "json":
            click.echo(as_json(suggestions, found))
        case "text":
            for line in as_text(suggestions):
                click.echo(line)
        case _:
            click.echo(text_of(suggestions, found), nl=False)
            click.echo(summary(suggestions), err=True)
