"""`cloudrun-identity tree`: show identities with their workloads, users and grants."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from .formats import examples, formatted, output_option
from .options import CONTEXT, KUBECONFIG

if TYPE_CHECKING:
    from cloudrun_identity.api import Resource
    from cloudrun_identity.kube.resources import Objects

    from .identity_tree import Node

Kind = TypeVar("Kind", bound="Resource")


@click.command(
    epilog=examples(
        "cloudrun-identity tree",
        "cloudrun-identity tree -n payments -o json",
    )
)
@click.option("-n", "--namespace", metavar="NS", default="", help="Namespace to show. [default: all]")
@output_option()
@KUBECONFIG
@CONTEXT
def tree(namespace: str, output: str, kubeconfig: str | None, context: str | None) -> None:
    """Show identities with their workloads, users and grants.

    The command reads the status of CloudRunIdentity and IAMBinding objects, and makes no calls to Google
    Cloud.
    """
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError

    from .identity_tree import as_json, as_text

    try:
        nodes = asyncio.run(_read(kubeconfig, context, namespace))
    except ClusterUnreachable as error:
        raise click.ClickException(str(error)) from None
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the CRDs are not installed: run `{INSTALL}`") from None
        raise click.ClickException(str(error)) from None
    if output != "text":
        click.echo(formatted(as_json(nodes), output))
    elif nodes:
        click.echo(as_text(nodes))
    else:
        where = f"in namespace {namespace}" if namespace else "in the cluster"
        click.echo(f"no CloudRunIdentity {where}")


async def _read(kubeconfig: str | None, context: str | None, namespace: str) -> "tuple[Node, ...]":
    from cloudrun_identity.api import CloudRunIdentity, IAMBinding
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.objects import resource

    from .identity_tree import nodes_of

    client = await connect(kubeconfig, context)
    try:
        identities = await client.list(resource(CloudRunIdentity.__name__), namespace)
        bindings = await client.list(resource(IAMBinding.__name__), namespace)
    finally:
        await client.close()
    return nodes_of(_valid(identities, CloudRunIdentity), _valid(bindings, IAMBinding))


def _valid(raws: "Objects", kind: type[Kind]) -> Iterator[Kind]:
    """Yield the valid objects, and name the others: an older or laxer CRD may have admitted them."""
    from pydantic import ValidationError

    from cloudrun_identity.api.validation import misfits

    for raw in raws:
        try:
            yield kind.model_validate(raw)
        except ValidationError as error:
            metadata = raw["metadata"]
            name = f"{kind.__name__} {metadata['namespace']}/{metadata['name']}"
            click.echo(f"left out: {name} is invalid: {misfits(error)[0]}", err=True)
