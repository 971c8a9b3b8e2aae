"""The life of a fleet, on one API server: applied at once, left alone, tampered with, deleted.

Everything is a process of its own on loopback, and Google Cloud answers as slowly as the real one was seen
to.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudrun_identity.kube import objects
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity_playground.demo.google import CloudState
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage, set_up
from cloudrun_identity_playground.emulator.latency import Latency

from . import counts, process
from .counts import Counts
from .figures import Benchmark, Figure
from .fleet import NAMESPACE, POLICY, ROLES, Fleet
from .staging import apply_all

RARE_SWEEPS = "1h"
FREQUENT_SWEEPS = "10s"
SWEEPS = 3

_IDENTITY = "CloudRunIdentity"


@dataclass(frozen=True, slots=True)
class _Scene:
    """A fleet on a stage; `api_server` is what the stage's API server is called."""

    fleet: Fleet
    stage: Stage
    client: KubeClient
    api_server: str

    @property
    def operator_pid(self) -> int:
        return self.stage.parts.pids[-1]  # it was started last

    def benchmark(self, name: str, title: str, *figures: Figure) -> Benchmark:
        return Benchmark(name, title, figures, self.api_server)


async def measure(fleet: Fleet, api_server: str, kubeconfig: str | None = None) -> list[Benchmark]:
    """Measure a fleet on an API server, the embedded one if no kubeconfig names another.

    Raises:
        DemoError: a part does not start, ends, or does not do what is awaited.

    """
    with tempfile.TemporaryDirectory(prefix="cloudrun-identity-bench-") as directory:
        seed = Path(directory) / "seed.yaml"
        fleet.write_seed(seed)
        async with set_up(kubeconfig, seed=seed, latency=Latency.RECORDED) as stage:
            await stage.cluster.install_definitions()
            for name in (OPERATOR_NAMESPACE, NAMESPACE):
                await stage.cluster.install_namespace(name)
            client = await connect(stage.kubeconfig)
            try:
                await stage.start_operator()
                scene = _Scene(fleet, stage, client, api_server)
                return [
                    await _apply(scene),
                    await _sweep(scene),
                    await _repair(scene),
                    await _delete(scene),
                ]
            finally:
                await client.close()


