"""Measure, print the tables, write the JSON."""

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from cloudrun_identity_playground.demo.failure import DemoError
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

from . import engine, figures, life
from .figures import Benchmark
from .fleet import ROLES, Fleet

EMBEDDED = "embedded API"
REAL = "kube-apiserver"

_LEGEND = (
    "One by one: every grant takes a read and a write of the policy, and every look for drift a read of each",
    "account and of the policy for each grant. Ratios are those of the embedded API.",
)


@click.command()
@click.option("--identities", type=click.IntRange(1, 500), default=200, show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default="build/bench.json", show_default=True
)
def main(identities: int, output: Path) -> None:
    """Count what the operator costs; takes about two minutes for each API server.

    Beside the embedded API a real kube-apiserver is used where KUBEBUILDER_ASSETS names its binaries.
    """
    if sys.platform != "linux":
        raise click.ClickException("peak memory is read from /proc, which Linux alone has")
    fleet = Fleet(identities)
    try:
        lives = _lives(fleet, assets())
    except DemoError as failure:
        raise click.ClickException("\n".join([str(failure), *failure.evidence])) from failure
    except (FileNotFoundError, RuntimeError) as failure:  # of the real kube-apiserver
        raise click.ClickException(str(failure)) from failure
    _tell("the engine")
    pure = engine.measure()
    for line in (
        *_table_of_lives(fleet, lives),
        "",
        *figures.table("Pure parts, µs a call", pure, value="takes", baseline="parsing it", ratio="ratio"),
    ):
        click.echo(line)
    figures.write_json(output, [*lives, *pure])
    click.echo(f"\nAlso in {output}.")


def _lives(fleet: Fleet, binaries: Path | None) -> list[Benchmark]:
    """The fleet's life on every API server there is."""
    _tell(EMBEDDED)
    measured = asyncio.run(life.measure(fleet, EMBEDDED))
    if binaries is None:
        _tell(f"no {REAL}, because {ASSETS_VARIABLE} is not set")
        return measured
    _tell(REAL)
    with (
        tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory,
        kube_apiserver(binaries, Path(directory)) as server,
    ):
        return measured + asyncio.run(life.measure(fleet, REAL, str(server.kubeconfig)))


def _table_of_lives(fleet: Fleet, lives: list[Benchmark]) -> list[str]:
    heading = f"{fleet.size} identities, {len(ROLES)} project roles each"
    return [*figures.table(heading, lives, value="", baseline="one by one", ratio="ratio"), "", *_LEGEND]


def _tell(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


if __name__ == "__main__":
    main()
