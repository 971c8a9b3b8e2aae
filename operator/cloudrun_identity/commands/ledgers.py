"""`cloudrun-identity ledgers`: export the PolicyLedgers of an operator, and import them elsewhere."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .formats import examples
from .options import KUBECONFIG, OPERATOR_NAMESPACE, operator_namespace_of

if TYPE_CHECKING:
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.resources import Object
    from cloudrun_identity.ledger.transfer import PlannedImport

Result = TypeVar("Result")


@click.group(
    epilog=examples(
        "cloudrun-identity ledgers export -o ledgers.yaml",
        "cloudrun-identity ledgers import -f ledgers.yaml",
    )
)
def ledgers() -> None:
    """Export and import PolicyLedgers."""


@ledgers.command(name="export", epilog=examples("cloudrun-identity ledgers export -o ledgers.yaml"))
@OPERATOR_NAMESPACE
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write to. [default: stdout]",
)
@KUBECONFIG
def export_ledgers(operator_namespace: str | None, output: Path | None, kubeconfig: str | None) -> None:
    """Print the PolicyLedgers of an operator as manifests.

    Stop the operator before you import its ledgers elsewhere. The command names on stderr the replica that
    holds the operator's Lease.
    """
    import yaml

    from cloudrun_identity.ledger.transfer import exported

    namespace = operator_namespace_of(operator_namespace)

    async def read(client: "KubeClient") -> "tuple[list[Object], str]":
        return await _stored_ledgers(client, namespace), await _holder(client, namespace)

    stored, holder = with_cluster(kubeconfig, read)
    if not stored:
        raise click.ClickException(f"there is no PolicyLedger in namespace {namespace}")
    text = yaml.safe_dump_all([exported(raw) for raw in stored], sort_keys=False)
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            output.write_text(text)
        except OSError as error:
            raise click.ClickException(f"--output {output}: {error.strerror or error}") from error
    if holder:
        click.echo(
            f"warning: {holder} holds Lease {namespace}/{_lease_name()}: if it runs, these ledgers are a "
            "backup, and it may change them at any time. Stop it before you import them elsewhere",
            err=True,
        )


@ledgers.command(name="import", epilog=examples("cloudrun-identity ledgers import -f ledgers.yaml"))
@click.option(
    "-f",
    "--filename",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    required=True,
    help="File of `ledgers export` or `kubectl get pledger --output yaml`, or - for stdin.",
)
@OPERATOR_NAMESPACE
@click.option("--replace", is_flag=True, help="Replace PolicyLedgers that record something else.")
@KUBECONFIG
def import_ledgers(
    filename: Path, operator_namespace: str | None, replace: bool, kubeconfig: str | None
) -> None:
    """Store PolicyLedgers in the namespace of an operator.

    The command changes nothing if a document is invalid, or if a stored ledger records something else.
    """
    from cloudrun_identity.kube.objects import ensure_namespace
    from cloudrun_identity.ledger.transfer import NotImportable, plan_import

    namespace = operator_namespace_of(operator_namespace)
    documents = _documents(filename)

    async def store(client: "KubeClient") -> "Sequence[PlannedImport]":
        planned = plan_import(documents, await _stored_ledgers(client, namespace), namespace, replace=replace)
        await ensure_namespace(client, namespace)
        for each in planned:
            await _store(client, each)
            click.echo(each)
        return planned

    try:
        planned = with_cluster(kubeconfig, store)
    except NotImportable as error:
        raise click.ClickException(f"{filename}: {error}") from None
    if not planned:
        raise click.ClickException(f"{filename}: there is no PolicyLedger")


def with_cluster(
    kubeconfig: str | None, work: "Callable[[KubeClient], Awaitable[Result]]", context: str | None = None
) -> Result:
    """Return the result of `work` on a connection to the cluster. An error is one line."""
    from cloudrun_identity.kube.client import connect
    from cloudrun_identity.kube.errors import ClusterUnreachable, KubeError

    async def run() -> Result:
        client = await connect(kubeconfig, context)
        try:
            return await work(client)
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    except (ClusterUnreachable, KubeError) as error:
        raise click.ClickException(str(error)) from None


async def _stored_ledgers(client: "KubeClient", namespace: str) -> "list[Object]":
    from cloudrun_identity.api import PolicyLedger
    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.objects import resource

    try:
        return await client.list(resource(PolicyLedger.__name__), namespace)
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the CRDs are not installed: run `{INSTALL}`") from None
        raise


async def _store(client: "KubeClient", planned: "PlannedImport") -> None:
    from cloudrun_identity.kube.objects import resource_of
    from cloudrun_identity.ledger.transfer import ImportAction

    match planned.action:
        case ImportAction.CREATE:
            await client.create(resource_of(planned.obj), planned.obj)
        case ImportAction.REPLACE:
            await client.replace(resource_of(planned.obj), planned.obj)
        case ImportAction.KEEP:
            pass


async def _holder(client: "KubeClient", namespace: str) -> str:
    """Return the holder of the operator's Lease; empty if it was released or does not exist."""
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.resources import LEASES

    try:
        lease = await client.get(LEASES, _lease_name(), namespace)
    except KubeError as error:
        if error.is_not_found:
            return ""
        raise
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def _lease_name() -> str:
    from cloudrun_identity.kube.lease import NAME

    return NAME


def _documents(filename: Path) -> list[Any]:
    import yaml

    try:
        text = sys.stdin.read() if str(filename) == "-" else filename.read_text()
        return list(yaml.safe_load_all(text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{filename}: {' '.join(str(error).split())}") from error
