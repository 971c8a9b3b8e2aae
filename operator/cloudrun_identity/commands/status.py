"""`cloudrun-identity status`: show which objects need attention, which wait, and what drifted."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from .formats import examples, formatted, output_option
from .options import CONTEXT, KUBECONFIG, NO_COLOR, SHOWN_NAMESPACE, use_colors

if TYPE_CHECKING:
    from cloudrun_identity.kube.resources import Objects
    from cloudrun_identity.overview.cluster_status import ClusterStatus, ObjectStatus

WATCH_INTERVAL = 2.0
"""Seconds between two reads with `--watch`."""


@click.command(
    short_help="Show which objects need attention, and what drifted.",
    epilog=examples(
        "cloudrun-identity status",
        "cloudrun-identity status -n payments --watch",
        "kubectl cloudrun-identity status -o json",
    ),
)
@SHOWN_NAMESPACE
@click.option("-A", "--all-namespaces", is_flag=True, help="Show all namespaces, which is the default.")
@click.option("-w", "--watch", is_flag=True, help="Print the status again whenever it changes.")
@output_option()
@KUBECONFIG
@CONTEXT
@NO_COLOR
def status(
    namespace: str,
    all_namespaces: bool,
    watch: bool,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    no_color: bool,
) -> None:
    """Show which objects need attention, which wait, and what drifted in the last 24 hours.

    Each line ends with the command to run next. The command reads the cluster only. Exit codes: 0 if no
    object needs attention, 1 if one does or the cluster cannot be read, 2 for a wrong option.
    """
    if namespace and all_namespaces:
        raise click.UsageError("use either --namespace or --all-namespaces")
    printed: tuple[ObjectStatus, ...] | None = None
    while True:
        found = _status(kubeconfig, context, namespace)
        if found.objects != printed:
            if printed is not None and output == "text":
                click.echo()
            click.echo(_formatted(found, output, colors=use_colors(no_color=no_color)))
            printed = found.objects
        if not watch:
            break
        time.sleep(WATCH_INTERVAL)
    sys.exit(1 if found.needs_attention else 0)


def _status(kubeconfig: str | None, context: str | None, namespace: str) -> "ClusterStatus":
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError
    from cloudrun_identity.overview.cluster_status import status_of

    try:
        objects = asyncio.run(_read(kubeconfig, context, namespace))
    except ClusterUnreachable as error:
        raise click.ClickException(str(error)) from None
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the CRDs are not installed: run `{INSTALL}`") from None
        raise click.ClickException(str(error)) from None
    return status_of(objects, datetime.now(UTC))


async def _read(kubeconfig: str | None, context: str | None, namespace: str) -> "Objects":
    """Return the objects of a namespace, or those of all namespaces and the ManagedProjects."""
    from cloudrun_identity.api import KINDS, PolicyLedger, Scope
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.objects import resource

    client = await connect(kubeconfig, context)
    try:
        return [
            {**raw, "kind": kind}
            for kind, model in KINDS.items()
            if model is not PolicyLedger and not (namespace and model.scope is Scope.CLUSTER)
            for raw in await client.list(resource(kind), namespace)
        ]
    finally:
        await client.close()


def _formatted(found: "ClusterStatus", output: str, *, colors: bool) -> str:
    from .cluster_status import as_data, as_text

    if output == "text":
        return "\n".join(as_text(found, colors=colors))
    return formatted(as_data(found), output)
