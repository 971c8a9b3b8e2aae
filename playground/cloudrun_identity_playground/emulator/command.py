"""The command `cloudrun-identity emulator`."""

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
    """Invalid input of the user; one line, exit code 2."""

    exit_code = 2


class _Yaml(click.ParamType[Any]):
    """An option with a YAML mapping, in the format of the seed."""

    name = "yaml"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            content = yaml.safe_load(value)
        except yaml.YAMLError:
            content = None
        if not isinstance(content, dict):
            self.fail(f"{value!r} is not a YAML mapping", param, ctx)
        return content


@click.command(context_settings={"auto_envvar_prefix": "CLOUDRUN_IDENTITY_EMULATOR"})
@click.option(
    "--port", type=click.IntRange(0, 65535), required=True, help="Port for gRPC; 0 takes a free port."
)
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    help="Port for REST and the control API; 0 takes a free port. [default: no REST]",
)
@click.option(
    "--proxy-port",
    type=click.IntRange(0, 65535),
    help="Port of an HTTP proxy for *.googleapis.com, for gcloud and others; needs --proxy-ca.",
)
@click.option(
    "--proxy-ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the certificate to that clients of the proxy have to trust.",
)
@click.option(
    "--seed",
    "seed_file",
    envvar="CLOUDRUN_IDENTITY_EMULATOR_SEED",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with the initial state.",
)
@click.option("--lag", metavar="DURATION", help="How long new service accounts are not visible everywhere.")
@click.option(
    "--flapping-reads",
    type=click.Choice([each.value for each in FlappingReads]),
    help="Answer of every second read of a new account during the lag. [default: notFound]",
)
@click.option(
    "--stale-reads",
    metavar="DURATION",
    help="How long every second read of a policy shows it as before a write.",
)
@click.option(
    "--latency",
    type=click.Choice([each.value for each in Latency]),
    help="`recorded`: calls take as long as in recordings of Google Cloud. [default: none]",
)
@click.option("--operation-time", metavar="DURATION", help="Duration of a Cloud Run operation.")
@click.option("--execution-time", metavar="DURATION", help="Duration of a job execution.")
@click.option("--activity-delay", metavar="DURATION", help="When Policy Analyzer shows a use. [default: 24h]")
@click.option("--metric-delay", metavar="DURATION", help="When Monitoring shows a use. [default: 5m]")
@click.option("--last-use-ahead", metavar="DURATION", help="How far ahead the clock of both is.")
@click.option(
    "--requests-per-minute",
    type=_Yaml(),
    help="Quotas, for example 'run.googleapis.com: {reads: 3000, writes: 180}'.",
)
@click.option(
    "--fault",
    "faults",
    type=_Yaml(),
    multiple=True,
    help="Fault to inject: '{method: google.cloud.run.*, code: UNAVAILABLE, times: 3}'. Repeatable.",
)
@click.option(
    "--without-token",
    metavar="CALLER",
    help="Caller without a token: `admin`, `nobody`, or a principal such as user:EMAIL. [default: admin]",
)
@click.option(
    "--stale-ids/--no-stale-ids", default=None, help="Members of a recreated account keep the old unique id."
)
@click.option(
    "--tombstone-conflict/--no-tombstone-conflict",
    default=None,
    help="Refuse a policy with both an account and a deleted member of its e-mail.",
)
@click.option("--sink-delay", metavar="DURATION", help="Time between a log entry and its export by a sink.")
@click.option("--sink-reordering", metavar="DURATION", help="Longest further delay of an entry, at random.")
@click.option(
    "--sink-duplication",
    type=click.FloatRange(0, 1),
    help="Part of the entries that a sink exports twice, 0 to 1.",
)
@click.option(
    "--sink-loss",
    type=click.FloatRange(0, 1),
    help="Part of the entries that a sink does not export, 0 to 1.",
)
@click.option("--sink-stopped/--no-sink-stopped", default=None, help="Sinks hold all entries back.")
def emulator(
    port: int,
    rest_port: int | None,
    proxy_port: int | None,
    proxy_ca: Path | None,
    seed_file: Path | None,
    **switches: Any,
) -> None:
    """Serve an emulated Google Cloud: service accounts, roles, policies, projects, Cloud Run, secrets.

    Options override the seed.
    """
    if (proxy_port is None) != (proxy_ca is None):
        raise UnusableError("--proxy-port and --proxy-ca need each other")
    try:
        file = SeedFile.read(seed_file) if seed_file is not None else None
        seed = _with_options(file.seed if file is not None else Seed(), switches)
        try:
            served = Emulator(port=port, rest_port=rest_port, proxy_port=proxy_port, seed=seed)
        except SeedError as error:
            raise (file.blame(error) if file is not None else error) from error
        asyncio.run(_serve(served, proxy_ca))
    except (SeedError, PortTakenError) as error:
        raise UnusableError(str(error)) from error


def _with_options(seed: Seed, given: Mapping[str, Any]) -> Seed:
    """Return the seed with the options of the command line."""
    given_values = {name: value for name, value in given.items() if value not in (None, ())}
    faults = given_values.pop("faults", ())
    try:
        switches = Switches.model_validate(given_values)
        added = Seed.model_validate({"faults": list(faults)}).faults
    except ValidationError as error:
        problem = error.errors()[0]
        option, *within = problem["loc"]
        flag = "--fault" if option == "faults" else f"--{_kebab(str(option))}"
        field = ".".join(str(step) for step in within)
        raise UnusableError(f"{flag}: {f'{field}: ' if field else ''}{problem['msg']}") from error
    values = {name: getattr(switches, name) for name in given_values}
    return seed.model_copy(update={**values, "faults": (*seed.faults, *added)})


def _kebab(name: str) -> str:
    """Convert `requestsPerMinute` or `requests_per_minute` to `requests-per-minute`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).replace("_", "-")


async def _serve(served: Emulator, proxy_ca: Path | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    async with served:
        rest = f", REST {served.rest_url}" if served.rest_url else ""
        proxy = f", proxy {served.proxy_url}" if served.proxy_url else ""
        if proxy_ca is not None:
            _write(proxy_ca, served.proxy_ca)
        click.echo(f"emulator ready: gRPC {served.grpc_address}{rest}{proxy}")
        await stop.wait()


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UnusableError(f"--proxy-ca: cannot write {file}: {error.strerror}") from error
