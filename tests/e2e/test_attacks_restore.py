"""Attack deletionPolicy Restore: run code of one's own as an account that one may not use."""

from typing import Any

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene

KINDS = {"Service": "services", "Job": "jobs", "WorkerPool": "workerPools"}
OWN_CODE = "europe-docker.pkg.dev/mallory/tools/shell"
SHOP = "IdentityAttachment/shop"


def attach(scene: Scene, kind: str) -> None:
    scene.apply(
        f"""
kind: CloudRunIdentity
metadata: {{name: mallory}}
---
kind: IdentityAttachment
metadata: {{name: shop}}
spec:
  workload: {{kind: {kind}, location: {LOCATION}, name: shop}}
  identityRef: {{name: mallory}}
  deletionPolicy: Restore
"""
    )
    scene.ready(SHOP)


def deploy_own_code(scene: Scene, workload: str, kind: str) -> None:
    """Deploy another image, as the account that the workload runs as now."""
    template: dict[str, Any] = scene.cloud.workload(workload)["template"]
    (template["template"] if kind == "Job" else template)["containers"] = [{"image": OWN_CODE}]
    scene.cloud.update(workload, template=template)


def updates(scene: Scene) -> int:
    return sum(count for method, count in scene.cloud.calls().items() if "/Update" in method)


@pytest.mark.parametrize("permitted", [False, True], ids=["closed", "restoreToDefaultAccount"])
@pytest.mark.parametrize("kind", KINDS)
def test_own_code_does_not_run_as_the_default_account(scene: Scene, kind: str, permitted: bool) -> None:
    permission = f"spec: {{guardrails: {{restoreToDefaultAccount: {str(permitted).lower()}}}}}"
    scene.patch(f"ManagedProject/{scene.name}", permission)
    workload = scene.cloud.deploy(KINDS[kind], scene.name, "shop")
    attach(scene, kind)
    deploy_own_code(scene, workload, kind)
    before = updates(scene)

    scene.delete_and_wait(SHOP)
    scene.wait_for_event(SHOP, "Abandoned", saying="its template was changed")
    assert scene.cloud.runs_as(workload) == scene.email("mallory")
    assert updates(scene) == before


@pytest.mark.parametrize("kind", KINDS)
def test_default_account_is_not_restored_unless_permitted(scene: Scene, kind: str) -> None:
    workload = scene.cloud.deploy(KINDS[kind], scene.name, "shop")
    attach(scene, kind)
    before = updates(scene)

    scene.delete_and_wait(SHOP)
    scene.wait_for_event(SHOP, "Abandoned", saying="guardrails.restoreToDefaultAccount")
    assert scene.cloud.runs_as(workload) == scene.email("mallory")
    assert updates(scene) == before


@pytest.mark.parametrize("kind", KINDS)
def test_own_code_does_not_run_as_an_account_of_others(scene: Scene, kind: str) -> None:
    powerful = scene.cloud.create_account(scene.name, "powerful")
    workload = scene.cloud.deploy(KINDS[kind], scene.name, "shop", powerful)
    attach(scene, kind)
    deploy_own_code(scene, workload, kind)
    before = updates(scene)

    scene.delete_and_wait(SHOP)
    scene.wait_for_event(SHOP, "Abandoned", saying="its template was changed")
    assert scene.cloud.runs_as(workload) == scene.email("mallory")
    assert updates(scene) == before


def test_template_before_a_repair_is_the_one_that_counts(scene: Scene) -> None:
    workload = scene.cloud.deploy("services", scene.name, "shop")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {restoreToDefaultAccount: true}}")
    attach(scene, "Service")
    deploy_own_code(scene, workload, "Service")
    scene.cloud.deploy_as(workload, scene.cloud.create_account(scene.name, "another"))
    scene.patch(SHOP, "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: now}}")
    becomes(lambda: scene.cloud.runs_as(workload), scene.email("mallory"))
    scene.ready(SHOP)

    scene.delete_and_wait(SHOP)
    assert scene.cloud.runs_as(workload) == scene.email("mallory")
