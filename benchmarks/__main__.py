"""Run the benchmarks, print the tables and write the JSON file."""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from cloudrun_identity.api import TargetKind
from cloudrun_identity_playground.demo.failure import DemoError
from tests.servers.kube_apis import EMBEDDED as KUBE_EMBEDDED
from tests.servers.kube_apis import KUBE_APIS
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

from . import attachments, failover, figures, functions, key_rotation, lifecycle, syncers
from .attachments import Apps
from .bindings import Bindings
from .figures import Benchmark
from .fleet import ROLES, Fleet
from .key_objects import KeyObjects

EMBEDDED = "embedded API"
REAL = "kube-apiserver"
PARTS = ("lifecycle", "syncers", "attachments", "keys", "functions")
ON_REQUEST = ("failover",)
"""Parts that run only if they are named: they take half an hour."""

_LIFECYCLE_LEGEND = (
    "One by one: each grant takes a read and a write of the policy. Each resync takes a read of every",
    "account, and a read of the policy for every grant. Ratios are those of the embedded API.",
)
_SYNCERS_LEGEND = (
    "All objects exist when the operator starts. Each other writer writes once per second by",
    "read-modify-write. One by one is scaled from the sample: all policies in parallel, the members of one",
    "policy in sequence, without a quota. The operator limits itself to 120 writes of project policies per",
    "minute after the first 60. CPU time is measured after the start.",
)
_ATTACHMENTS_LEGEND = (
    "One by one: a read, a write, the wait for the operation, and a get of each workload at each resync. The",
    "operator reconciles 16 objects at a time (--concurrency), without those that wait for an operation. It",
    "limits itself to 100 writes per minute and region after the first 50. An operation takes 1 s here, and",
    "6 to 52 s in Google Cloud.",
)
_KEYS_LEGEND = (
    "At most: the quota of Google Cloud per minute, three writes per key (create, disable, delete), and one",
    "list per identity with keys at each resync. Rate limits are the operator's own: 400 writes per minute",
    "after the first 100. Propagation is the minute that a new key waits before its publication.",
)