async def _apply(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    await stage.cluster.apply(fleet.project(RARE_SWEEPS))
    before = await counts.until_quiet(stage)
    idle_memory = process.peak_memory(scene.operator_pid)
    began = time.monotonic()
    await apply_all(stage, fleet.identities())
    applied = time.monotonic() - began
    await counts.until(stage, lambda now: now.ready(_IDENTITY) > 0, "an identity is Ready")
    first = time.monotonic() - began
    await counts.until(stage, lambda now: now.ready(_IDENTITY) == fleet.size, "all identities are Ready")
    seconds = time.monotonic() - began
    spent = (await counts.until_quiet(stage)).since(before)
    return scene.benchmark(
        "apply",
        "all applied at once",
        *_costs(spent, policy_baseline=2 * fleet.grants),
        Figure("seconds_until_applied", "seconds until the API server has all", applied, decimals=1),
        Figure("seconds_until_first_ready", "seconds until the first is Ready", first, decimals=1),
        Figure("seconds_until_ready", "seconds until all are Ready", seconds, decimals=1),
        Figure("imports_mib", "MiB of the imports alone", process.memory_of_imports()),
        Figure("idle_mib", "MiB of the operator before, at most", idle_memory),
        Figure("peak_mib", "MiB of the operator, at most", process.peak_memory(scene.operator_pid)),
    )


async def _sweep(scene: _Scene) -> Benchmark:
    stage = scene.stage
    await stage.cluster.apply(scene.fleet.project(FREQUENT_SWEEPS))
    before = await _after_sweeps(stage, 1)
    spent = (await _after_sweeps(stage, SWEEPS)).since(before)
    one_by_one = scene.fleet.size + scene.fleet.grants
    return scene.benchmark(
        "idle",
        f"left alone, {SWEEPS} sweeps",
        *_costs(spent, policy_baseline=SWEEPS * scene.fleet.grants, calls_baseline=SWEEPS * one_by_one),
    )


async def _repair(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    before = await counts.until_quiet(stage)
    began = time.monotonic()
    await stage.google.edit(_Removal(POLICY, ROLES[0], fleet.members))
    members = set(fleet.members)
    await counts.seen(
        stage, stage.google.state, lambda state: members <= _members(state, ROLES[0]), "the role is back"
    )
    repaired = time.monotonic() - began
    await counts.until(stage, lambda now: _repairs(now, before) == fleet.size, "all tell of the repair")
    reported = time.monotonic() - began
    spent = (await counts.until_quiet(stage)).since(before)
    return scene.benchmark(
        "drift",
        f"a role taken from all, found within {FREQUENT_SWEEPS}",
        *_costs(spent, policy_baseline=2 * fleet.size),
        Figure("seconds_until_repaired", "seconds until it is back", repaired, decimals=1),
        Figure("seconds_until_reported", "seconds until all tell of it", reported, decimals=1),
    )


async def _delete(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    await stage.cluster.apply(fleet.project(RARE_SWEEPS))
    before = await counts.until_quiet(stage)
    began = time.monotonic()
    resource = objects.resource(_IDENTITY)
    await asyncio.gather(
        *(
            scene.client.delete(resource, identity["metadata"]["name"], NAMESPACE)
            for identity in fleet.identities()
        )
    )
    await counts.until(stage, lambda now: not now.metric("objects", kind=_IDENTITY), "all are deleted")
    seconds = time.monotonic() - began
    spent = (await counts.until_quiet(stage)).since(before)
    left = await scene.client.list(objects.resource("PolicyLedger"))
    return scene.benchmark(
        "deletion",
        "all deleted at once",
        *_costs(spent, policy_baseline=2 * fleet.grants),
        Figure("seconds_until_gone", "seconds until all are gone", seconds, decimals=1),
        Figure("ledgers_left", "ledgers left", len(left)),
        Figure("peak_mib", "MiB of the operator, at most", process.peak_memory(scene.operator_pid)),
    )


@dataclass(frozen=True, slots=True)
class _Removal:
    """Members are taken out of a role of a policy."""

    resource: str
    role: str
    members: tuple[str, ...]

    def to_json(self) -> str:
        removed = [{"role": self.role, "member": member} for member in self.members]
        return json.dumps({"policy": self.resource, "remove": removed})


def _members(state: CloudState, role: str) -> set[str]:
    return set(state.policies[POLICY].get(role, ()))


async def _after_sweeps(stage: Stage, count: int) -> Counts:
    """Count when so many more sweeps have passed over the project's policy and are at their end."""
    before = await counts.read(stage)
    await counts.until(stage, lambda now: _policy_syncs(now) >= _policy_syncs(before) + count, "a sweep")
    return await counts.until_quiet(stage)


def _policy_syncs(now: Counts) -> int:
    return now.metric("policy_syncs_total", target_kind="Project")


def _repairs(now: Counts, before: Counts) -> int:
    return now.since(before).metric("drift_repaired_total", kind=_IDENTITY)


def _costs(spent: Counts, *, policy_baseline: int, calls_baseline: int | None = None) -> Iterator[Figure]:
    yield Figure(
        "project_policy_calls",
        "reads and writes of the project's policy",
        spent.policy_calls,
        baseline=policy_baseline,
    )
    yield Figure("google_calls", "calls to Google Cloud", spent.calls.total(), baseline=calls_baseline)
    yield from _parts("google_calls", Counter({_short(rpc): count for rpc, count in spent.calls.items()}))
    yield Figure("kubernetes_writes", "writes to Kubernetes", spent.writes.total())
    yield from _parts("kubernetes_writes", spent.writes)


def _parts(name: str, parts: Counter[str]) -> Iterator[Figure]:
    for what, count in sorted(parts.items()):
        yield Figure(f"{name} {what}", what, count, is_part=True)


def _short(rpc: str) -> str:
    """`Projects/GetIamPolicy` for `google.cloud.resourcemanager.v3.Projects/GetIamPolicy`."""
    return rpc.rpartition(".")[2]
