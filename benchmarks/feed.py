"""A change feed beside polling: from an edit by another client to its repair, and the calls at rest.

Grants are removed one after the other, as a person would, and the status of each object reports how long its
repair took. The sink of the emulator has no delay, so that this is the time from the delivery of the entry.
"""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cloudrun_identity.kube import objects
from cloudrun_identity.kube.client import KubeClient, connect
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo.failure import DemoError
from cloudrun_identity_playground.demo.stage import OPERATOR_NAMESPACE, Stage

from . import counts
from .bindings import NAMESPACE, ROLE, UNMANAGED_PROJECT_ID, Bindings, member
from .environment import apply_all, start_operator, started
from .figures import Benchmark, Figure

BINDINGS = Bindings(200, 20)
PACE = 0.7
"""Seconds between two edits: within the operator's limit of 120 writes of project policies per minute."""

SINK_DELAYS = (0.5, 5.0, 60.0)
"""Seconds that are added to the measured times. Google states no delay of its sinks."""

POLLING = 300.0
"""Seconds of the default drift interval, with which the feed is compared."""

SHORT_INTERVAL, LONG_INTERVAL = 5.0, 60.0
"""Seconds between two resyncs at rest without and with the feed: the ratio of 5m and 1h."""

REST = 120.0
"""Seconds at rest for which calls are counted."""


@dataclass(frozen=True, slots=True)
class _Removal:
    """The removal of one member by another client."""

    project_id: str
    who: str

    def to_json(self) -> str:
        """Return the body of `POST /control/edit`."""
        return json.dumps(
            {
                "policy": f"//cloudresourcemanager.googleapis.com/projects/{self.project_id}",
                "remove": [{"role": ROLE, "member": self.who}],
                "caller": "user:dana@example.com",
                "userAgent": "google-cloud-sdk gcloud/501.0.0",
            }
        )


async def measure(edits: int) -> list[Benchmark]:
    """Measure this many edits, then the calls at rest.

    Raises:
        DemoError: a process does not start or ends early, or an expected state is not reached.

    """
    async with started(BINDINGS.write_seed, OPERATOR_NAMESPACE, NAMESPACE) as stage:
        subscription = await stage.google.add_change_feed(BINDINGS.project_ids, UNMANAGED_PROJECT_ID)
        client = await connect(stage.kubeconfig)
        try:
            await apply_all(stage, _projects("24h", {"subscription": subscription, "reportActors": True}))
            await apply_all(stage, BINDINGS.objects())
            await start_operator(stage)
            await counts.until(stage, _are_ready, "all bindings are Ready")
            repairs = await _repairs(stage, client, edits)
            without = await _at_rest(stage, _projects(f"{SHORT_INTERVAL:g}s", None))
            feed = {"subscription": subscription, "resyncWithFeed": f"{LONG_INTERVAL:g}s"}
            with_feed = await _at_rest(stage, _projects(f"{SHORT_INTERVAL:g}s", feed))
        finally:
            await client.close()
    return [repairs, _rest(without, with_feed)]


def _are_ready(now: counts.Counts) -> bool:
    return now.ready("IAMBinding") == BINDINGS.size


def _projects(interval: str, feed: Object | None) -> list[Object]:
    projects = BINDINGS.projects(interval)
    for project in projects:
        project["spec"] |= {"changeFeed": feed} if feed else {}
    return projects


async def _repairs(stage: Stage, client: KubeClient, edits: int) -> Benchmark:
    before = await counts.until_quiet(stage)
    for number in range(edits):
        due = time.monotonic() + PACE
        project_id = BINDINGS.project_ids[number % len(BINDINGS.project_ids)]
        await stage.google.edit(_Removal(project_id, member(number % BINDINGS.size)))
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    touched = min(edits, BINDINGS.size)
    seconds = await counts.wait_for(
        stage, lambda: _reported(client), lambda found: len(found) >= touched, "all report the repair", 2.0
    )
    spent = (await counts.until_quiet(stage)).since(before)
    median, worst = statistics.median(seconds), max(seconds)
    return Benchmark(
        "feed",
        f"{edits} grants removed one after the other on {BINDINGS.policies} policies",
        (
            Figure("seconds_median", "seconds from the entry to the repair, median", median, decimals=1),
            Figure("seconds_worst", "seconds from the entry to the repair, worst", worst, decimals=1),
            Figure("policy_calls", "reads and writes of policies", spent.policy_calls, baseline=2 * edits),
            *_with_delays(median, worst),
        ),
    )


def _with_delays(median: float, worst: float) -> list[Figure]:
    """Return the times after a sink delay, beside those of polling, which finds an edit at the next resync.

    They are sums: the delay is not waited for.
    """
    figures = []
    for delay in SINK_DELAYS:
        label = f"with a sink delay of {delay:g} s"
        figures += [
            Figure(
                f"after_{delay:g}_median",
                f"seconds from the edit, median, {label}",
                delay + median,
                baseline=POLLING / 2 + median,
                decimals=1,
            ),
            Figure(
                f"after_{delay:g}_worst",
                f"seconds from the edit, worst, {label}",
                delay + worst,
                baseline=POLLING + worst,
                decimals=1,
            ),
        ]
    return figures


async def _reported(client: KubeClient) -> Sequence[float]:
    """Return the seconds of each repair, as the statuses report them."""
    return [
        float(match[1])
        for obj in await client.list(objects.resource("IAMBinding"))
        for change in obj.get("status", {}).get("drift", {}).get("changes", ())
        if (match := re.search(r"removed by .*, repaired after ([\d.]+) s$", change))
    ]


async def _at_rest(stage: Stage, projects: list[Object]) -> counts.Counts:
    """Return the counts of `REST` seconds at rest."""
    await apply_all(stage, projects)
    await asyncio.sleep(LONG_INTERVAL)  # until the intervals apply
    before = await counts.read(stage)
    await asyncio.sleep(REST)
    return (await counts.read(stage)).since(before)


def _rest(without: counts.Counts, with_feed: counts.Counts) -> Benchmark:
    pulls = sum(count for rpc, count in with_feed.calls.items() if "google.pubsub.v1.Subscriber/" in rpc)
    if not without.calls.total():
        raise DemoError("the operator made no calls at rest without a feed")
    title = f"at rest, {REST:g} s, {SHORT_INTERVAL:g} s without and {LONG_INTERVAL:g} s with the feed"
    calls = with_feed.calls.total() - pulls
    return Benchmark(
        "feed at rest",
        title,
        (
            Figure("calls", "calls without pulls", calls, baseline=without.calls.total()),
            Figure("pulls", "pulls of the subscription", pulls),
        ),
    )
