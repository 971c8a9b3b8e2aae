"""Monitoring in the Helm chart. Alerts and panels use only metrics and labels that the operator exports."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc import StatusCode
from helm_python.chart import Chart
from helm_python.errors import HelmError
from prometheus_client.parser import text_string_to_metric_families

from cloudrun_identity.api import KINDS, Reason
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.manager.metrics import Metrics
from cloudrun_identity.manager.object_counts import ObjectCounts
from cloudrun_identity.manager.slots import Slots
from cloudrun_identity.manager.work_queue import KeyedQueue
from tests.chart import CHART, RELEASED, container, deployment, manifests

ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["alerts"]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
RUNBOOKS = Path(__file__).parents[1] / "docs" / "how-to" / "runbooks.md"

TARGET_LABELS = {"namespace", "pod"}
"""Labels that Prometheus adds to every series. It renames those of a metric: `exported_namespace`."""

LABEL_VALUES: dict[str, set[str]] = {
    "reason": {*Reason},
    "kind": {*KINDS},
    "code": {code.name for code in StatusCode},
}
"""All values of some labels."""

WORDS = {
    *("sum", "max", "min", "topk", "rate", "increase", "absent", "histogram_quantile"),
    *("by", "on", "and", "or", "unless"),
}
"""The functions and keywords of PromQL that the expressions use."""


@pytest.fixture
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each metric that the operator exports."""
    return asyncio.run(labels_by_metric())


async def labels_by_metric() -> dict[str, set[str]]:
    """Return the labels of each metric, from an exposition in which every metric has a sample."""
    metrics = Metrics()
    metrics.observed("google.iam.admin.v1.IAM/GetRole", "OK", 0.1)
    metrics.kubernetes_written("iambindings/status", "patch")
    metrics.reconciled("IAMBinding", "in_sync", 0.1)
    metrics.policy_synced("Project", "written")
    metrics.drift_detected("IAMBinding")
    metrics.drift_repaired("IAMBinding")
    metrics.watches_lost()
    metrics.feed_entries("synced", 1)
    metrics.feed_lag(0.5)
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("a", Priority.EDIT)
    metrics.watch_queue(queue)
    slots = Slots(1)
    slots.take("payments")
    metrics.watch_slots(slots.held)
    one = {("IAMBinding", "False"): 1}
    metrics.watch_objects(lambda: ObjectCounts(one, one, {"IAMBinding": 1}, 0, {"Lagging": 1}))
    metrics.watch_ledgers(lambda: 0)
    return {
        sample.name: {f"exported_{label}" if label in TARGET_LABELS else label for label in sample.labels}
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def mistakes(expression: str, exported: dict[str, set[str]]) -> Iterator[str]:
    """Yield the names in a PromQL expression that are no exported metric, label or value."""
    matchers = re.findall(r"(\w+)\{([^}]*)\}", expression)
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    bare = re.sub(r"\b(?:by|on) \([^)]*\)|\{[^}]*\}|\[[^\]]*\]", " ", expression)
    metrics = set(re.findall(r"\b[a-z_]\w*", bare)) - WORDS
    yield from (f"metric {name}" for name in metrics - exported.keys())
    known = TARGET_LABELS.union(*(exported.get(name, set()) for name in metrics))
    for names in grouped:
        yield from (f"label {name}" for name in re.findall(r"\w+", names) if name not in known)
    for metric, matched in matchers:
        for label, value in re.findall(r'(\w+)[=!~]+"([^"]*)"', matched):
            if label not in TARGET_LABELS | exported.get(metric, set()):
                yield f"label {label} of {metric}"
            elif label in LABEL_VALUES and value not in LABEL_VALUES[label]:
                yield f"{label}={value}"


def expressions() -> Iterator[tuple[str, str, str]]:
    """Yield the title, the expression and the text with labels of each alert and panel."""
    for alert in ALERTS:
        yield alert["alert"], alert["expr"], json.dumps(alert["annotations"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(
    ("title", "expression", "text"), [pytest.param(*each, id=each[0]) for each in expressions()]
)
def test_alert_or_panel_uses_exported_metrics_and_labels(
    title: str, expression: str, text: str, exported: dict[str, set[str]]
) -> None:
    assert list(mistakes(expression, exported)) == []
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", expression))))
    shown = set(re.findall(r"\$labels\.(\w+)", text)) or set(re.findall(r"\{\{(\w+)\}\}", text))
    assert shown <= grouped


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("sum(cloudrun_identity_objcts)", "metric cloudrun_identity_objcts"),
        ("sum by (state) (cloudrun_identity_objects)", "label state"),
        ('cloudrun_identity_objects{state="x"}', "label state of cloudrun_identity_objects"),
        ('cloudrun_identity_objects_not_ready{reason="Quota"}', "reason=Quota"),
        ("topk(3, cloudrun_identity_queue_depth)", ""),
    ],
)
def test_the_check_of_expressions_finds_mistakes(
    expression: str, mistake: str, exported: dict[str, set[str]]
) -> None:
    assert list(mistakes(expression, exported)) == ([mistake] if mistake else [])


def test_every_metric_is_on_the_dashboard_or_in_an_alert(exported: dict[str, set[str]]) -> None:
    shown = " ".join(expression for _, expression, _ in expressions())
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in exported}
    assert not {name for name in families if name.startswith("cloudrun_identity_") and name not in shown}


