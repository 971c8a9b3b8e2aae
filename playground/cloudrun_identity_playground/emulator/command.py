"""`cloudrun-identity emulator`: Google Cloud on loopback as a process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from .emulator import Emulator, PortTakenError
from .latency import Latency
from .seed import Seed, SeedError
from .seed_file import SeedFile
from .switches import FlappingReads, Switches


class UnusableError(click.ClickException):
    """Something that the user gave and that cannot be used: one line, and exit code 2."""

    exit_code = 2


class _Yaml(click.ParamType[Any]):
    """A mapping in YAML, as the seed has it."""

    name = "yaml"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            content = yaml.safe_load(value)
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict):
            self.fail(f"{value!r} is no mapping in YAML", param, ctx)
        return content


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
@click.option("--lag", metavar="DURATION", help="For how long fresh accounts are not known everywhere.")
@click.option(
    "--flapping-reads",
    type=click.Choice([each.value for each in FlappingReads]),
    help="What every other read of a fresh account answers during the lag. [default: notFound]",
)
@click.option(
    "--latency",
    type=click.Choice([each.value for each in Latency]),
    help="`recorded`: answers take as long as Google's. [default: none]",
)
@click.option("--operation-time", metavar="DURATION", help="How long an operation of Cloud Run takes.")
@click.option("--execution-time", metavar="DURATION", help="How long an execution of a job runs.")
@click.option(
    "--requests-per-minute",
    type=_Yaml(),
    help="Quotas, e.g. 'run.googleapis.com: {reads: 3000, writes: 180}'.",
)
@click.option(
    "--fault",
    "faults",
    type=_Yaml(),
    multiple=True,
    help="A fault to come, e.g. '{method: google.cloud.run.*, code: UNAVAILABLE, times: 3}'. Repeatable.",
)
@click.option(
    "--without-token",
    metavar="CALLER",
    help="Who calls without a token: admin, nobody, or a principal such as user:EMAIL. [default: admin]",
)
@click.option(
    "--stale-ids/--no-stale-ids", default=None, help="Members of recreated accounts keep the old id."
)
@click.option(
    "--tombstone-conflict/--no-tombstone-conflict",
    default=None,
    help="Refuse policies with a live account and a tombstone of its e-mail.",
)
def emulator(port: int, rest_port: int | None, seed_file: Path | None, **switches: Any) -> None:
    """Serve an embedded Google Cloud: service accounts, roles, policies, projects, Cloud Run, secrets.

    What is not given here is as the seed says.
    """
    try:
        file = SeedFile.read(seed_file) if seed_file is not None else None
        seed = _turned(file.seed if file is not None else Seed(), switches)
        try:
            served = Emulator(port=port, rest_port=rest_port, seed=seed)
        except SeedError as error:
            raise (file.blame(error) if file is not None else error) from error
        asyncio.run(_serve(served))
    except (SeedError, PortTakenError) as error:
        raise UnusableError(str(error)) from error


def _turned(seed: Seed, given: Mapping[str, Any]) -> Seed:
    """The seed under the switches of the command line."""
    said = {name: value for name, value in given.items() if value not in (None, ())}
    faults = said.pop("faults", ())
    try:
        switches = Switches.model_validate(said)
        added = Seed.model_validate({"faults": list(faults)}).faults
    except ValidationError as error:
        problem = error.errors()[0]
        option, *within = problem["loc"]
        flag = "--fault" if option == "faults" else f"--{_kebab(str(option))}"
        field = ".".join(str(step) for step in within)
        raise UnusableError(f"{flag}: {f'{field}: ' if field else ''}{problem['msg']}") from error
    turned = {name: getattr(switches, name) for name in said}
    return seed.model_copy(update={**turned, "faults": (*seed.faults, *added)})


def _kebab(name: str) -> str:
    """`requestsPerMinute` and `requests_per_minute` → `requests-per-minute`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).replace("_", "-")


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
