"""`cloudrun-identity ui`: serve a web page that shows identities and who may act as them."""

import asyncio
import errno
import os
import signal
from typing import TYPE_CHECKING

import click

from .formats import examples
from .options import CONTEXT, KUBECONFIG, SHOWN_NAMESPACE

if TYPE_CHECKING:
    from aiohttp import web

    from cloudrun_identity.kube.client import KubeClient

READ_INTERVAL = 1.0
"""Minimum seconds between two reads of the cluster."""


@click.command(
    short_help="Serve a web page with identities, access and drift.",
    epilog=examples(
        "cloudrun-identity ui",
        "cloudrun-identity ui -n payments --open",
    ),
)
@SHOWN_NAMESPACE
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=8090,
    help="Port of the page; 0 for any free port. [default: 8090]",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    default="127.0.0.1",
    help="Address to listen on. The page has no login: all who can connect to it see the objects. "
    "[default: 127.0.0.1, this machine only]",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="Host name in the URL of the page, such as that of a proxy; repeatable. [default: localhost and "
    "loopback addresses only]",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
@KUBECONFIG
@CONTEXT
def ui(
    namespace: str,
    port: int,
    address: str,
    allowed_hosts: tuple[str, ...],
    open_browser: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Serve a web page with the identities, who may act as them, drift, and objects that need attention.

    The command prints the address of the page, and serves it until Ctrl-C. The page shows the objects that
    your kubeconfig may read, and updates every two seconds. It is read-only, makes no calls to Google Cloud,
    and loads nothing from other hosts.
    """
    from cloudrun_identity.kube.errors import ClusterUnreachable

    try:
        asyncio.run(_serve(kubeconfig, context, namespace, address, port, allowed_hosts, open_browser))
    except ClusterUnreachable as error:
        raise click.ClickException(str(error)) from None


async def _serve(
    kubeconfig: str | None,
    context: str | None,
    namespace: str,
    address: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    open_browser: bool,
) -> None:
    from aiohttp import web

    from cloudrun_identity.kube.client import connect

    client = await connect(kubeconfig, context)
    try:
        await _check_kinds(client)
        app = _application(client, namespace, address, allowed_hosts)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            url = await _listen(runner, address, port)
            click.echo(f"{url}  (read-only; Ctrl-C ends it)")
            if open_browser:
                click.launch(url)
            await _until_interrupted()
        finally:
            await runner.cleanup()
    finally:
        await client.close()


async def _check_kinds(client: "KubeClient") -> None:
    """Report missing CRDs before the page is opened."""
    from http import HTTPStatus

    from cloudrun_identity.kube.crds import INSTALL
    from cloudrun_identity.kube.errors import KubeError
    from cloudrun_identity.kube.objects import resource

    try:
        await client.list(resource("ManagedProject"))
    except KubeError as error:
        if error.is_not_found:
            raise click.ClickException(f"the CRDs are not installed: run `{INSTALL}`") from None
        if error.status != HTTPStatus.FORBIDDEN:  # the page says what it must leave out
            raise click.ClickException(str(error)) from None


def _application(
    client: "KubeClient", namespace: str, address: str, allowed_hosts: tuple[str, ...]
) -> "web.Application":
    from cloudrun_identity.ui.security import LOOPBACK
    from cloudrun_identity.ui.server import application
    from cloudrun_identity.ui.source import Source

    source = Source(client, client.server, namespace=namespace, interval=READ_INTERVAL)
    return application(source, hosts={*LOOPBACK, address, *map(str.lower, allowed_hosts)})


async def _listen(runner: "web.AppRunner", address: str, port: int) -> str:
    """Start to listen. Return the URL of the page."""
    from aiohttp import web

    try:
        await web.TCPSite(runner, address, port).start()
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = "another process uses it" if in_use else os.strerror(error.errno or 0).lower()
        raise click.ClickException(
            f"cannot listen on {address}:{port}: {reason}; choose another --port, or 0 for any free port"
        ) from None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{runner.addresses[0][1]}/"


async def _until_interrupted() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, ended.set)
    await ended.wait()
