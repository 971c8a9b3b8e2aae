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


@click.command()
@click.option("--identities", type=click.IntRange(1, 500), default=200, show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default="build/bench.json", show_default=True
)
def main(identities: int, output: Path) -> None:
    """Count what the operator costs; takes about two minutes for each API server.

    Beside the embedded API a real kube-apiserver is used where KUBEBUILDER_ASSETS names its binaries.
    """
    fleet = Fleet(identities)
    try:
        lives = _lives(fleet)
    except DemoError as failure:
        click.echo("\n".join([f"Failed: {failure}", *failure.evidence]), err=True)
        sys.exit(1)
    _tell("the engine")
    pure = engine.measure()
    for line in (
        *_life_table(fleet, lives),
        "",
        *figures.table("Pure parts, µs a call", pure, value="takes", baseline="parsing it", ratio="times"),
    ):
        click.echo(line)
    figures.write_json(output, [*lives, *pure])
    click.echo(f"\nAlso in {output}.")


def _lives(fleet: Fleet) -> list[Benchmark]:
    """The fleet's life on every API server there is."""
    _tell(EMBEDDED)
    measured = asyncio.run(life.measure(fleet, EMBEDDED))
    binaries = assets()
    if binaries is None:
        _tell(f"no {REAL}: {ASSETS_VARIABLE} is not set")
        return measured
    _tell(REAL)
    with (
        tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory,
        kube_apiserver(binaries, Path(directory)) as server,
    ):
        return measured + asyncio.run(life.measure(fleet, REAL, str(server.kubeconfig)))


def _life_table(fleet: Fleet, lives: list[Benchmark]) -> list[str]:
    heading = f"{fleet.size} identities, {len(ROLES)} project roles each"
    return figures.table(heading, lives, value="", baseline="one by one", ratio="ratio")


def _tell(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


if __name__ == "__main__":
    main()
