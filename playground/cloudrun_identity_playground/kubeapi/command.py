"""The command `cloudrun-identity kubeapi`."""

import asyncio
import errno
import signal
from pathlib import Path
from typing import NoReturn

import click

from .datafile import DataFileError
from .kubeconfig import FileNotOwnedError
from .server import HOST, KubeApi

_PREFIX = "CLOUDRUN_IDENTITY_KUBEAPI"
_MISUSE = 2


@click.command(context_settings={"auto_envvar_prefix": _PREFIX, "show_default": True})
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help=f"Port on {HOST}; 0 takes a free port."
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write the kubeconfig to. Other files are never overwritten.",
)
@click.option(
    "--data",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that stores the objects between runs. [default: none, objects are in memory only]",
)
def kubeapi(port: int, kubeconfig: Path, data: Path | None) -> None:
    """Serve a Kubernetes-compatible API on loopback until interrupted."""
    try:
        asyncio.run(_serve(port, kubeconfig, data))
    except FileNotOwnedError as error:
        _fail(f"--kubeconfig: {error}; use another file")
    except DataFileError as error:
        _fail(f"--data: {error}")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _fail(f"--port: port {port} of {HOST} is in use; use another one, or 0 for a free port")
        _fail(f"--kubeconfig: cannot write {kubeconfig}: {error.strerror}")


async def _serve(port: int, kubeconfig: Path, data: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with KubeApi(kubeconfig, port=port, data=data) as api:
        click.echo(f"kubeapi: ready at {api.url}; export KUBECONFIG={kubeconfig}")
        await stop.wait()


def _fail(message: str) -> NoReturn:
    click.echo(f"kubeapi: {message}", err=True)
    raise SystemExit(_MISUSE)
