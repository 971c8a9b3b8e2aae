"""The exported Prometheus metrics."""

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.object_counts import ObjectCounts
from cloudrun_identity.manager.slots import Slots
from cloudrun_identity.manager.work_queue import KeyedQueue, Priority


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample by `name{label=value,…}`, labels sorted, without the prefix."""
    return {
        sample.name.removeprefix("cloudrun_identity_") + labelled(sample.labels): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def labelled(labels: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{name}={value}' for name, value in sorted(labels.items()))}}}" if labels else ""


def test_google_calls_are_counted_and_timed_by_method(metrics: Metrics) -> None:
    metrics.observed("google.iam.admin.v1.IAM/GetServiceAccount", "OK", 0.3)
    metrics.observed("google.iam.admin.v1.IAM/GetServiceAccount", "NOT_FOUND", 0.3)
    read = samples(metrics)
    method = "method=google.iam.admin.v1.IAM/GetServiceAccount"
    assert read[f"google_calls_total{{code=OK,{method}}}"] == 1
    assert read[f"google_calls_total{{code=NOT_FOUND,{method}}}"] == 1
    assert read[f"google_call_seconds_sum{{{method}}}"] == pytest.approx(0.6)
    assert read[f"google_call_seconds_bucket{{le=0.2,{method}}}"] == 0
    assert read[f"google_call_seconds_bucket{{le=0.5,{method}}}"] == 2


def test_reconciles_writes_syncs_and_drift_are_counted(metrics: Metrics) -> None:
    metrics.reconciled("CloudRunIdentity", "Changed", 2.0)
    metrics.kubernetes_written("cloudrunidentities/status", "patch")
    metrics.policy_synced("Project", "written")
    metrics.drift_detected("IAMBinding", 3)
    metrics.drift_repaired("IAMBinding")
    read = samples(metrics)
    assert read["reconciles_total{kind=CloudRunIdentity,outcome=Changed}"] == 1
    assert read["reconcile_seconds_sum{kind=CloudRunIdentity}"] == 2
    assert read["kubernetes_writes_total{resource=cloudrunidentities/status,verb=patch}"] == 1
    assert read["policy_syncs_total{outcome=written,target_kind=Project}"] == 1
    assert read["drift_detected_total{kind=IAMBinding}"] == 3
    assert read["drift_repaired_total{kind=IAMBinding}"] == 1


def test_is_leader_is_1_for_the_leader_only(metrics: Metrics) -> None:
    assert samples(metrics)["is_leader"] == 0
    metrics.leading(True)
    assert samples(metrics)["is_leader"] == 1
    metrics.leading(False)
    assert samples(metrics)["is_leader"] == 0


@pytest.mark.looptime
async def test_queue_gauges_are_read_at_each_scrape(metrics: Metrics) -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    metrics.watch_queue(queue)
    queue.add("a", Priority.EDIT)
    queue.add("b", Priority.RESYNC)
    queue.add("c", Priority.RESYNC)
    read = samples(metrics)
    assert read["queue_depth{priority=edit}"] == 1
    assert read["queue_depth{priority=resync}"] == 2
    assert read["queue_oldest_seconds"] == 0
    assert read["queue_namespace_depth{namespace=}"] == 3
    await queue.get()
    assert samples(metrics)["queue_depth{priority=edit}"] == 0


def test_worker_slots_are_read_at_each_scrape(metrics: Metrics) -> None:
    slots = Slots(4)
    metrics.watch_slots(slots.held)
    slots.take("payments")
    assert samples(metrics)["worker_slots{namespace=payments}"] == 1
    slots.release("payments")
    assert "worker_slots{namespace=payments}" not in samples(metrics)


def test_object_gauges_are_read_at_each_scrape(metrics: Metrics) -> None:
    ready = {("IAMBinding", "True"): 7}
    not_ready, feeds = {("IAMBinding", "QuotaExceeded"): 2}, {"Lagging": 3}
    counts = ObjectCounts(ready, not_ready, {"IAMBinding": 0}, overdue=60.0, feeds_not_ready=feeds)
    metrics.watch_objects(lambda: counts)
    ready["IAMBinding", "False"] = 2
    read = samples(metrics)
    assert read["objects{kind=IAMBinding,ready=True}"] == 7
    assert read["objects{kind=IAMBinding,ready=False}"] == 2
    assert read["objects_not_ready{kind=IAMBinding,reason=QuotaExceeded}"] == 2
    assert read["objects_stalled{kind=IAMBinding}"] == 0
    assert read["key_rotation_overdue_seconds"] == 60
    assert read["change_feeds_not_ready{reason=Lagging}"] == 3


def test_invalid_ledgers_are_counted_at_each_scrape(metrics: Metrics) -> None:
    metrics.watch_ledgers(lambda: 3)
    assert samples(metrics)["ledgers_invalid"] == 3


def test_instances_do_not_share_counts(metrics: Metrics) -> None:
    other = Metrics()
    other.policy_synced("Project", "written")
    assert "policy_syncs_total{outcome=written,target_kind=Project}" not in samples(metrics)


def test_process_metrics_are_included(metrics: Metrics) -> None:
    assert samples(metrics)["process_resident_memory_bytes"] > 0


def test_metrics_have_the_prefix_and_no_created_series(metrics: Metrics) -> None:
    metrics.policy_synced("Project", "written")
    names = {
        family.name
        for family in text_string_to_metric_families(metrics.render().decode())
        if not family.name.startswith(("process_", "python_"))
    }
    assert "cloudrun_identity_policy_syncs" in names
    assert all(name.startswith("cloudrun_identity_") for name in names)
    assert not any(name.endswith("_created") for name in names)
