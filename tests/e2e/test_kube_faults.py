"""Test refusals, delays and interruptions of the Kubernetes API.

The embedded server injects the faults, into requests that only the operator makes.
"""

import itertools
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cloudrun_identity.kube.connection import CONNECTIONS
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage
from tests.servers.kube_apis import EMBEDDED, tls_context
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True)

Fault = dict[str, Any]

CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/viewer}]}
---
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{identityRef: {name: checkout}}]
"""
VIEWER = """
kind: IAMBinding
metadata: {name: viewers-%s}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:viewers@example.com"}]
"""
KINDS = ("managedprojects", "cloudrunidentities", "iambindings")


class Faults:
    """Faults that the embedded server injects into the next requests."""

    def __init__(self, stage: Stage) -> None:
        cluster = yaml.safe_load(stage.kube_api.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._url = f"{stage.kube_api.url}/control/faults"
        self._token = stage.kube_api.token
        self._tls = tls_context(cluster)

    def ask_for(self, **fault: Any) -> None:
        self._call("POST", fault)

    def pending(self) -> list[Fault]:
        return self._call("GET")

    def clear(self) -> None:
        self._call("DELETE")

    def _call(self, method: str, body: Fault | None = None) -> list[Fault]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            self._url, json.dumps(body).encode() if body else None, headers, method=method
        )
        with urllib.request.urlopen(request, timeout=HUNG_AFTER, context=self._tls) as reply:
            pending: list[Fault] = json.load(reply)["faults"]
        return pending


@pytest.fixture
def faults(stage: Stage) -> Iterator[Faults]:
    faults = Faults(stage)
    yield faults
    faults.clear()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"code": 409, "times": 3}, id="conflicts"),
        pytest.param({"code": 429, "retryAfter": 1, "times": 2}, id="throttled"),
        pytest.param({"code": 500, "times": 2}, id="failing"),
        pytest.param({"delay": 1.0}, id="slow"),
    ],
)
def test_refused_or_delayed_writes_succeed_eventually(scene: Scene, faults: Faults, fault: Fault) -> None:
    faults.ask_for(resource="*identities/status", **fault)
    faults.ask_for(resource="iambindings/status", **fault)
    faults.ask_for(resource="policyledgers*", **fault)
    before = scene.cloud.calls()

    scene.apply(CHECKOUT)

    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")
    becomes(faults.pending, [])
    member = scene.member("checkout")
    assert scene.policy() == {"roles/viewer": [member], "roles/cloudsql.client": [member]}
    assert (scene.cloud.calls() - before)["IAM/CreateServiceAccount"] == 1
    scene.delete_and_wait("IAMBinding/clients", "CloudRunIdentity/checkout")
    assert scene.policy() == {}


@pytest.mark.parametrize("ending", ["cut", "expire"])
def test_change_after_an_ended_watch_is_seen(scene: Scene, faults: Faults, ending: str) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")

    for kind in KINDS:
        faults.ask_for(resource=kind, watches=ending)
    scene.patch("IAMBinding/clients", "spec: {role: roles/logging.logWriter}")

    scene.ready("IAMBinding/clients")
    member = scene.member("checkout")
    assert scene.policy() == {"roles/viewer": [member], "roles/logging.logWriter": [member]}


def test_refused_watch_and_list_are_retried(scene: Scene, faults: Faults) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")

    for verb, code in (("watch", 410), ("list", 503)):
        faults.ask_for(resource="iambindings", verb=verb, code=code)
    faults.ask_for(resource="iambindings", watches="expire")
    scene.patch("IAMBinding/clients", "spec: {role: roles/logging.logWriter}")

    scene.ready("IAMBinding/clients")
    becomes(faults.pending, [])


def test_lease_survives_a_short_renewal_failure(scene: Scene, faults: Faults) -> None:
    operator = scene.stage.operator
    faults.ask_for(resource="leases", code=500, times=2)
    becomes(faults.pending, [])

    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")
    assert operator.is_running


@pytest.mark.slow
def test_lease_is_renewed_while_all_other_requests_hang(scene: Scene, faults: Faults) -> None:
    stage = scene.stage
    faults.ask_for(resource="iambindings*", verb="patch", delay=600, times=2 * CONNECTIONS)
    for suffix in ("a", "b", "c", "d"):  # one namespace cannot take all slots for reconciles
        namespace = scene.add_namespace(f"{scene.name}-{suffix}")
        scene.apply("---".join(VIEWER % number for number in range(CONNECTIONS // 2)), namespace=namespace)

    def left() -> int:
        return sum(fault.get("times", 1) for fault in faults.pending())

    eventually(left, lambda count: count <= CONNECTIONS)  # that many requests hang
    # The holder renews the Lease three times within its duration.
    renewals = 6
    versions: set[str] = set()

    def renewed() -> int:
        versions.add(stage.cluster.lease_version(OPERATOR_NAMESPACE))
        return len(versions) - 1

    eventually(renewed, lambda count: count >= renewals)

    assert stage.operator.is_running


def test_silent_watches_are_noticed_and_watched_again(scene: Scene, faults: Faults) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")

    faults.ask_for(watches="silence")
    scene.patch("IAMBinding/clients", "spec: {role: roles/logging.logWriter}")

    member = scene.member("checkout")
    becomes(scene.policy, {"roles/viewer": [member], "roles/logging.logWriter": [member]})
    scene.ready("IAMBinding/clients")


def test_refused_watch_among_cut_ones_is_watched_again(scene: Scene, faults: Faults) -> None:
    """kopf's own shutdown waits forever if events arrive while it ends."""
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")

    faults.ask_for(resource="iambindings", verb="watch", code=410)
    faults.ask_for(verb="watch", delay=8.0, times=7)
    faults.ask_for(watches="cut")
    scene.patch("IAMBinding/clients", "spec: {role: roles/logging.logWriter}")
    member = scene.member("checkout")
    expected = {"roles/viewer": [member], "roles/logging.logWriter": [member]}
    touches = itertools.count()

    def policy_while_events_arrive() -> dict[str, list[str]]:
        scene.patch("CloudRunIdentity/checkout", f"metadata: {{labels: {{touched: '{next(touches)}'}}}}")
        return scene.policy()

    becomes(policy_while_events_arrive, expected)
    scene.ready("IAMBinding/clients")
