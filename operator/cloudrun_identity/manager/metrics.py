"""Prometheus metrics: API calls, writes, reconciles, policy syncs, the queue, drift and objects."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .object_counts import ObjectCounts
from .work_queue import KeyedQueue

PREFIX = "cloudrun_identity"

# Google answers reads in about 0.1 s and writes in about 0.8 s; a deadline ends a call after 30 s.
_CALL_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# From a reconcile without work to one that waits for a policy syncer.
_RECONCILE_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Every metric of one process, in its own registry.

    It implements the observer ports of `gcp.clients`, `policy.ports` and `reconcile.events`. Labels have few
    values: never the name of an object, a project or a member.
    """

    def __init__(self) -> None:
        # A `_created` series beside every series would double their number.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._exposed: dict[type[Collector], Collector] = {}
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._google_calls = self._counter(
            "google_calls", "Calls to Google Cloud, by gRPC method and status code.", "method", "code"
        )
        self._google_call_seconds = self._histogram(
            "google_call_seconds", "Duration of calls to Google Cloud in seconds.", _CALL_SECONDS, "method"
        )
        self._kubernetes_writes = self._counter(
            "kubernetes_writes", "Writes to the Kubernetes API, by resource and verb.", "resource", "verb"
        )
        self._reconciles = self._counter(
            "reconciles", "Reconciles of objects, by kind and outcome.", "kind", "outcome"
        )
        self._reconcile_seconds = self._histogram(
            "reconcile_seconds", "Duration of reconciles in seconds.", _RECONCILE_SECONDS, "kind"
        )
        self._policy_syncs = self._counter(
            "policy_syncs", "Syncs of IAM policies, each for all objects.", "target_kind", "outcome"
        )
        self._drift_detected = self._counter(
            "drift_detected", "Differences in Google Cloud that the operator did not cause.", "kind"
        )
        self._drift_repaired = self._counter("drift_repaired", "Drift that the operator repaired.", "kind")
        self._watches_lost = self._counter(
            "watches_lost", "Restarts of the watches because one ended or delivered nothing."
        )
        self._feed_entries = self._counter(
            "change_feed_entries",
            "Entries of the audit log that a change feed delivered, by outcome.",
            "outcome",
        )
        self._feed_lag = Gauge(
            "change_feed_lag_seconds",
            "Seconds between the oldest change of the last delivery and the arrival of its entry.",
            namespace=PREFIX,
            registry=self._registry,
        )
        self._is_leader = Gauge(
            "is_leader",
            "1 in the replica that holds the Lease.",
            namespace=PREFIX,
            registry=self._registry,
        )

        self._projects_elsewhere = Gauge(
            "projects_operated_elsewhere",
            "ManagedProjects that another operator on the cluster acts on.",
            namespace=PREFIX,
            registry=self._registry,
        )

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Count a call of `method` that ended with the gRPC status `code` after `seconds`."""
        self._google_calls.labels(method, code).inc()
        self._google_call_seconds.labels(method).observe(seconds)

    def kubernetes_written(self, resource: str, verb: str) -> None:
        """Count a write to `resource` (plural, with the subresource if any) with `verb`."""
        self._kubernetes_writes.labels(resource, verb).inc()

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a reconcile of an object of `kind` that ended in `outcome` after `seconds`."""
        self._reconciles.labels(kind, outcome).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        """Count a sync of an IAM policy of a `target_kind` that ended in `outcome`."""
        self._policy_syncs.labels(target_kind, outcome).inc()

    def drift_detected(self, kind: str, count: int = 1) -> None:
        """Count detected differences of objects of `kind`."""
        self._drift_detected.labels(kind).inc(count)

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        """Count repaired differences of objects of `kind`."""
        self._drift_repaired.labels(kind).inc(count)

    def watches_lost(self) -> None:
        """Count a restart of the watches."""
        self._watches_lost.inc()

    def feed_entries(self, outcome: str, count: int) -> None:
        """Count entries of the audit log by what was done with them."""
        self._feed_entries.labels(outcome).inc(count)

    def feed_lag(self, seconds: float) -> None:
        """Record the time from the oldest change of a delivery to the arrival of its entry."""
        self._feed_lag.set(seconds)

    def leading(self, is_leader: bool) -> None:
        """Record whether this replica holds the Lease."""
        self._is_leader.set(is_leader)

    def projects_elsewhere(self, count: int) -> None:
        """Record the number of ManagedProjects that another operator acts on."""
        self._projects_elsewhere.set(count)

    def watch_queue(self, queue: KeyedQueue[Any]) -> None:
        """Expose the depth and age of `queue`, read at each scrape."""
        self._expose(_QueueGauges(queue))

    def watch_slots(self, held: Callable[[], Mapping[str, int]]) -> None:
        """Expose the worker slots by namespace, which `held` returns at each scrape."""
        self._expose(_SlotGauges(held))

    def watch_objects(self, count: Callable[[], ObjectCounts]) -> None:
        """Expose the counts of objects, which `count` returns at each scrape."""
        self._expose(_ObjectGauges(count))

    def watch_ledgers(self, count_invalid: Callable[[], int]) -> None:
        """Expose the number of invalid ledgers, which `count_invalid` returns at each scrape."""
        self._expose(_LedgerGauges(count_invalid))

    def _expose(self, collector: Collector) -> None:
        """Expose a collector in place of an earlier one of its type: each restarted manager has its own."""
        exposed = self._exposed.get(type(collector))
        if exposed:
            self._registry.unregister(exposed)
        self._exposed[type(collector)] = collector
        self._registry.register(collector)

    def render(self) -> bytes:
        """Return all metrics in the text format `prometheus_client.CONTENT_TYPE_LATEST`."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, namespace=PREFIX, registry=self._registry)

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            name, documentation, labels, namespace=PREFIX, buckets=buckets, registry=self._registry
        )


class _QueueGauges(Collector):
    def __init__(self, queue: KeyedQueue[Any]) -> None:
        self._queue = queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily(
            f"{PREFIX}_queue_depth", "Objects that wait for a worker, by priority.", labels=["priority"]
        )
        for priority, count in self._queue.depth().items():
            depth.add_metric([priority.name.lower()], count)
        yield depth
        yield GaugeMetricFamily(
            f"{PREFIX}_queue_oldest_seconds",
            "Age in seconds of the object that waits longest for a worker.",
            value=self._queue.oldest_age(),
        )
        waiting = GaugeMetricFamily(
            f"{PREFIX}_queue_namespace_depth",
            "Objects that wait for a worker, by namespace; an empty one for cluster-scoped objects.",
            labels=["namespace"],
        )
        for namespace, count in self._queue.depth_of_flows().items():
            waiting.add_metric([namespace], count)
        yield waiting


class _SlotGauges(Collector):
    def __init__(self, held: Callable[[], Mapping[str, int]]) -> None:
        self._held = held

    def collect(self) -> Iterator[GaugeMetricFamily]:
        slots = GaugeMetricFamily(
            f"{PREFIX}_worker_slots",
            "Reconciles that run, by namespace; an empty one for cluster-scoped objects.",
            labels=["namespace"],
        )
        for namespace, count in self._held().items():
            slots.add_metric([namespace], count)
        yield slots


class _ObjectGauges(Collector):
    def __init__(self, count: Callable[[], ObjectCounts]) -> None:
        self._count = count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counts = self._count()
        objects = GaugeMetricFamily(
            f"{PREFIX}_objects", "Objects by kind and status of Ready.", labels=["kind", "ready"]
        )
        for (kind, ready), count in counts.ready.items():
            objects.add_metric([kind, ready], count)
        yield objects
        not_ready = GaugeMetricFamily(
            f"{PREFIX}_objects_not_ready",
            "Objects that are not Ready, by kind and reason.",
            labels=["kind", "reason"],
        )
        for (kind, reason), count in counts.not_ready.items():
            not_ready.add_metric([kind, reason], count)
        yield not_ready
        stalled = GaugeMetricFamily(
            f"{PREFIX}_objects_stalled", "Objects that need an action by a user, by kind.", labels=["kind"]
        )
        for kind, count in counts.stalled.items():
            stalled.add_metric([kind], count)
        yield stalled
        feeds = GaugeMetricFamily(
            f"{PREFIX}_change_feeds_not_ready",
            "ManagedProjects whose change feed is not ready, by reason.",
            labels=["reason"],
        )
        for reason, count in counts.feeds_not_ready.items():
            feeds.add_metric([reason], count)
        yield feeds
        yield GaugeMetricFamily(
            f"{PREFIX}_key_rotation_overdue_seconds",
            "Seconds since the oldest rotation of a key was due that has not taken place.",
            value=counts.overdue,
        )


class _LedgerGauges(Collector):
    def __init__(self, count_invalid: Callable[[], int]) -> None:
        self._count_invalid = count_invalid

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            f"{PREFIX}_ledgers_invalid", "Invalid PolicyLedgers.", value=self._count_invalid()
        )
