"""Options and arguments that `who-can` and `what-can` share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .formats import formatted
from .ledgers import with_cluster
from .options import cluster_option, locations_option, project_option, use_colors

if TYPE_CHECKING:
    from .access_cluster import ClusterFacts
    from .access_output import Report

Command = TypeVar("Command", bound=Callable[..., Any])

PROJECT = project_option("Project of the resource. [default: that of the account]")
LOCATIONS = locations_option("Location of the workloads to read")
CLUSTER = cluster_option("Read the ledgers of the current context or of this pod.")


def cluster_facts(kubeconfig: str | None, context: str | None, *, cluster: bool) -> "ClusterFacts | None":
    """Return the state of the cluster that the options name; None if they name none."""
    if not (cluster or kubeconfig or context):
        return None
    from .access_cluster import read_cluster

    return with_cluster(kubeconfig, read_cluster, context)


def account_of(text: str, cluster: "ClusterFacts | None") -> str:
    """Return the e-mail of an account from the form NAMESPACE/NAME of its CloudRunIdentity, or EMAIL."""
    text = text.removeprefix("serviceAccount:")
    if "@" in text:
        return text
    if text.count("/") != 1:
        raise click.UsageError(f"{text!r} is neither the e-mail of an account nor NAMESPACE/NAME")
    if cluster is None:
        raise click.UsageError(f"name the cluster of CloudRunIdentity {text} with --context or --cluster")
    return cluster.email_of(text)


def project_of(email: str, project: str) -> str:
    """Return the project of an account."""
    from cloudrun_identity.gcp.service_accounts import project_id_of_email

    found = project or project_id_of_email(email)
    if not found:
        raise click.UsageError(f"name the project of {email} with --project")
    return found


def principal_in(text: str) -> str:
    """Return a principal as policies write it."""
    from cloudrun_identity.iam.principals import PrincipalKind, parse

    if parse(text).kind in (PrincipalKind.OPAQUE, PrincipalKind.DELETED):
        raise click.UsageError(
            f"{text!r} is no principal: use user:EMAIL, group:EMAIL, serviceAccount:EMAIL, principal://… or "
            "the like"
        )
    return text


def print_report(report: "Report", output: str, *, no_color: bool, by_resource: bool = False) -> None:
    """Print a report in the chosen format."""
    from .access_output import as_data, as_text

    if output != "text":
        click.echo(formatted(as_data(report), output))
        return
    for line in as_text(report, colors=use_colors(no_color=no_color), by_resource=by_resource):
        click.echo(line)
