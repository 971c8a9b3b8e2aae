"""Test that many due objects of one namespace do not delay an edit of another one."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene

FLOOD = 600
MAY_PRECEDE = FLOOD // 2
"""Reconciles of the flood while one edit of a neighbor is made true: it reads and writes a policy."""

CLIENT = "roles/cloudsql.client"
SHARED = f"""
kind: ManagedProject
metadata: {{name: $scene}}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {{names: [$scene, $scene-mal]}}
  guardrails:
    grants:
    - {{roles: [{CLIENT}], targetKinds: [Project], members: ["group:*"], namespaces: ["*"]}}
---
kind: IAMBinding
metadata: {{name: ours}}
spec:
  target: {{kind: Project}}
  role: {CLIENT}
  members: [{{principal: "group:first@example.com"}}]
"""
DENIED = """
kind: IAMBinding
metadata: {name: denied-%s}
spec: {target: {kind: Project}, role: roles/cloudsql.client, members: [{identityRef: {name: mallory}}]}
"""
IDENTITY = "{kind: CloudRunIdentity, metadata: {name: mallory}}"


class Flood:
    """Objects of Mallory that wait for one identity, and are refused once it exists."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.mallory = scene.add_namespace(f"{scene.name}-mal")

    def prepare(self) -> None:
        """Apply the objects, and wait until the operator has reconciled each of them."""
        scene = self._scene
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: scene.apply(DENIED % n, namespace=self.mallory), range(FLOOD)))
        eventually(self.refused, lambda refused: refused == 0)
        eventually(self._reported, lambda count: count == FLOOD, within=300)
        eventually(self.waiting, lambda waiting: waiting == 0)

    def start(self) -> None:
        """Apply the identity: all objects become due at once."""
        self._scene.apply(IDENTITY, namespace=self.mallory)
        eventually(self.waiting, lambda waiting: waiting > FLOOD / 2)

    def waiting(self) -> float:
        """Return the number of Mallory's objects that wait for a worker."""
        series = f'cloudrun_identity_queue_namespace_depth{{namespace="{self.mallory}"}}'
        return self._scene.stage.operator.metrics().get(series, 0)

    def reconciles(self) -> float:
        """Return the number of reconciles of bindings until now."""
        series = 'cloudrun_identity_reconciles_total{kind="IAMBinding"'
        metrics = self._scene.stage.operator.metrics()
        return sum(count for name, count in metrics.items() if name.startswith(series))

    def refused(self) -> int:
        return sum(reason == "DeniedByGuardrail" for reason in self._reasons())

    def end(self) -> None:
        """Delete the objects, so that they do not delay the tests that follow."""
        self._scene.cluster.delete_all("IAMBinding", self.mallory)
        eventually(lambda: self._scene.cluster.all("IAMBinding", self.mallory), lambda left: not left, 300)

    def _reported(self) -> int:
        return len(self._reasons())

    def _reasons(self) -> list[str]:
        return [
            condition["reason"]
            for each in self._scene.cluster.all("IAMBinding", self.mallory)
            for condition in each.get("status", {}).get("conditions", ())
            if condition["type"] == "Ready"
        ]


@pytest.mark.slow
def test_edit_is_made_true_while_a_flood_of_another_namespace_waits(
    closed_scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    scene, flood = closed_scene, Flood(closed_scene)
    scene.apply(SHARED)
    scene.ready("IAMBinding/ours")
    flood.prepare()
    at_rest = edit(scene, "second")

    flood.start()
    before = flood.reconciles()
    in_flood = edit(scene, "third")
    waiting, between = flood.waiting(), flood.reconciles() - before

    record_property("times as long as at rest", round(in_flood / at_rest, 1))
    record_property("reconciles of the flood", between)
    assert scene.policy()[CLIENT] == ["group:third@example.com"]
    assert waiting > 0, "the flood ended before the edit was made true"
    assert between < MAY_PRECEDE
    eventually(flood.refused, lambda refused: refused == FLOOD, within=300)
    flood.end()


def edit(scene: Scene, group: str) -> float:
    """Change the member of the neighbor's binding; return the seconds until it is Ready."""
    began = time.monotonic()
    scene.patch("IAMBinding/ours", f'spec: {{members: [{{principal: "group:{group}@example.com"}}]}}')
    scene.ready("IAMBinding/ours")
    return time.monotonic() - began
