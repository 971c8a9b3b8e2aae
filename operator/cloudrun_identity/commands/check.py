"""`cloudrun-identity check`: check that the operator can work, before and after its installation."""

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .check_results import Result, State, all_passed, as_json, as_text, failed, passed, skipped
from .formats import examples, formatted, output_option
from .google import google_clients, google_options, quiet_grpc
from .options import (
    CONTEXT,
    KUBECONFIG,
    NO_COLOR,
    OPERATOR_NAMESPACE,
    Duration,
    operator_namespace_of,
    use_colors,
)
from .permissions import OPERATOR

if TYPE_CHECKING:
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.resources import Object

RETRY_INTERVAL = 2.0
"""Seconds between two attempts with `--wait`."""

CREDENTIALS = "Google Cloud credentials"


@click.command(
    short_help="Check the cluster, the credentials and each ManagedProject.",
    epilog=examples(
        "# Check your permissions before you install the chart",
        "cloudrun-identity check --before-install",
        "# Wait until a new installation works",
        "cloudrun-identity check --wait 2m",
        "# Check the operator, with its own permissions",
        "kubectl exec -n cloudrun-identity deployment/cloudrun-identity -- cloudrun-identity check",
    ),
)
@KUBECONFIG
@CONTEXT
@google_options
@OPERATOR_NAMESPACE
@click.option(
    "--before-install",
    is_flag=True,
    help="Check only the API server, your permissions to install the chart, and the credentials.",
)
@click.option(
    "--wait",
    type=Duration(),
    default="0s",
    help="Repeat failed checks until they pass, for at most this time, such as 2m. [default: check once]",
)
@output_option()
@NO_COLOR
def check(
    kubeconfig: str | None,
    context: str | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
    operator_namespace: str | None,
    before_install: bool,
    wait: timedelta,
    output: str,
    no_color: bool,
) -> None:
    """Check that the operator can work: the cluster, the credentials and each ManagedProject.

    Each line is one check: passed, failed with the commands that repair it, or not checked with the reason.
    The command changes nothing.

    It checks the permissions and the Google Cloud credentials of the user who runs it. To check those of the
    operator, run it in the pod of the operator, as in the last example, or run helm test.

    Exit codes: 0 if no check failed, 1 if one failed, 2 for a wrong option.
    """
    quiet_grpc()
    namespace = operator_namespace_of(operator_namespace)
    ends = time.monotonic() + wait.total_seconds()
    waits_for: list[str] = []
    while True:
        results = asyncio.run(
            _check(kubeconfig, context, google_endpoint, google_token_file, namespace, before_install)
        )
        if all_passed(results) or time.monotonic() + RETRY_INTERVAL > ends:
            break
        failing = [result.check for result in results if result.state is State.FAILED]
        if failing != waits_for:
            click.echo(f"waiting for: {', '.join(failing)}", err=True)
            waits_for = failing
        time.sleep(RETRY_INTERVAL)
    if output == "text":
        colors = use_colors(no_color=no_color)
        click.echo(as_text(results, colors=colors), color=colors)
    else:
        click.echo(formatted(as_json(results), output))
    sys.exit(0 if all_passed(results) else 1)


async def _check(
    kubeconfig: str | None,
    context: str | None,
    endpoint: str | None,
    token_file: Path | None,
    namespace: str,
    before: bool,
) -> tuple[Result, ...]:
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.errors import ClusterUnreachable

    from .cluster_checks import API_SERVER, check_before, check_installed

    try:
        client = await connect(kubeconfig, context)
    except ClusterUnreachable as error:
        unreachable = failed(API_SERVER, str(error))
        return (unreachable, *await _check_google(endpoint, token_file, None))
    try:
        if before:
            return (
                *await check_before(client, namespace),
                *await _check_google(endpoint, token_file, []),
            )
        keys = await _listed(client, "IdentityKey")
        namespaces = {raw["metadata"]["namespace"] for raw in keys or ()}
        projects = await _listed(client, "ManagedProject")
        cluster, google = await asyncio.gather(
            check_installed(client, namespace, namespaces), _check_google(endpoint, token_file, projects)
        )
    finally:
        await client.close()
    return (*cluster, *google)


async def _listed(client: "KubeClient", kind: str) -> "list[Object] | None":
    """Return the objects of a kind; None if they cannot be listed."""
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.objects import resource

    try:
        return await client.list(resource(kind))
    except KubeError:  # the checks of the CRDs and of RBAC report the reason
        return None


async def _check_google(
    endpoint: str | None, token_file: Path | None, projects: "list[Object] | None"
) -> list[Result]:
    """Check the credentials, and each ManagedProject with them. `projects` is None if they are not known."""
    from cloudrun_identity.gcp.errors import CredentialsError

    from .project_checks import check_projects

    unknown = skipped("ManagedProjects", "cannot be listed in the cluster")
    try:
        async with google_clients(endpoint, token_file) as clients:
            credentials = passed(CREDENTIALS, f"act as {clients.identity or 'a user'}")
            operator = f"serviceAccount:{clients.identity}" if clients.identity else OPERATOR
            if projects is None:
                return [credentials, unknown]
            return [credentials, *await check_projects(projects, clients, operator)]
    except CredentialsError as error:
        return [failed(CREDENTIALS, str(error)), skipped("ManagedProjects", "need credentials")]
