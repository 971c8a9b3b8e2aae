"""The lifecycle of many identities on one API server: applied at once, idle, drifted, deleted.

Every part is a process of its own on loopback. The emulator has the recorded latencies of Google Cloud.
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
from .environment import apply_all
from .figures import Benchmark, Figure
from .fleet import NAMESPACE, POLICY, ROLES, Fleet

RARE_RESYNC = "1h"
FREQUENT_RESYNC = "10s"
RESYNCS = 3

_IDENTITY = "CloudRunIdentity"


@dataclass(frozen=True, slots=True)
class _Scene:
    """Identities in an environment. `api_server` names its API server."""

    fleet: Fleet
    stage: Stage
    client: KubeClient
    api_server: str

    @property
    def operator_pid(self) -> int:
        return self.stage.parts.pids[-1]  # the operator was started last

    def benchmark(self, name: str, title: str, *figures: Figure) -> Benchmark:
        return Benchmark(name, title, figures, self.api_server)


async def measure(fleet: Fleet, api_server: str, kubeconfig: str | None = None) -> list[Benchmark]:
    """Measure a fleet on an API server: the embedded one, unless a kubeconfig names another.

    Raises:
        DemoError: a process does not start or ends early, or an expected state is not reached.

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
                    await _idle(scene),
                    await _repair(scene),
                    await _delete(scene),
                ]
            finally:
                await client.close()


async def _apply(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    await stage.cluster.apply(fleet.project(RARE_RESYNC))
    before = await counts.until_quiet(stage)
    idle_memory = process.peak_memory(scene.operator_pid)
    start = time.monotonic()
    await apply_all(stage, fleet.identities())
    applied = time.monotonic() - start
    await counts.until(stage, lambda now: now.ready(_IDENTITY) > 0, "an identity is Ready")
    first = time.monotonic() - start
    await counts.until(stage, lambda now: now.ready(_IDENTITY) == fleet.size, "all identities are Ready")
    seconds = time.monotonic() - start
    spent = (await counts.until_quiet(stage)).since(before)
    return scene.benchmark(
        "apply",
        "all applied at once",
        *_costs(spent, policy_baseline=2 * fleet.grants),
        Figure("seconds_until_applied", "seconds until all are applied", applied, decimals=1),
        Figure("seconds_until_first_ready", "seconds until the first is Ready", first, decimals=1),
        Figure("seconds_until_ready", "seconds until all are Ready", seconds, decimals=1),
        Figure("imports_mib", "MiB of the imports", process.memory_of_imports()),
        Figure("idle_mib", "peak MiB of the operator before", idle_memory),
        Figure("peak_mib", "peak MiB of the operator", process.peak_memory(scene.operator_pid)),
    )


async def _idle(scene: _Scene) -> Benchmark:
    stage = scene.stage
    await stage.cluster.apply(scene.fleet.project(FREQUENT_RESYNC))
    before = await _after_resyncs(stage, 1)
    spent = (await _after_resyncs(stage, RESYNCS)).since(before)
    one_by_one = scene.fleet.size + scene.fleet.grants
    return scene.benchmark(
        "idle",
        f"idle, {RESYNCS} resyncs",
        *_costs(spent, policy_baseline=RESYNCS * scene.fleet.grants, calls_baseline=RESYNCS * one_by_one),
    )


async def _repair(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    before = await counts.until_quiet(stage)
    start = time.monotonic()
    await stage.google.edit(_Removal(POLICY, ROLES[0], fleet.members))
    members = set(fleet.members)
    await counts.wait_for(
        stage,
        stage.google.state,
        lambda state: members <= _members(state, ROLES[0]),
        "the grants are repaired",
    )
    repaired = time.monotonic() - start
    await counts.until(stage, lambda now: _repairs(now, before) == fleet.size, "all report the repair")
    reported = time.monotonic() - start
    spent = (await counts.until_quiet(stage)).since(before)
    return scene.benchmark(
        "drift",
        f"one role removed from all, found within {FREQUENT_RESYNC}",
        *_costs(spent, policy_baseline=2 * fleet.size),
        Figure("seconds_until_repaired", "seconds until all are repaired", repaired, decimals=1),
        Figure("seconds_until_reported", "seconds until all report the repair", reported, decimals=1),
    )


async def _delete(scene: _Scene) -> Benchmark:
    fleet, stage = scene.fleet, scene.stage
    await stage.cluster.apply(fleet.project(RARE_RESYNC))
    before = await counts.until_quiet(stage)
    start = time.monotonic()
    resource = objects.resource(_IDENTITY)
    await asyncio.gather(
        *(
            scene.client.delete(resource, identity["metadata"]["name"], NAMESPACE)
            for identity in fleet.identities()
        )
    )
    await counts.until(stage, lambda now: not now.metric("objects", kind=_IDENTITY), "all are deleted")
    seconds = time.monotonic() - start
    spent = (await counts.until_quiet(stage)).since(before)
    left = await scene.client.list(objects.resource("PolicyLedger"))
    return scene.benchmark(
        "deletion",
        "all deleted at once",
        *_costs(spent, policy_baseline=2 * fleet.grants),
        Figure("seconds_until_deleted", "seconds until all are deleted", seconds, decimals=1),
        Figure("ledgers_left", "remaining ledgers", len(left)),
        Figure("peak_mib", "peak MiB of the operator", process.peak_memory(scene.operator_pid)),
    )


@dataclass(frozen=True, slots=True)
class _Removal:
    """A removal of members from one role of a policy, by a user."""

    resource: str
    role: str
    members: tuple[str, ...]

    def to_json(self) -> str:
        removed = [{"role": self.role, "member": member} for member in self.members]
        return json.dumps({"policy": self.resource, "remove": removed})


def _members(state: CloudState, role: str) -> set[str]:
    return set(state.policies[POLICY].get(role, ()))


async def _after_resyncs(stage: Stage, count: int) -> Counts:
    """Wait for this many further syncs of the project's policy, and return the counts after them."""
    before = await counts.read(stage)
    await counts.until(stage, lambda now: _policy_syncs(now) >= _policy_syncs(before) + count, "a resync")
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
    """Return `Projects/GetIamPolicy` for `google.cloud.resourcemanager.v3.Projects/GetIamPolicy`."""
    return rpc.rpartition(".")[2]
