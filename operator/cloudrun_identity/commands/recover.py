"""`cloudrun-identity recover`: propose the records of lost PolicyLedgers, and store them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .formats import examples
from .google import google_clients, google_options, one_line_errors
from .ledgers import with_cluster
from .options import KUBECONFIG, OPERATOR_NAMESPACE, operator_namespace_of

if TYPE_CHECKING:
    from cloudrun_identity.kube.client import KubeClient
    from cloudrun_identity.kube.resources import Object
    from cloudrun_identity.plan.recovery import Recovery, RecoveryOptions


@click.command(
    short_help="Print the records that lost PolicyLedgers had.",
    epilog=examples(
        "cloudrun-identity recover",
        "cloudrun-identity recover --write",
    ),
)
@OPERATOR_NAMESPACE
@click.option("--write", is_flag=True, help="Store the records. The operator must not run.")
@click.option(
    "--without-status",
    is_flag=True,
    help="Also record accounts and custom roles of objects whose status does not prove that the operator "
    "had them, as adopted.",
)
@click.option(
    "--present-before",
    is_flag=True,
    help="Also record as managed the grants that a ledger records as present before their object.",
)
@KUBECONFIG
@google_options
def recover(
    operator_namespace: str | None,
    write: bool,
    without_status: bool,
    present_before: bool,
    kubeconfig: str | None,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Print the records that lost PolicyLedgers had, as far as objects and Google Cloud show them.

    A grant is recorded as managed if an object in the cluster declares it, the guardrails admit it, and the
    policy has it. The command writes nothing to Google Cloud.
    """
    from cloudrun_identity.plan.recovery import RecoveryOptions

    namespace = operator_namespace_of(operator_namespace)
    options = RecoveryOptions(without_status=without_status, present_before=present_before)

    async def work(client: "KubeClient") -> "Recovery":
        if write:
            await _check_stopped(client, namespace)
        recovery = await _propose(client, namespace, options, google_endpoint, google_token_file)
        if write:
            await _store(client, namespace, recovery)
        return recovery

    with one_line_errors():
        recovery = with_cluster(kubeconfig, work)
    for line in _lines(recovery, namespace, written=write):
        click.echo(line)


async def _propose(
    client: "KubeClient",
    namespace: str,
    options: "RecoveryOptions",
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> "Recovery":
    from cloudrun_identity.plan.recovery import recover as recovered

    objects = await _objects(client)
    async with google_clients(google_endpoint, google_token_file) as clients:
        return await recovered(clients, objects, namespace, options)


async def _objects(client: "KubeClient") -> "list[Object]":
    """Return the namespaces, and the objects of all installed kinds."""
    from cloudrun_identity.kube.crds import SERVED, installed
    from cloudrun_identity.kube.objects import resource
    from cloudrun_identity.kube.resources import NAMESPACES

    listed: list[Any] = [{"kind": "Namespace", **raw} for raw in await client.list(NAMESPACES)]
    for kind, state in (await installed(client)).items():
        if state in SERVED:
            listed += await client.list(resource(kind))
    return listed


async def _check_stopped(client: "KubeClient", namespace: str) -> None:
    """Watch the operator's Lease until it ends. Raise a command error if a replica renews it."""
    from cloudrun_identity.kube.lease import NAME
    from cloudrun_identity.kube.lease_observer import READ_INTERVAL, LeaseObserver, LeaseState

    observer = LeaseObserver(client, time.monotonic)
    seen = first = await observer.observe(namespace, NAME)
    if first.holder:
        click.echo(f"waiting to see whether {first.holder} renews Lease {namespace}/{NAME}", err=True)
    while seen.holder and seen.state is not LeaseState.ENDED:
        if seen.problem:
            raise click.ClickException(f"lease {namespace}/{NAME} cannot be read: {seen.problem}")
        if seen.renewals:
            raise click.ClickException(
                f"{seen.holder} renews Lease {namespace}/{NAME}, so the operator runs; stop it first: "
                f"kubectl scale deployment cloudrun-identity --namespace {namespace} --replicas 0"
            )
        await asyncio.sleep(READ_INTERVAL)
        seen = await observer.observe(namespace, NAME)


async def _store(client: "KubeClient", namespace: str, recovery: "Recovery") -> None:
    from cloudrun_identity.kube.objects import ensure_namespace
    from cloudrun_identity.ledger.limits import LedgerFull
    from cloudrun_identity.ledger.objects import LedgerInvalid
    from cloudrun_identity.ledger.store import LedgerPruned, Ledgers

    await ensure_namespace(client, namespace)
    ledgers = Ledgers(client, namespace)
    await ledgers.fill()
    try:
        for each in recovery.ledgers:
            await ledgers.update(each.target, each.change())
    except (LedgerFull, LedgerInvalid, LedgerPruned) as error:
        raise click.ClickException(str(error)) from None


def _lines(recovery: "Recovery", namespace: str, *, written: bool) -> Iterator[str]:
    """Yield the records by ledger, then the objects without, then the summary."""
    for ledger in recovery.ledgers:
        yield f"PolicyLedger of {ledger.target} in project {ledger.target.project_id}"
        yield from (f"  + {line}" for line in ledger.lines())
    for blocker in recovery.blockers:
        yield f"{'!' if blocker.final else '?'} {blocker.object}: {blocker.reason}: {blocker.message}"
    count = len(recovery.ledgers)
    ledgers = f"{count} ledger{'' if count == 1 else 's'}"
    if not count:
        yield "No record is missing."
    elif written:
        yield f"Stored records in {ledgers} in namespace {namespace}."
    else:
        yield f"Records are missing in {ledgers}. Check each of them; --write stores them in {namespace}."
