"""Measure, print the tables, write the JSON."""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from cloudrun_identity_playground.demo.failure import DemoError
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

from . import attachments, engine, figures, keys, life
from . import syncers as syncers
from .attachments import Apps
from .bindings import Bindings
from .figures import Benchmark
from .fleet import ROLES, Fleet
from .key_fleet import KeyFleet

EMBEDDED = "embedded API"
REAL = "kube-apiserver"
PARTS = ("life", "lanes", "attach", "keys", "pure")

_LEGEND_OF_LIVES = (
    "One by one: every grant takes a read and a write of the policy, and every look for drift a read of each",
    "account and of the policy for each grant. Ratios are those of the embedded API.",
)
_LEGEND_OF_LANES = (
    "Everything is there when the operator starts. Others write once a second each, by read-modify-write,",
    "and take turns at the policies. One by one is scaled from the members that were tried while nobody else",
    "wrote: all policies at once, the members of one in a row, and no quota in the way; the operator keeps",
    "itself to 120 writes of project policies a minute after the first 60. Its CPU counts once it is ready.",
)
_LEGEND_OF_ATTACHMENTS = (
    "One by one: read, write, wait for the operation, and a get of each workload at each look for drift. The",
    "operator works on 16 objects at a time (--concurrency), and on none while its operation runs; it keeps",
    "itself to 100 writes a minute and region after the first 50. An operation takes 1 s here, 6 to 52 s at",
    "Google's.",
)
_LEGEND_OF_KEYS = (
    "At most: what Google allows a minute, three writes a key (create, disable, delete), and a list for each",
    "identity that has keys in a look for drift. Limits are the operator's own, 400 writes a minute after",
    "the first 100, and the minute that a new key waits until Google knows it everywhere.",
)


@click.command()
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Leave out the other parts.")
@click.option("--identities", type=click.IntRange(1, 500), default=200, show_default=True)
@click.option(
    "--workloads",
    type=click.IntRange(2, 1000),
    default=1000,
    show_default=True,
    help="Half of them are jobs.",
)
@click.option("--keys", "identity_keys", type=click.IntRange(1, 500), default=500, show_default=True)
@click.option(
    "--full", is_flag=True, help="Also 10,000 grants, and one other writer; takes half an hour more."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default="build/bench.json", show_default=True
)
def main(
    only: tuple[str, ...], identities: int, workloads: int, identity_keys: int, full: bool, output: Path
) -> None:
    """Count what the operator costs; takes about twenty-two minutes, two more for a second API server.

    The life of a fleet of identities (`life`) is measured on the embedded API, and beside it on a real
    kube-apiserver where KUBEBUILDER_ASSETS names its binaries; many grants over few policies (`lanes`) on the
    embedded API, as are workloads that are attached to identities (`attach`) and keys that are all due at
    once (`keys`); and then the pure functions of a pass (`pure`).
    """
    if sys.platform != "linux":
        raise click.ClickException("memory and CPU are read from /proc, which Linux alone has")
    parts = only or PARTS
    measured: list[Benchmark] = []
    try:
        if "life" in parts:
            measured += _lives(Fleet(identities), assets())
        if "lanes" in parts:
            measured += _syncers(full=full)
        if "attach" in parts:
            measured += _attachments(Apps(workloads // 2))
        if "keys" in parts:
            measured += _keys(KeyFleet(identity_keys))
    except DemoError as failure:
        raise click.ClickException("\n".join([str(failure), *failure.evidence])) from failure
    except (FileNotFoundError, RuntimeError) as failure:  # of the real kube-apiserver
        raise click.ClickException(str(failure)) from failure
    if "pure" in parts:
        _tell("the pure parts")
        pure = engine.measure()
        _show(
            *figures.table("Pure parts, µs a call", pure, value="takes", baseline="parsing it", ratio="ratio")
        )
        measured += pure
    figures.write_json(output, measured)
    _show(f"Also in {output}.")


def _lives(fleet: Fleet, binaries: Path | None) -> list[Benchmark]:
    """The fleet's life on every API server there is."""
    lives = list(_lives_on_each(fleet, binaries))
    heading = f"{fleet.size} identities, {len(ROLES)} project roles each"
    table = figures.table(heading, lives, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_LEGEND_OF_LIVES)
    return lives


def _lives_on_each(fleet: Fleet, binaries: Path | None) -> Iterator[Benchmark]:
    _tell(f"the life of a fleet, {EMBEDDED}")
    yield from asyncio.run(life.measure(fleet, EMBEDDED))
    if binaries is None:
        _tell(f"no {REAL}, because {ASSETS_VARIABLE} is not set")
        return
    _tell(f"the life of a fleet, {REAL}")
    with (
        tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory,
        kube_apiserver(binaries, Path(directory)) as server,
    ):
        yield from asyncio.run(life.measure(fleet, REAL, str(server.kubeconfig)))


def _syncers(*, full: bool) -> list[Benchmark]:
    """Every case, with the other tools' way first."""
    cases = list(_cases(full=full))
    writers = sorted({case.writers for case in cases} | {case.writers_each for case in cases})
    _tell(f"{syncers.SAMPLE_MEMBERS} grants one by one")
    sample = asyncio.run(syncers.sample_one_by_one(writers))
    measured = syncers.tell_sample(sample)
    for case in cases:
        _tell(f"{case.title}, {case.variant}")
        measured.append(asyncio.run(syncers.measure(case, sample)))
    table = figures.table("Many grants", measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_LEGEND_OF_LANES)
    return measured


def _attachments(apps: Apps) -> list[Benchmark]:
    _tell(f"{apps.size} attachments")
    measured = asyncio.run(attachments.measure(apps))
    table = figures.table("Attachments", measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_LEGEND_OF_ATTACHMENTS)
    return measured


def _keys(fleet: KeyFleet) -> list[Benchmark]:
    _tell(f"{fleet.size} keys")
    measured = asyncio.run(keys.measure(fleet))
    _show(*figures.table("Keys", measured, value="", baseline="at most", ratio="ratio"), "", *_LEGEND_OF_KEYS)
    return measured


def _cases(*, full: bool) -> Iterator[syncers.Case]:
    for policies, writers in itertools.product((1, 10, 100), (0, 1, 10) if full else (0, 10)):
        yield syncers.Case(Bindings(1_000, policies), writers)
    if full:
        for policies, writers in itertools.product((10, 100), (0, 1, 10)):
            yield syncers.Case(Bindings(10_000, policies), writers)


def _show(*lines: str) -> None:
    for line in (*lines, ""):
        click.echo(line)


def _tell(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


if __name__ == "__main__":
    main()
