"""The parts of `make bench`: each measures, prints its tables, and returns its figures."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from cloudrun_identity.api import TargetKind
from cloudrun_identity_playground.demo.failure import DemoError
from tests.servers.kube_apis import EMBEDDED as KUBE_EMBEDDED
from tests.servers.kube_apis import KUBE_APIS
from tests.servers.kube_apiserver import ASSETS_VARIABLE, assets, kube_apiserver

from . import attachments, failover, feed, figures, functions, key_rotation, lifecycle, syncers
from .attachments import Apps
from .bindings import Bindings
from .environment import conditions
from .figures import Benchmark
from .fleet import ROLES, Fleet
from .growth import data, plots, tables
from .growth import measure as growth
from .key_objects import KeyObjects
from .scale import goals, many_policies, one_policy, start

_GROWTH_DATA = "growth.json"

EMBEDDED = "embedded API"
REAL = "kube-apiserver"

_SCALE_LEGEND = (
    "Embedded API server, and an emulator with the recorded latencies of Google Cloud. Processor time and",
    "memory are those of the operator. The processor time of a restart includes the start.",
    f"The interval when idle is {many_policies.INTERVAL} seconds. Reads that occur once per hour are",
    "not in the rows per interval. An edit counts if other objects still wait after it.",
)
_GROWTH_LEGEND = (
    "All objects exist when the operator starts. Limits: a read and a write per policy; their latencies, and",
    "the operator's limit on writes. One by one: a read and a write per grant, all policies in parallel,",
    "within the same limit.",
)
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
_FEED_LEGEND = (
    "The emulator has the recorded latencies of Google Cloud: a read and a write of a project's policy take",
    "about 1 s. Times with a sink delay are sums; Google states no delay. Without the feed, an edit is found",
    "at the next resync, after 5 minutes at most and half of that in the median. Calls: a read and a write.",
)
_KEYS_LEGEND = (
    "At most: the quota of Google Cloud per minute, three writes per key (create, disable, delete), and one",
    "list per identity with keys at each resync. Rate limits are the operator's own: 400 writes per minute",
    "after the first 100. Propagation is the minute that a new key waits before its publication.",
)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    identities: int
    """Number of identities of `lifecycle`."""
    workloads: int
    """Number of workloads of `attachments`."""
    identity_keys: int
    """Number of keys of `keys`."""
    objects: int
    """Number of bindings of `scale`."""
    most_objects: int
    """The largest number of bindings of `growth`."""
    per_policy: int
    """Number of bindings on each policy of `growth`."""
    plots: Path
    """Directory of the plots of `growth` and of their data."""
    trials: int
    """Number of failures of each kind of `failover`."""
    lease_duration: str
    """Duration of the Lease of `failover`."""
    edits: int
    """Number of edits of `feed`."""
    full: bool
    """True to measure more numbers of objects and writers."""


def _scale(options: Options) -> list[Benchmark]:
    """Measure every goal. A failure leaves the figures that were measured before, and is raised."""
    sizes = goals.Sizes(options.objects)
    rows = goals.Rows(sizes)
    try:
        _progress("starts")
        asyncio.run(start.measure(rows))
        _progress(f"{sizes.few:,} bindings of one policy")
        asyncio.run(one_policy.measure(rows))
        _progress(f"{sizes.many:,} bindings on {sizes.policies} policies")
        asyncio.run(many_policies.measure(rows))
    finally:
        _show(*goals.table(rows.measured, sizes), "", *_SCALE_LEGEND, conditions())
    return [Benchmark("scale", "scale", goals.figures(rows.measured, sizes))]


def _growth(options: Options) -> list[Benchmark]:
    """Measure the growth, keep its data, and draw the plots."""
    sizes = [size for size in growth.OBJECTS if size <= options.most_objects]
    sizes += [growth.MORE_OBJECTS] if options.full else []
    measured = asyncio.run(growth.measure(sizes, options.per_policy, conditions(), _progress))
    options.plots.mkdir(parents=True, exist_ok=True)
    data.write(measured, options.plots / _GROWTH_DATA)
    return _plots(options)


def _plots(options: Options) -> list[Benchmark]:
    """Show the growth as it was measured last."""
    source = options.plots / _GROWTH_DATA
    if not source.is_file():
        raise DemoError(f"{source} does not exist: measure it with --only growth --plots {options.plots}")
    measured = data.load(source)
    _show(*tables.table(measured), "", *_GROWTH_LEGEND, measured.conditions)
    try:
        drawn = plots.draw(measured, options.plots)
    except plots.NotInstalled as missing:
        _show(str(missing))
    else:
        _show(f"Drawn: {', '.join(map(str, drawn))}.")
    return tables.benchmarks(measured)


def _lifecycle(options: Options) -> list[Benchmark]:
    """Measure the lifecycle on every available API server."""
    fleet = Fleet(options.identities)
    measured = list(_lifecycle_on_each(fleet, assets()))
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


def _syncers(options: Options) -> list[Benchmark]:
    """Measure the one-by-one sample, then every case."""
    cases = list(_cases(full=options.full))
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


def _attachments(options: Options) -> list[Benchmark]:
    apps = Apps(options.workloads // 2)
    _progress(f"{apps.size} attachments")
    measured = asyncio.run(attachments.measure(apps))
    table = figures.table("Attachments", measured, value="", baseline="one by one", ratio="ratio")
    _show(*table, "", *_ATTACHMENTS_LEGEND)
    return measured


def _keys(options: Options) -> list[Benchmark]:
    objects = KeyObjects(options.identity_keys)
    _progress(f"{objects.size} keys")
    measured = asyncio.run(key_rotation.measure(objects))
    _show(*figures.table("Keys", measured, value="", baseline="at most", ratio="ratio"), "", *_KEYS_LEGEND)
    return measured


def _feed(options: Options) -> list[Benchmark]:
    _progress(f"{options.edits} edits with a change feed")
    measured = asyncio.run(feed.measure(options.edits))
    table = figures.table("Change feed", measured, value="", baseline="without feed", ratio="ratio")
    _show(*table, "", *_FEED_LEGEND, conditions())
    return measured


def _failover(options: Options) -> list[Benchmark]:
    trials, lease_duration = options.trials, options.lease_duration
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


def _functions(_: Options) -> list[Benchmark]:
    _progress("pure functions")
    measured = functions.measure()
    heading = "Pure functions, µs per call"
    _show(*figures.table(heading, measured, value="duration", baseline="parsing", ratio="ratio"))
    return measured


def _progress(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)


PARTS: Mapping[str, Callable[[Options], list[Benchmark]]] = {
    "scale": _scale,
    "lifecycle": _lifecycle,
    "syncers": _syncers,
    "attachments": _attachments,
    "keys": _keys,
    "functions": _functions,
    "growth": _growth,
    "plots": _plots,
    "failover": _failover,
    "feed": _feed,
}
ON_REQUEST = ("growth", "plots", "failover", "feed")
"""Parts that run only if they are named: they take long, or need what another part has measured."""