def test_every_alert_has_a_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


def test_alerts_link_their_runbooks_and_can_be_left_out(chart: Chart) -> None:
    assert ("PrometheusRule", RELEASED) not in manifests(chart)
    values = {
        "enabled": True,
        "without": ["CloudRunIdentityQueueOld"],
        "alertLabels": {"team": "platform", "severity": "page"},
        "labels": {"release": "prometheus"},
        "namespace": "monitoring",
    }
    rule = manifests(chart, prometheusRule=values)["PrometheusRule", RELEASED]
    assert rule["metadata"]["namespace"] == "monitoring"
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    [group] = rule["spec"]["groups"]
    rendered = {each["alert"]: each for each in group["rules"]}
    assert set(rendered) == {each["alert"] for each in ALERTS} - {"CloudRunIdentityQueueOld"}
    for alert in ALERTS:
        if each := rendered.get(alert["alert"]):
            assert each["expr"] == alert["expr"]
            assert each["labels"] == {"team": "platform", "severity": "page"}
            assert each["annotations"].items() >= alert["annotations"].items()
            assert each["annotations"]["runbook_url"].endswith(
                f"docs/how-to/runbooks.md#{alert['alert'].lower()}"
            )


def test_alert_to_leave_out_must_exist(chart: Chart) -> None:
    with pytest.raises(HelmError, match="there is no alert QueueOld; the alerts are CloudRunIdentity"):
        manifests(chart, prometheusRule={"enabled": True, "without": ["QueueOld"]})


def test_dashboard_is_a_config_map_for_the_sidecar_of_grafana(chart: Chart) -> None:
    name = f"{RELEASED}-dashboard"
    assert ("ConfigMap", name) not in manifests(chart)
    folder = {"grafana_folder": "Platform"}
    found = manifests(chart, dashboard={"enabled": True, "annotations": folder})["ConfigMap", name]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == folder
    assert json.loads(found["data"]["cloudrun-identity.json"]) == DASHBOARD


@pytest.mark.parametrize(
    ("kind", "key", "endpoints"),
    [
        ("PodMonitor", "podMonitor", "podMetricsEndpoints"),
        ("ServiceMonitor", "serviceMonitor", "endpoints"),
    ],
)
def test_monitors_scrape_the_metrics_port(chart: Chart, kind: str, key: str, endpoints: str) -> None:
    assert (kind, RELEASED) not in manifests(chart)
    labels = {"release": "prometheus"}
    values: dict[str, Any] = {"enabled": True, "labels": labels, "interval": "30s"}
    values["endpoint"] = {"honorLabels": True}
    rendered = manifests(chart, **{key: values})
    monitor = rendered[kind, RELEASED]
    assert monitor["metadata"]["labels"].items() >= labels.items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["identities"]}
    [endpoint] = monitor["spec"][endpoints]
    port = container(chart)["ports"][0]["name"]
    assert endpoint == {"port": port, "path": "/metrics", "interval": "30s", "honorLabels": True}
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector == deployment(chart)["selector"]["matchLabels"]
    if kind == "ServiceMonitor":
        service = rendered["Service", f"{RELEASED}-metrics"]
        assert service["metadata"]["labels"].items() >= selector.items()
        assert service["spec"]["selector"] == selector
        assert service["spec"]["ports"] == [{"name": port, "port": 8080, "targetPort": port}]


def test_two_monitors_would_scrape_each_pod_twice(chart: Chart) -> None:
    both = {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    with pytest.raises(HelmError, match="exclude each other"):
        manifests(chart, **both)
