"""Test that Google's evidence reaches the status, and that recommended manifests take effect."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.time_budget import HUNG_AFTER

LISTS = "google.cloud.recommender.v1.Recommender/List*"
REPORT = "spec: {recommendations: Report}"
PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - roles: ["roles/cloudsql.*", roles/run.viewer]
      targetKinds: [Project]
      members: [identities]
      namespaces: [$scene]
---
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - role: roles/cloudsql.editor
  - role: roles/run.viewer
"""


def least_privilege(scene: Scene) -> tuple[str, str]:
    found = scene.condition("CloudRunIdentity/checkout", "LeastPrivilege") or {"status": "", "reason": ""}
    return found["status"], found["reason"]


def recommend(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloudrun_identity", "recommend", *arguments]
    options = (
        *("--kubeconfig", str(scene.stage.kube_api.kubeconfig)),
        *("--project", scene.name),
        *("--google-endpoint", scene.stage.google.grpc_address),
    )
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=HUNG_AFTER, check=False
    )


@pytest.mark.slow
def test_recommended_manifests_replace_broad_roles(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(PROJECT)
    scene.ready("CloudRunIdentity/checkout")
    assert least_privilege(scene) == ("True", "NoAdvice")
    scene.cloud.use_permissions(scene.name, {scene.member("checkout"): ["cloudsql.instances.connect"]})
    scene.patch(f"ManagedProject/{scene.name}", REPORT)

    eventually(lambda: least_privilege(scene), lambda found: found == ("False", "Advice"))
    shown: list[dict[str, Any]] = scene.status("CloudRunIdentity/checkout")["recommendations"]
    evidence = {each["role"]: each for each in shown if each["source"] == "Recommender"}
    assert evidence["roles/run.viewer"]["kind"] == "UnusedRole"
    assert evidence["roles/run.viewer"]["since"]
    [smaller] = evidence["roles/cloudsql.editor"]["replaceBy"]

    result = recommend(scene, "-o", "yaml")
    assert result.returncode == 2, result.stderr
    for manifest in yaml.safe_load_all(result.stdout):
        scene.apply(json.dumps(manifest))
    scene.ready("CloudRunIdentity/checkout")
    member = scene.member("checkout")
    eventually(
        lambda: {role for role, members in scene.policy().items() if member in members},
        lambda roles: roles == {smaller},
    )


@pytest.mark.slow
def test_refused_recommendations_are_unknown_and_harmless(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(PROJECT)
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.fail(LISTS, "PERMISSION_DENIED", times=4)
    scene.patch(f"ManagedProject/{scene.name}", REPORT)
    eventually(lambda: least_privilege(scene), lambda found: found == ("Unknown", "NotObserved"))
    scene.ready("CloudRunIdentity/checkout", f"ManagedProject/{scene.name}")
    degraded = scene.condition(f"ManagedProject/{scene.name}", "Degraded")
    assert degraded
    assert degraded["status"] == "False"
