"""Run the benchmarks, print the tables and write the JSON file."""

import os
import sys
from pathlib import Path

import click

from cloudrun_identity_playground.demo.failure import DemoError

from . import figures
from .figures import Benchmark
from .growth.data import BINDINGS_PER_POLICY, MOST_PER_POLICY
from .parts import ON_REQUEST, PARTS, Options


@click.command()
@click.option(
    "--only", type=click.Choice(tuple(PARTS)), multiple=True, help="Run only this part; repeatable."
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
@click.option(
    "--objects",
    type=click.IntRange(100, 10_000),
    default=10_000,
    show_default=True,
    help="Number of bindings of scale. The goals apply to the default.",
)
@click.option(
    "--most-objects",
    type=click.IntRange(100),
    default=10_000,
    show_default=True,
    help="Largest number of bindings of growth; --full adds 30,000.",
)
@click.option(
    "--per-policy",
    type=click.IntRange(100, MOST_PER_POLICY),
    default=BINDINGS_PER_POLICY,
    show_default=True,
    help="Number of bindings on each policy of growth.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    default="build/plots",
    show_default=True,
    help="Directory of the plots of growth and of their data.",
)
@click.option("--trials", type=click.IntRange(1), default=10, show_default=True, help="Of each failure.")
@click.option("--edits", type=click.IntRange(1), default=200, show_default=True, help="For feed.")
@click.option("--lease-duration", default="15s", show_default=True, help="For failover.")
@click.option("--full", is_flag=True, help="More objects, and one other writer; half an hour more.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default="build/bench.json", show_default=True
)
def main(
    only: tuple[str, ...],
    identities: int,
    workloads: int,
    identity_keys: int,
    objects: int,
    most_objects: int,
    per_policy: int,
    plots: Path,
    trials: int,
    edits: int,
    lease_duration: str,
    full: bool,
    output: Path,
) -> None:
    """Measure the cost of the operator in about 35 minutes, and 2 more with a second API server.

    The parts run on the embedded API: every goal with 10,000 objects (`scale`), the lifecycle of identities
    (`lifecycle`), many grants on few policies (`syncers`), attachments of workloads (`attachments`), rotation
    of keys (`keys`) and pure functions of a sync (`functions`). Three parts run only if they are named: costs
    by number of objects (`growth`; `plots` draws the last result again), how long nothing acts after a
    failure (`failover`), and repairs with a change feed (`feed`). `lifecycle` and `failover` also run on a
    kube-apiserver if KUBEBUILDER_ASSETS names its binaries.
    """
    if sys.platform != "linux":
        raise click.ClickException("memory and processor time are read from /proc, which requires Linux")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start of the operator compiles all modules
    options = Options(
        identities=identities,
        workloads=workloads,
        identity_keys=identity_keys,
        objects=objects,
        most_objects=most_objects,
        per_policy=per_policy,
        plots=plots,
        trials=trials,
        edits=edits,
        lease_duration=lease_duration,
        full=full,
    )
    measured: list[Benchmark] = []
    try:
        for part in only or [part for part in PARTS if part not in ON_REQUEST]:
            measured += PARTS[part](options)
    except DemoError as failure:
        raise click.ClickException("\n".join([str(failure), *failure.evidence])) from failure
    except (FileNotFoundError, RuntimeError) as failure:  # from the start of kube-apiserver
        raise click.ClickException(str(failure)) from failure
    figures.write_json(output, measured)
    click.echo(f"\nWritten to {output}.")


if __name__ == "__main__":
    main()
