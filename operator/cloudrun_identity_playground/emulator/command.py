"""`cloudrun-identity emulator`: Google Cloud on loopback as a process."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from cloudrun_identity.api.duration import parse_duration

from .emulator import Emulator, PortTakenError
from .latency import Latency
from .seed import Seed, SeedError, load_seed


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(context_settings={"auto_envvar_prefix": "CLOUDRUN_IDENTITY_EMULATOR"})
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="gRPC port; 0: any free one.")
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    help="Port of REST and of the control API; 0: any free one. [default: no REST]",
)
@click.option(
    "--seed",
    "seed_file",
    envvar="CLOUDRUN_IDENTITY_EMULATOR_SEED",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with what the cloud holds from the start.",
)
@click.option(
    "--latency",
    type=click.Choice([each.value for each in Latency]),
    help="`recorded`: answers take as long as Google's. [default: the seed's, or none]",
)
@click.option(
    "--lag",
    type=_Duration(),
    help="For how long fresh accounts are not known everywhere, e.g. 10s. [default: the seed's, or 0s]",
)
def emulator(
    port: int, rest_port: int | None, seed_file: Path | None, latency: str | None, lag: timedelta | None
) -> None:
    """Serve an embedded Google Cloud: service accounts, roles, policies, projects, Cloud Run, secrets."""
    try:
        served = Emulator(
            port=port,
            rest_port=rest_port,
            seed=load_seed(seed_file) if seed_file is not None else Seed(),
            latency=Latency(latency) if latency is not None else None,
            lag=lag.total_seconds() if lag is not None else None,
        )
        asyncio.run(_serve(served))
    except (SeedError, PortTakenError) as error:
        raise click.ClickException(str(error)) from error


async def _serve(served: Emulator) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with served:
        rest = f", REST {served.rest_url}" if served.rest_url else ""
        click.echo(f"emulator ready: gRPC {served.grpc_address}{rest}")
        await stop.wait()
