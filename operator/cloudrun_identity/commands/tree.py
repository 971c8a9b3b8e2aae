"""`cloudrun-identity tree`: show identities with their workloads, users and grants."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import click

from .formats import examples, formatted, output_option
from .options import CONTEXT, KUBECONFIG, SHOWN_NAMESPACE

if TYPE_CHECKING:
    from cloudrun_identity.api import Resource
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.resources import Objects
    from cloudrun_identity.overview.identities import Node

Kind = TypeVar("Kind", bound="Resource")

UNMANAGED = (
    "Grants that no object declares are not shown. To show them: cloudrun-identity who-can act-as "
    "NAMESPACE/NAME --cluster"
)


@click.command(
    epilog=examples(
        "cloudrun-identity tree",
        "cloudrun-identity tree -n payments -o json",
        "cloudrun-identity tree -o html >identities.html",
    )
)
@SHOWN_NAMESPACE
@output_option("mermaid", "dot", "html")
@KUBECONFIG
@CONTEXT
def tree(namespace: str, output: str, kubeconfig: str | None, context: str | None) -> None:
    """Show identities with their workloads, users and grants.

    The command reads CloudRunIdentity, IAMBinding and CustomRole objects, and makes no calls to Google Cloud.
    It shows the grants that objects declare, on an account or on its whole project. who-can shows unmanaged
    and inherited grants too.
    """
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError

    from .identity_tree import as_json, as_text

    try:
        known = asyncio.run(_read(kubeconfig, context, namespace))
    except ClusterUnreachable as error:
        raise click.ClickException(str(error)) from None
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the CRDs are not installed: run `{INSTALL}`") from None
        raise click.ClickException(str(error)) from None
    nodes = tuple(node for node in known if namespace in ("", node.namespace))
    if output in ("mermaid", "dot", "html"):
        from . import identity_pictures as pictures

        draw = {"mermaid": pictures.as_mermaid, "dot": pictures.as_dot, "html": pictures.as_html}[output]
        click.echo(draw(nodes))
    elif output != "text":
        click.echo(formatted(as_json(nodes), output))
    elif nodes:
        click.echo(as_text(nodes, known))
        click.echo(UNMANAGED, err=True)
    else:
        where = f"in namespace {namespace}" if namespace else "in the cluster"
        click.echo(f"no CloudRunIdentity {where}")


async def _read(kubeconfig: str | None, context: str | None, namespace: str) -> "tuple[Node, ...]":
    """Return the identities of all namespaces, because any object may declare a grant on a project.

    A user without access to all namespaces gets those of the named one.
    """
    from cloudrun_identity.api import CloudRunIdentity, CustomRole, IAMBinding
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.overview.identities import nodes_of

    client = await connect(kubeconfig, context)
    try:
        identities = await _list(client, CloudRunIdentity, namespace)
        bindings = await _list(client, IAMBinding, namespace)
        roles = await _list(client, CustomRole, namespace)
    finally:
        await client.close()
    return nodes_of(
        _valid(identities, CloudRunIdentity), _valid(bindings, IAMBinding), _valid(roles, CustomRole)
    )


async def _list(client: "KubeClient", kind: type[Kind], namespace: str) -> "Objects":
    """Return the objects of all namespaces, or of the named one if the user may list only these."""
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.objects import resource

    try:
        return await client.list(resource(kind.__name__))
    except KubeError as error:
        if not namespace or error.status != HTTPStatus.FORBIDDEN:
            raise
        click.echo(f"left out: each {kind.__name__} outside namespace {namespace}: {error}", err=True)
        return await client.list(resource(kind.__name__), namespace)


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
