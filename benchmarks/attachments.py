"""Services and jobs in two regions: attached at once, then idle."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage
from cloudrun_identity_playground.emulator.latency import OPERATION_SECONDS, Latency

from . import counts
from .counts import Counts
from .environment import apply_all, started
from .figures import Benchmark, Figure

NAMESPACE = PROJECT = "apps"
PROJECT_ID = "acme-apps"
REGIONS = ("europe-west1", "us-central1")
IDENTITIES = 10
WRITES_PER_MINUTE, BURST = 100, 50
"""The operator's rate limit per region. Google Cloud allows 180 writes per minute."""

RARE_RESYNC = "1h"
INTERVAL, INTERVALS = 10, 3
"""Seconds of the drift interval when idle, and the number of measured intervals."""
PAGE = 100

_RUN = "google.cloud.run.v2"
_OPERATION = "google.longrunning.Operations/GetOperation"


@dataclass(frozen=True, slots=True)
class Apps:
    """`each` services and as many jobs, evenly spread over the regions and ten identities."""

    each: int

    @property
    def size(self) -> int:
        """Return the number of workloads."""
        return 2 * self.each

    def write_seed(self, path: Path) -> None:
        """Write the seed of the emulator: the workloads, which run as the default account."""
        project: dict[str, object] = {"projectID": PROJECT_ID}
        for collection, kind in (("services", "Service"), ("jobs", "Job")):
            project[collection] = [
                {"location": location, "name": name}
                for each, location, name in self._workloads()
                if each == kind
            ]
        path.write_text(yaml.safe_dump({"projects": [project]}))

    def project(self, drift_interval: str) -> Object:
        """Return the ManagedProject that admits the workloads."""
        return _object(
            "ManagedProject",
            PROJECT,
            "",
            {
                "projectID": PROJECT_ID,
                "driftInterval": drift_interval,
                "locations": list(REGIONS),
                "namespaces": {"names": [NAMESPACE]},
            },
        )

    def identities(self) -> list[Object]:
        """Return the CloudRunIdentities."""
        reference = {"projectRef": {"name": PROJECT}}
        return [
            _object("CloudRunIdentity", _identity(number), NAMESPACE, reference)
            for number in range(IDENTITIES)
        ]

    def attachments(self) -> list[Object]:
        """Return the IdentityAttachments."""
        return [
            _object(
                "IdentityAttachment",
                name,
                NAMESPACE,
                {
                    "projectRef": {"name": PROJECT},
                    "workload": {"kind": kind, "location": location, "name": name},
                    "identityRef": {"name": _identity(number % IDENTITIES)},
                },
            )
            for number, (kind, location, name) in enumerate(self._workloads())
        ]

    def _workloads(self) -> Iterator[tuple[str, str, str]]:
        regions = itertools.cycle(REGIONS)
        for kind in ("Service", "Job"):
            for number in range(self.each):
                yield kind, next(regions), f"{kind.lower()}-{number:03}"


async def measure(apps: Apps) -> list[Benchmark]:
    """Measure on the embedded API.

    Raises:
        DemoError: a process does not start or ends early, or an expected state is not reached.

    """
    async with started(apps.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        await stage.start_operator()
        return [await _attach(apps, stage), await _idle(apps, stage)]


async def _attach(apps: Apps, stage: Stage) -> Benchmark:
    await stage.cluster.apply(apps.project(RARE_RESYNC))
    await apply_all(stage, apps.identities())
    await counts.until(
        stage, lambda now: now.ready("CloudRunIdentity") == IDENTITIES, "the identities are Ready"
    )
    before = await counts.until_quiet(stage)
    start = time.monotonic()
    await apply_all(stage, apps.attachments())
    await counts.until(
        stage, lambda now: now.ready("IdentityAttachment") == apps.size, "all attachments are Ready"
    )
    seconds = time.monotonic() - start
    spent = (await counts.until_quiet(stage)).since(before)
    return Benchmark(
        "attach",
        f"{apps.size} attached at once, in {len(REGIONS)} regions",
        (
            Figure(
                "seconds", "seconds until all are Ready", seconds, baseline=apps.size * _serial(), decimals=1
            ),
            Figure(
                "seconds_by_quota", "seconds that the rate limit of writes takes", _by_quota(apps), decimals=1
            ),
            *_calls(spent, apps.size),
        ),
    )


async def _idle(apps: Apps, stage: Stage) -> Benchmark:
    await stage.cluster.apply(apps.project(f"{INTERVAL}s"))
    spent = await counts.over_intervals(stage, INTERVAL, INTERVALS)
    lists = sum(count for rpc, count in spent.calls.items() if "/List" in rpc and _RUN in rpc)
    gets = sum(count for rpc, count in spent.calls.items() if "/Get" in rpc and _RUN in rpc)
    pages = len(REGIONS) * 2 * max(1, -(-apps.each // len(REGIONS) // PAGE))
    return Benchmark(
        "attached",
        f"idle, {INTERVALS} intervals",
        (
            Figure("lists", "pages of services and jobs", lists, baseline=INTERVALS * apps.size),
            Figure("pages_per_interval", "pages of all workloads, per interval", pages),
            Figure("gets", "gets of workloads", gets),
        ),
    )


def _calls(spent: Counts, size: int) -> Iterator[Figure]:
    calls = spent.calls
    reads = sum(calls[f"{_RUN}.{kind}s/Get{kind}"] for kind in ("Service", "Job"))
    writes = sum(calls[f"{_RUN}.{kind}s/Update{kind}"] for kind in ("Service", "Job"))
    polls = calls[_OPERATION]
    others = calls.total() - reads - writes - polls
    yield Figure("reads_each", "reads of the workload, each", reads / size, decimals=2)
    yield Figure("writes_each", "writes of the workload, each", writes / size, decimals=2)
    yield Figure("polls_each", "polls of the operation, each", polls / size, decimals=2)
    yield Figure("other_calls", "other calls, for all workloads together", others)
    for rpc, count in sorted(calls.items()):
        if rpc != _OPERATION and not rpc.startswith(_RUN):
            yield Figure(f"other_calls {rpc}", rpc.rpartition(".")[2], count, is_part=True)
    yield Figure(
        "kubernetes_writes_each", "writes to Kubernetes, each", spent.writes.total() / size, decimals=2
    )


def _serial() -> float:
    """Return the seconds for one workload: a read, a write, and one poll at the end of the operation."""
    latency = Latency.RECORDED
    kind = f"{_RUN}.Services"
    calls = (f"{kind}/GetService", f"{kind}/UpdateService", _OPERATION)
    return sum(map(latency.seconds, calls)) + OPERATION_SECONDS


def _by_quota(apps: Apps) -> float:
    return max(0, apps.size / len(REGIONS) - BURST) / WRITES_PER_MINUTE * 60


def _identity(number: int) -> str:
    return f"runner-{number:02}"


def _object(kind: str, name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