@click.command()
@click.option(
    "--only", type=click.Choice((*PARTS, *ON_REQUEST)), multiple=True, help="Run only this part; repeatable."
)
@click.option("--identities", type=click.IntRange(1, 500), default=200, show_default=True)
@click.option(
    "--workloads",
    type=click.IntRange(2, 1000),
    default=1000,
    show_default=True,
    help="Number of workloads, half of them jobs.",
)
@click.option("--keys", "identity_keys", type=click.IntRange(1, 500), default=500, show_default=True)
@click.option("--trials", type=click.IntRange(1), default=10, show_default=True, help="Of each failure.")
@click.option("--lease-duration", default="15s", show_default=True, help="For failover.")
@click.option("--full", is_flag=True, help="Also 10,000 grants, and one other writer; half an hour more.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default="build/bench.json", show_default=True
)
def main(
    only: tuple[str, ...],
    identities: int,
    workloads: int,
    identity_keys: int,
    trials: int,
    lease_duration: str,
    full: bool,
    output: Path,
) -> None:
    """Measure the cost of the operator in about 22 minutes, and 2 more with a second API server.

    The parts run on the embedded API: the lifecycle of identities (`lifecycle`), many grants on few policies
    (`syncers`), attachments of workloads (`attachments`), rotation of keys (`keys`) and pure functions of a
    sync (`functions`). `--only failover` measures how long nothing acts after a failure, in half an hour.
    `lifecycle` and `failover` also run on a kube-apiserver if KUBEBUILDER_ASSETS names its binaries.
    """
    if sys.platform != "linux":
        raise click.ClickException("memory and CPU time are read from /proc, which requires Linux")
    parts = only or PARTS
    measured: list[Benchmark] = []
    try:
        if "lifecycle" in parts:
            measured += _lifecycle(Fleet(identities), assets())
        if "syncers" in parts:
            measured += _syncers(full=full)
        if "attachments" in parts:
            measured += _attachments(Apps(workloads // 2))
        if "keys" in parts:
            measured += _keys(KeyObjects(identity_keys))
        if "failover" in parts:
            measured += _failover(trials, lease_duration)
    except DemoError as failure:
        raise click.ClickException("\n".join([str(failure), *failure.evidence])) from failure
    except (FileNotFoundError, RuntimeError) as failure:  # from the start of kube-apiserver
        raise click.ClickException(str(failure)) from failure
    if "functions" in parts:
        _progress("pure functions")
        pure = functions.measure()
        _show(
            *figures.table(
                "Pure functions, µs per call", pure, value="duration", baseline="parsing", ratio="ratio"
            )
        )
        measured += pure
    figures.write_json(output, measured)
    _show(f"Written to {output}.")


def _lifecycle(fleet: Fleet, binaries: Path | None) -> list[Benchmark]:
    """Measure the lifecycle on every available API server."""
    measured = list(_lifecycle_on_each(fleet, binaries))
    heading = f"{fleet.size} identities, {len(ROLES)} project roles each"
    table = figures.table(heading, measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_LIFECYCLE_LEGEND)
    return measured


def _lifecycle_on_each(fleet: Fleet, binaries: Path | None) -> Iterator[Benchmark]:
    _progress(f"lifecycle, {EMBEDDED}")
    yield from asyncio.run(lifecycle.measure(fleet, EMBEDDED))
    if binaries is None:
        _progress(f"not {REAL}: {ASSETS_VARIABLE} is not set")
        return
    _progress(f"lifecycle, {REAL}")
    with (
        tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory,
        kube_apiserver(binaries, Path(directory)) as server,
    ):
        yield from asyncio.run(lifecycle.measure(fleet, REAL, str(server.kubeconfig)))


def _syncers(*, full: bool) -> list[Benchmark]:
    """Measure the one-by-one sample, then every case."""
    cases = list(_cases(full=full))
    writers = sorted({case.writers for case in cases} | {case.writers_each for case in cases})
    _progress(f"{syncers.SAMPLE_MEMBERS} grants one by one")
    sample = asyncio.run(syncers.sample_one_by_one(writers))
    measured = syncers.sample_figures(sample)
    for case in cases:
        _progress(f"{case.title}, {case.variant}")
        measured.append(asyncio.run(syncers.measure(case, sample)))
    table = figures.table("Many grants", measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_SYNCERS_LEGEND)
    return measured


def _attachments(apps: Apps) -> list[Benchmark]:
    _progress(f"{apps.size} attachments")
    measured = asyncio.run(attachments.measure(apps))
    table = figures.table("Attachments", measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_ATTACHMENTS_LEGEND)
    return measured


def _keys(objects: KeyObjects) -> list[Benchmark]:
    _progress(f"{objects.size} keys")
    measured = asyncio.run(key_rotation.measure(objects))
    _show(*figures.table("Keys", measured, value="", baseline="at most", ratio="ratio"), "", *_KEYS_LEGEND)
    return measured


def _failover(trials: int, lease_duration: str) -> list[Benchmark]:
    measured: list[Benchmark] = []
    for server in KUBE_APIS if assets() else (KUBE_EMBEDDED,):
        _progress(f"{trials} failures of each kind, {server}")
        measured += failover.measure(server, trials, lease_duration)
    heading = f"Failover, {trials} trials, leaseDuration {lease_duration}"
    _show(*figures.table(heading, measured, value="", baseline="", ratio=""))
    return measured


def _cases(*, full: bool) -> Iterator[syncers.Case]:
    for policies, writers in itertools.product((1, 10, 100), (0, 1, 10) if full else (0, 10)):
        yield syncers.Case(Bindings(1_000, policies), writers)
    yield syncers.Case(Bindings(1_000, 100, TargetKind.STORAGE_BUCKET), writers=0)
    if full:
        for policies, writers in itertools.product((10, 100), (0, 1, 10)):
            yield syncers.Case(Bindings(10_000, policies), writers)


def _show(*lines: str) -> None:
    for line in (*lines, ""):
        click.echo(line)


def _progress(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


if __name__ == "__main__":
    main()
