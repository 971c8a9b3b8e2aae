"""`cloudrun-identity plan`: print what applying manifests would change in Google Cloud."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudrun_identity import __version__

from .formats import examples, formatted, output_option
from .google import google_clients, google_options, one_line_errors
from .ledgers import with_cluster
from .options import (
    CONTEXT,
    DEFAULT_NAMESPACE,
    KUBECONFIG,
    NO_COLOR,
    OBJECT_NAMESPACE,
    DetailedExitCode,
    cluster_option,
    filename_option,
    manifests_in,
    nothing_found,
    use_colors,
)
from .plan_output import PlanOutput, as_json, as_text
from .plan_reports import as_annotations, as_markdown, as_sarif
from .progress import Progress

if TYPE_CHECKING:
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.manifest_files import Manifests
    from cloudrun_identity.plan.model import DryRun

EXAMPLES = examples(
    "# Before the first installation: what these manifests would do to Google Cloud",
    "cloudrun-identity plan -f manifests/",
    "# What a pull request would change in a running cluster, removals included",
    "cloudrun-identity plan -f manifests/ --context prod --prune",
    "# Rendered manifests, for a program",
    "kustomize build prod | cloudrun-identity plan -f - --context prod -o json",
    "# In a GitHub workflow: annotations on the files, and a summary of the job",
    "cloudrun-identity plan -f manifests/ --kubeconfig kubeconfig -o github",
)


@click.command(cls=DetailedExitCode, epilog=EXAMPLES)
@filename_option(required=True)
@OBJECT_NAMESPACE
@KUBECONFIG
@CONTEXT
@cluster_option("Plan for the cluster of the current context or of this pod.")
@click.option(
    "--operator-namespace",
    metavar="NS",
    help="Namespace of the PolicyLedgers. [default: the one in status.operator of the ManagedProjects]",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Plan to delete objects of the kinds and namespaces in the files that the files do not have.",
)
@output_option("github", "sarif")
@click.option(
    "--summary-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="GITHUB_STEP_SUMMARY",
    help="File to append the Markdown summary of -o github to. [default: GITHUB_STEP_SUMMARY, else stdout]",
)
@NO_COLOR
@google_options
def plan(
    paths: tuple[Path, ...],
    namespace: str,
    kubeconfig: str | None,
    context: str | None,
    cluster: bool,
    operator_namespace: str | None,
    prune: bool,
    output: str,
    summary_file: Path | None,
    no_color: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print what applying manifests would change in Google Cloud. Nothing is written.

    With a cluster, the plan is for its objects and ledgers, which are only read: it shows edits as edits, and
    what would be removed. Without one, it assumes that the cluster has no other objects.

    Exit codes: 0 if nothing would change, 2 if something would change, 1 for an error: an option or a
    manifest is invalid, something could not be read, or an object would not become Ready.
    """
    from cloudrun_identity.api import GROUP

    in_cluster = bool(cluster or kubeconfig or context)
    if prune and not in_cluster:
        raise click.ClickException("--prune requires a cluster: use --kubeconfig, --context or --cluster")
    manifests, progress = manifests_in(paths, namespace), Progress()
    if all(obj["kind"] == "Namespace" for obj in manifests.objects):
        raise nothing_found(f"object of {GROUP}", paths)

    with one_line_errors():
        if in_cluster:
            planned = _planned_in_cluster(
                manifests,
                kubeconfig,
                context,
                operator_namespace,
                google_endpoint,
                google_token_file,
                progress,
                prune=prune,
            )
        else:
            planned = asyncio.run(_planned_alone(manifests, google_endpoint, google_token_file, progress))
    result = PlanOutput(planned, manifests, in_cluster)
    _print(result, output, summary_file, colors=use_colors(no_color=no_color))
    sys.exit(result.exit_code)


async def _planned_alone(
    manifests: "Manifests", endpoint: str | None, token_file: Path | None, progress: Progress
) -> "DryRun":
    from cloudrun_identity.plan.dry_run import dry_run

    async with progress.printed(), google_clients(endpoint, token_file) as clients:
        return await dry_run(clients, manifests.objects, progress.reconciled)


def _planned_in_cluster(
    manifests: "Manifests",
    kubeconfig: str | None,
    context: str | None,
    operator_namespace: str | None,
    endpoint: str | None,
    token_file: Path | None,
    progress: Progress,
    *,
    prune: bool,
) -> "DryRun":
    from cloudrun_identity.kube.connection import pod_namespace
    from cloudrun_identity.plan.cluster_objects import LedgersMissing, read_cluster
    from cloudrun_identity.plan.cluster_plan import plan_in_cluster

    async def work(client: "KubeClient") -> "DryRun":
        async with progress.printed():
            progress.show("reading the objects of the cluster")
            found = await read_cluster(client, operator_namespace, pod_namespace() or DEFAULT_NAMESPACE)
            async with google_clients(endpoint, token_file) as clients:
                return await plan_in_cluster(
                    clients, found, manifests.objects, prune=prune, progress=progress.reconciled
                )

    try:
        return with_cluster(kubeconfig, work, context)
    except LedgersMissing as error:
        raise click.ClickException(str(error)) from None


def _print(result: PlanOutput, output: str, summary_file: Path | None, *, colors: bool) -> None:
    """Print the plan in the chosen format."""
    match output:
        case "json" | "yaml":
            click.echo(formatted(as_json(result), output))
        case "sarif":
            click.echo(formatted(as_sarif(result, __version__), output))
        case "github":
            for line in as_annotations(result):
                click.echo(line)
            _add_summary(as_markdown(result), summary_file)
        case _:
            for line in as_text(result, colors=colors):
                click.echo(line, color=colors)


def _add_summary(markdown: str, summary_file: Path | None) -> None:
    """Append the summary to the file; print it if there is none."""
    if summary_file is None:
        click.echo(markdown, nl=False)
        return
    try:
        with summary_file.open("a", encoding="utf-8") as file:
            file.write(markdown)
    except OSError as error:
        raise click.ClickException(f"--summary-file {summary_file}: {error.strerror or error}") from None
