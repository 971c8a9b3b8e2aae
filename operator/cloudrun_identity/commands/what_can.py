"""`cloudrun-identity what-can`: show what a principal can do in a project."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .access_options import (
    CLUSTER,
    LOCATIONS,
    PROJECT,
    account_of,
    cluster_facts,
    principal_in,
    print_report,
    project_of,
)
from .formats import examples, output_option
from .google import google_clients, google_options, one_line_errors
from .options import CONTEXT, KUBECONFIG, NO_COLOR
from .progress import Progress

if TYPE_CHECKING:
    from .access_cluster import ClusterFacts
    from .access_output import Report


@click.command(
    "what-can",
    short_help="Show the roles of a principal, and what they permit.",
    epilog=examples(
        "cloudrun-identity what-can user:ann@example.com --project payments-prod-1234 "
        "--location europe-west1",
        "cloudrun-identity what-can payments/checkout --context prod -o json",
    ),
)
@click.argument("principal", metavar="PRINCIPAL")
@PROJECT
@LOCATIONS
@KUBECONFIG
@CONTEXT
@CLUSTER
@output_option()
@NO_COLOR
@google_options
def what_can(
    principal: str,
    project: str,
    locations: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    cluster: bool,
    output: str,
    no_color: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Show the roles of a principal in a project, and what it can do with accounts and workloads.

    PRINCIPAL is a member such as user:ann@example.com, the e-mail of a service account, or NAMESPACE/NAME of
    a CloudRunIdentity. The project is by default that of the account. Answers are as for who-can. Roles on
    resources other than the project, its folders and organization, its accounts, and its workloads in the
    locations are not read.

    Exit codes: 0 for an answer, 1 for an error, 2 for a wrong option.
    """
    found = cluster_facts(kubeconfig, context, cluster=cluster)
    member = _member(principal, found)
    if member.startswith("serviceAccount:"):
        project = project_of(member.partition(":")[2], project)
    elif not project:
        raise click.UsageError("name the project with --project")
    places = locations or (found.locations.get(project, ()) if found else ())
    with one_line_errors():
        report = asyncio.run(_report(member, project, places, found, google_endpoint, google_token_file))
    print_report(report, output, no_color=no_color, by_resource=True)


def _member(principal: str, cluster: "ClusterFacts | None") -> str:
    """Return the principal as policies write it."""
    is_account = principal.endswith(".gserviceaccount.com") and ":" not in principal
    if is_account or (principal.count("/") == 1 and ":" not in principal):
        return f"serviceAccount:{account_of(principal, cluster)}"
    return principal_in(principal)


async def _report(
    member: str,
    project: str,
    locations: tuple[str, ...],
    cluster: "ClusterFacts | None",
    endpoint: str | None,
    token_file: Path | None,
) -> "Report":
    from cloudrun_identity.iam.access_questions import held_roles
    from cloudrun_identity.iam.access_questions import what_can as abilities

    from .access_output import Report
    from .access_survey import AccessSurvey

    progress = Progress()
    async with google_clients(endpoint, token_file) as clients, progress.printed():
        survey = AccessSurvey(clients, project, locations, progress.show)
        found = await survey.everything()
    if not locations:
        survey.unknown.append("the workloads of the project: name their locations with --location")
    facts = (
        found.project,
        *(each.facts for each in found.accounts),
        *(each.facts for each in found.workloads),
    )
    return Report(
        member,
        project,
        abilities(member, found.accounts, found.workloads),
        managed=cluster.managed(project) if cluster else None,
        roles=held_roles(member, facts),
        unknown=(*survey.unknown, *(cluster.invalid if cluster else ())),
    )
