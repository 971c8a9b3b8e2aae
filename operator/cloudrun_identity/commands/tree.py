"""`cloudrun-identity tree`: who may act as whom, and what runs as it."""

import asyncio
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from .cluster import KUBECONFIG

if TYPE_CHECKING:
    from cloudrun_identity.api import Resource
    from cloudrun_identity.kube.resources import Objects

    from .identity_tree import Node

Kind = TypeVar("Kind", bound="Resource")


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
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError

    from .identity_tree import as_json, as_text

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
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.objects import resource

    from .identity_tree import nodes_of

    client = await connect(kubeconfig)
    try:
        identities = await client.list(resource(CloudRunIdentity.__name__), namespace)
        bindings = await client.list(resource(IAMBinding.__name__), namespace)
    finally:
        await client.close()
    return nodes_of(_readable(identities, CloudRunIdentity), _readable(bindings, IAMBinding))


def _readable(raws: "Objects", kind: type[Kind]) -> Iterator[Kind]:
    """The objects but for those that an older or a laxer definition of their kind let in: these are named."""
    from pydantic import ValidationError

    from cloudrun_identity.api.validation import misfits

    for raw in raws:
        try:
            yield kind.model_validate(raw)
        except ValidationError as error:
            metadata = raw["metadata"]
            name = f"{kind.__name__} {metadata['namespace']}/{metadata['name']}"
            click.echo(f"left out: {name} cannot be read: {misfits(error)[0]}", err=True)
