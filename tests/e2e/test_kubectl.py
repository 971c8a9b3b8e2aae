"""Test the output of kubectl."""

import os
import shutil
import subprocess

import pytest

from tests.e2e.scene import Scene
from tests.time_budget import HUNG_AFTER

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kubectl(scene: Scene, *arguments: str) -> list[list[str]]:
    """Run kubectl; return the words of each line of its output."""
    config = f"--kubeconfig={scene.stage.kube_api.kubeconfig}"
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        ["kubectl", config, f"--namespace={scene.name}", *arguments],
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_kubectl_waits_for_ready_and_shows_every_object(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{identityRef: {name: checkout}}]
---
kind: IAMBinding
metadata: {name: owners}
spec:
  target: {kind: Project}
  role: roles/owner
  members: [{identityRef: {name: checkout}}]
""")
    kubectl(
        scene,
        "wait",
        "--for=condition=Ready",
        f"--timeout={HUNG_AFTER:.0f}s",
        "crid/checkout",
        "iamb/viewers",
    )
    scene.fails("IAMBinding/owners", "DeniedByGuardrail")

    [head, identity] = kubectl(scene, "get", "crids")
    assert dict(zip(head, identity, strict=True)).items() >= {
        ("NAME", "checkout"),
        ("READY", "True"),
        ("REASON", "UpToDate"),
    }
    head, *bindings = kubectl(scene, "get", "iamb", "--sort-by=.metadata.name")
    assert [binding[0] for binding in bindings] == ["owners", "viewers"]
    assert bindings[0][-3:-1] == ["False", "DeniedByGuardrail"]
    assert bindings[1][-3:-1] == ["True", "UpToDate"]


def test_kubectl_shows_the_identity_of_each_workload(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}}")
    scene.apply("""
kind: IdentityAttachment
metadata: {name: web}
spec:
  workload: {kind: Service, location: europe-west1, name: shop}
  identityRef: {name: checkout}
""")
    scene.ready("IdentityAttachment/web")

    [head, shown] = kubectl(scene, "get", "crattach")
    assert head == ["NAME", "KIND", "LOCATION", "WORKLOAD", "IDENTITY", "READY", "REASON", "AGE"]
    assert shown[:-1] == ["web", "Service", "europe-west1", "shop", "checkout", "True", "UpToDate"]
    revision = scene.cloud.workload(service)["latestReadyRevision"].rpartition("/")[2]
    [head, shown] = kubectl(scene, "get", "crattach", "-o", "wide")
    assert head[8:10] == ["ACCOUNT", "REVISION"]
    assert shown[8:10] == [scene.email("checkout"), revision]
