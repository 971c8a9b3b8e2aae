"""The command `kubeapi`."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from .kubeconfig import ForeignFileError
from .server import KubeApi

_PREFIX = "CLOUDRUN_IDENTITY_KUBEAPI"


@click.command(context_settings={"auto_envvar_prefix": _PREFIX, "show_default": True})
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 for any free one."
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write the kubeconfig. A file that this command did not write is never overwritten.",
)
def kubeapi(port: int, kubeconfig: Path) -> None:
    """Serves a Kubernetes-compatible API from memory until it is interrupted."""
    try:
        asyncio.run(_serve(port, kubeconfig))
    except ForeignFileError as error:
        sys.exit(f"kubeapi: --kubeconfig: {error}; name another file")
    except OSError as error:
        sys.exit(f"kubeapi: cannot serve on port {port} or write {kubeconfig}: {error.strerror or error}")


async def _serve(port: int, kubeconfig: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with KubeApi(kubeconfig, port=port) as api:
        click.echo(f"kubeapi: ready at {api.url}; export KUBECONFIG={kubeconfig}")
        await stop.wait()
