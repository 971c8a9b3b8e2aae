"""`cloudrun-identity tree`: who may act as whom, and what runs as it."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from .cluster import KUBECONFIG

if TYPE_CHECKING:
    from cloudrun_identity.commands.identity_tree import Node


@click.command()
@click.option("-n", "--namespace", metavar="NS", default="", help="Only this namespace. [default: all]")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A tree to look at, or everything for programs.",
)
@KUBECONFIG
def tree(namespace: str, output: str, kubeconfig: str | None) -> None:
    """Show who may act as whom, and what runs as it.

    It is told from the statuses of CloudRunIdentity and IAMBinding objects; Google Cloud is not asked.
    """
    from cloudrun_identity.commands.identity_tree import as_json, as_text
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError

    try:
        nodes = asyncio.run(_read(kubeconfig, namespace))
    except ClusterUnreachable as error:
        raise click.ClickException(str(error)) from None
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the cluster does not have our kinds: run `{INSTALL}`") from None
        raise click.ClickException(str(error)) from None
    if output == "json":
        click.echo(json.dumps(as_json(nodes), indent=2))
    elif nodes:
        click.echo(as_text(nodes))
    else:
        where = f"in namespace {namespace}" if namespace else "in the cluster"
        click.echo(f"there is no CloudRunIdentity {where}")


async def _read(kubeconfig: str | None, namespace: str) -> "tuple[Node, ...]":
    from cloudrun_identity.api import CloudRunIdentity, IAMBinding
    from cloudrun_identity.commands.identity_tree import nodes_of
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.objects import resource

    client = await connect(kubeconfig)
    try:
        found: dict[Any, Any] = {
            kind: [kind.model_validate(raw) for raw in await client.list(resource(kind.__name__), namespace)]
            for kind in (CloudRunIdentity, IAMBinding)
        }
    finally:
        await client.close()
    return nodes_of(found[CloudRunIdentity], found[IAMBinding])
