"""`cloudrun-identity recommend`: print Google's recommendations as changes of manifests."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .formats import examples, output_option
from .google import google_options, one_line_errors
from .ledgers import with_cluster
from .options import (
    CONTEXT,
    KUBECONFIG,
    READ_CLUSTER,
    DetailedExitCode,
    filename_option,
    locations_option,
    manifests_in,
    project_option,
)
from .suggest import read_objects

if TYPE_CHECKING:
    from cloudrun_identity.exporting.declared import Declared
    from cloudrun_identity.kube.resources import Object
    from cloudrun_identity.recommendations.role_change import DeclaredKey

    from .recommend_output import Markable, Report

EXAMPLES = examples(
    "# What Google recommends for the identities of a cluster",
    "cloudrun-identity recommend --context prod",
    "# The changed manifests",
    "cloudrun-identity recommend -f manifests/ -o yaml",
    "# Change the files, and mark the recommendations as claimed in Recommender",
    "cloudrun-identity recommend --apply-to manifests/ --mark claimed",
)


@click.command(cls=DetailedExitCode, epilog=EXAMPLES)
@filename_option(required=False)
@project_option("Project with the recommendations. [default: those of all ManagedProjects]")
@locations_option("Location of Cloud Run services")
@click.option(
    "-n",
    "--namespace",
    metavar="NS",
    default="",
    help="Namespace of objects in files without one. [default: default]",
)
@KUBECONFIG
@CONTEXT
@READ_CLUSTER
@output_option(formats=("text", "yaml", "json"), note="With yaml, the changed and the new objects.")
@click.option(
    "--custom-roles",
    is_flag=True,
    help="Replace roles by CustomRoles with the permissions that were used, not by smaller predefined roles.",
)
@click.option(
    "--apply-to",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Change the manifests in the files of this directory, and write new objects to a new file in it.",
)
@click.option(
    "--mark",
    type=click.Choice(["claimed", "succeeded"]),
    help="Set the state of recommendations in Recommender. claimed: those that lead to a change; with "
    "--apply-to, those that were applied. succeeded: claimed ones whose grant was deleted. "
    "[default: change no state]",
)
@google_options
def recommend(
    paths: tuple[Path, ...],
    project: str,
    locations: tuple[str, ...],
    namespace: str,
    kubeconfig: str | None,
    context: str | None,
    cluster: bool,
    output: str,
    custom_roles: bool,
    directory: Path | None,
    mark: str | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print Google's recommendations as changes of manifests.

    Recommender compares the roles of service accounts with the permissions that they used in the last 90
    days. The command compares its recommendations with the objects in the files (-f) or in the cluster
    (--context), and prints the changes: a smaller predefined role, a CustomRole with the permissions that
    were used, or an identity for a service that runs as the default account. If the guardrails do not admit
    a change, the missing entry is printed with it.

    The command reads Google Cloud with your credentials, which need roles/recommender.viewer on the project.
    It changes nothing without --apply-to (files) or --mark (states in Recommender).

    Exit codes: 0 if nothing is recommended, 2 if something is, 1 for an error.
    """
    from cloudrun_identity.exporting.declared import Declared
    from cloudrun_identity.recommendations.role_change import DeclaredKey

    in_cluster = bool(cluster or kubeconfig or context)
    paths = (*paths, *((directory,) if directory and directory not in paths else ()))
    if not paths and not project and not in_cluster:
        raise click.ClickException(
            "name manifests with -f, a project with --project, or a cluster with --context"
        )
    objects: list[Object] = with_cluster(kubeconfig, read_objects, context) if in_cluster else []
    manifests = manifests_in(paths, namespace or "default")
    objects += manifests.objects
    declared = Declared(objects)
    with one_line_errors():
        report = asyncio.run(
            _report(declared, project, locations, mark, custom_roles, google_endpoint, google_token_file)
        )
    for why in report.unreadable:
        click.echo(f"unknown: {why}", err=True)
    raw = {
        DeclaredKey(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects
    }
    _print(report, declared, raw, output)
    if directory:
        from .recommend_files import apply_to

        done = apply_to(directory, report, declared, namespace or "default")
        for line in done.lines:
            click.echo(line, err=True)
        if mark == "claimed":
            report.markable = [each for each in report.markable if done.has(each)]
    if mark and report.markable:
        with one_line_errors():
            asyncio.run(_mark(report.markable, mark, google_endpoint, google_token_file))
    if report.sources and len(report.unreadable) == report.sources:
        sys.exit(1)
    sys.exit(0 if report.is_empty else 2)


async def _report(
    declared: "Declared",
    project: str,
    locations: tuple[str, ...],
    mark: str | None,
    custom_roles: bool,
    endpoint: str | None,
    token_file: Path | None,
) -> "Report":
    """Return the recommendations about the projects. Raises GoogleError."""
    from cloudrun_identity.api import ManagedProject
    from cloudrun_identity.gcp.recommender import Mark

    from .google import google_clients
    from .recommend_reading import Reader

    projects = [project] if project else [each.project_id for each in declared.all(ManagedProject)]
    if not projects:
        raise click.ClickException("there is no ManagedProject; name a project with --project")
    async with google_clients(endpoint, token_file) as clients:
        reader = Reader(clients, declared, Mark(mark) if mark else None, custom_roles=custom_roles)
        for each in dict.fromkeys(projects):
            found = declared.project_on(each)
            await reader.read(each, locations or (tuple(found.spec.locations) if found else ()))
        await reader.suggest()
        return reader.report


async def _mark(markable: "list[Markable]", mark: str, endpoint: str | None, token_file: Path | None) -> None:
    """Set the states of recommendations. Raises GoogleError."""
    from cloudrun_identity.gcp.recommender import Mark

    from .google import google_clients
    from .recommend_reading import set_states

    async with google_clients(endpoint, token_file, read_only=False) as clients:
        await set_states(clients, markable, Mark(mark))


def _print(report: "Report", declared: "Declared", raw: "dict[DeclaredKey, Object]", output: str) -> None:
    """Print the recommendations in the chosen format."""
    from cloudrun_identity.exporting.suggestion_manifests import documents as suggested
    from cloudrun_identity.recommendations.manifests import documents

    from .recommend_output import as_json, as_text, summary

    if output == "text":
        for line in as_text(report):
            click.echo(line)
        return
    changed, new = documents(report.roles, raw, declared), suggested(report.suggestions, declared)
    if output == "json":
        click.echo(as_json(report, [*(each.obj for each in changed), *(each.obj for each in new)]))
        return
    texts = [*(each.text for each in changed), *(each.text for each in new)]
    click.echo("---\n".join(texts), nl=False)
    click.echo(summary(report), err=True)
