"""What the operator tells Prometheus: calls, writes, passes, the queue, drift, and the objects it serves."""

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

from .work_queue import KeyedQueue

PREFIX = "cloudrun_identity"

# Google answers reads in about 0.1 s and writes in about 0.8 s; a deadline ends a call after 30 s.
_CALL_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# From a pass that finds nothing to do to one that waits for a policy's lane.
_RECONCILE_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Every metric of one process, in a registry of its own.

    It is the observer that `gcp.clients`, `policy` and `kube` ask for. Labels take few values by
    nature: never the name of an object, a project or a member.
    """

    def __init__(self) -> None:
        # A `_created` beside every series would double them for nothing.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._shown: dict[type[Collector], Collector] = {}
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._google_calls = self._counter("google_calls", "Calls to Google Cloud.", "method", "code")
        self._google_call_seconds = self._histogram(
            "google_call_seconds", "Seconds a call to Google Cloud took.", _CALL_SECONDS, "method"
        )
        self._kubernetes_writes = self._counter(
            "kubernetes_writes", "Writes to the Kubernetes API.", "resource", "verb"
        )
        self._reconciles = self._counter("reconciles", "Passes over objects.", "kind", "outcome")
        self._reconcile_seconds = self._histogram(
            "reconcile_seconds", "Seconds a pass over an object took.", _RECONCILE_SECONDS, "kind"
        )
        self._lane_passes = self._counter(
            "lane_passes", "Passes over IAM policies, one for all objects.", "target_kind", "outcome"
        )
        self._drift_detected = self._counter(
            "drift_detected", "Differences that somebody else caused in Google Cloud.", "kind"
        )
        self._drift_repaired = self._counter(
            "drift_repaired", "Such differences that were put right.", "kind"
        )
        self._is_leader = Gauge(
            "is_leader",
            "1 in the one replica that acts.",
            namespace=PREFIX,
            registry=self._registry,
        )

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Count a call to Google of `method` that ended with the gRPC status `code` after `seconds`."""
        self._google_calls.labels(method, code).inc()
        self._google_call_seconds.labels(method).observe(seconds)

    def kubernetes_written(self, resource: str, verb: str) -> None:
        """Count a write to `resource` (plural, with `/status` if it was that) with `verb`."""
        self._kubernetes_writes.labels(resource, verb).inc()

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a pass over an object of `kind` that ended in `outcome` after `seconds`."""
        self._reconciles.labels(kind, outcome).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def policy_synced(self, target_kind: str, outcome: str) -> None:
        """Count a pass over an IAM policy of a `target_kind` that ended in `outcome`."""
        self._lane_passes.labels(target_kind, outcome).inc()

    def drift_detected(self, kind: str, count: int = 1) -> None:
        """Count differences that were found on objects of `kind`."""
        self._drift_detected.labels(kind).inc(count)

    def drift_repaired(self, kind: str, count: int = 1) -> None:
        """Count differences that were put right on objects of `kind`."""
        self._drift_repaired.labels(kind).inc(count)

    def leading(self, is_leader: bool) -> None:
        """Tell whether this replica is the one that acts."""
        self._is_leader.set(is_leader)

    def watch_queue(self, queue: KeyedQueue[Any]) -> None:
        """Show the depth and age that `queue` has when the metrics are read."""
        self._show(_QueueGauges(queue))

    def watch_objects(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Show how many objects there are by (kind, status of Ready), as `count` answers when read."""
        self._show(_ObjectGauges(count))

    def _show(self, collector: Collector) -> None:
        """Show what the collector collects in the place of another of its kind: operators start over."""
        shown = self._shown.get(type(collector))
        if shown:
            self._registry.unregister(shown)
        self._shown[type(collector)] = collector
        self._registry.register(collector)

    def render(self) -> bytes:
        """Everything, in the text format that `prometheus_client.CONTENT_TYPE_LATEST` names."""
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
            f"{PREFIX}_queue_depth", "Objects that wait for a worker.", labels=["priority"]
        )
        for priority, count in self._queue.depth().items():
            depth.add_metric([priority.name.lower()], count)
        yield depth
        yield GaugeMetricFamily(
            f"{PREFIX}_queue_oldest_seconds",
            "Seconds for which the longest waiting of them has been due.",
            value=self._queue.oldest_age(),
        )


class _ObjectGauges(Collector):
    def __init__(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._count = count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        objects = GaugeMetricFamily(
            f"{PREFIX}_objects", "Objects served, by kind and status of Ready.", labels=["kind", "ready"]
        )
        for (kind, ready), count in self._count().items():
            objects.add_metric([kind, ready], count)
        yield objects
