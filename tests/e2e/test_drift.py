"""Test that drift is detected within the drift interval, repaired and reported."""

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  displayName: Checkout
  roles: [{role: roles/cloudsql.client}]
"""


def drift_count(scene: Scene, name: str) -> int:
    count: int = scene.status(name).get("drift", {}).get("count", 0)
    return count


def test_drift_that_returns_is_reported_on_the_project(scene: Scene) -> None:
    scene.apply("""
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
""")
    scene.ready("IAMBinding/viewers")
    for rounds in range(1, 4):
        scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")
        eventually(lambda: drift_count(scene, "IAMBinding/viewers"), rounds.__eq__)
        scene.ready("IAMBinding/viewers")

    issues = eventually(lambda: scene.status(f"ManagedProject/{scene.name}").get("issues", []), bool)
    assert any("reverts what the operator does" in issue and "viewers" in issue for issue in issues), issues


def test_removed_grant_is_restored_and_added_member_remains(scene: Scene) -> None:
    scene.apply("""
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
""")
    scene.ready("IAMBinding/viewers")
    metrics = scene.stage.operator.metrics()

    scene.cloud.add(scene.project, "roles/viewer", "user:ann@example.com")
    scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")

    becomes(scene.policy, {"roles/viewer": ["user:ann@example.com", "group:ops@example.com"]})
    eventually(lambda: scene.status("IAMBinding/viewers"), lambda status: "drift" in status)
    scene.ready("IAMBinding/viewers")
    drift = scene.status("IAMBinding/viewers")["drift"]
    assert drift["count"] == 1
    assert "group:ops@example.com" in drift["changes"][0]
    assert drift["lastRepairedTime"] >= drift["lastDetectedTime"]
    assert "group:ops@example.com" in scene.wait_for_event("IAMBinding/viewers", "DriftDetected")
    assert "group:ops@example.com" in scene.wait_for_event("IAMBinding/viewers", "DriftRepaired")
    for series in ("drift_detected", "drift_repaired"):
        name = f'cloudrun_identity_{series}_total{{kind="IAMBinding"}}'
        assert scene.stage.operator.metrics()[name] == metrics.get(name, 0) + 1


@pytest.mark.parametrize(
    ("kind", "collection"), [("Service", "services"), ("Job", "jobs"), ("WorkerPool", "workerPools")]
)
def test_workload_deployed_with_another_account_is_repaired(scene: Scene, kind: str, collection: str) -> None:
    workload = scene.cloud.deploy(collection, scene.name, "checkout")
    scene.apply(IDENTITY)
    scene.apply(f"""
kind: IdentityAttachment
metadata: {{name: checkout}}
spec:
  workload: {{kind: {kind}, location: europe-west1, name: checkout}}
  identityRef: {{name: checkout}}
""")
    scene.ready("IdentityAttachment/checkout")
    assert scene.cloud.runs_as(workload) == scene.email("checkout")
    assert drift_count(scene, "IdentityAttachment/checkout") == 0

    scene.cloud.deploy_as(workload, "")

    becomes(lambda: scene.cloud.runs_as(workload), scene.email("checkout"))
    becomes(lambda: drift_count(scene, "IdentityAttachment/checkout"), 1)
    scene.ready("IdentityAttachment/checkout")
    assert scene.email("checkout") in scene.wait_for_event("IdentityAttachment/checkout", "DriftRepaired")


def test_disabled_account_is_enabled_again(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")

    scene.cloud.edit_account(scene.email("checkout"), "disable")

    eventually(
        lambda: scene.cloud.accounts(scene.name)["checkout"], lambda account: not account.get("disabled")
    )
    assert "disabled" in scene.wait_for_event("CloudRunIdentity/checkout", "DriftRepaired")
    becomes(lambda: drift_count(scene, "CloudRunIdentity/checkout"), 1)


def test_deleted_account_is_undeleted_with_its_grants(scene: Scene) -> None:
    # Adopted, because the absence of a created account counts as propagation delay for two minutes.
    email = scene.cloud.create_account(scene.name, "checkout", "Checkout")
    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableAccounts: [{{email: '{email}'}}]}}}}"
    )
    scene.apply(IDENTITY.replace("displayName: Checkout", "adoption: Adopt"))
    scene.ready("CloudRunIdentity/checkout")
    unique_id = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
    scene.cloud.add(scene.project, "roles/viewer", scene.member("checkout"))
    policy = scene.policy()

    scene.cloud.edit_account(email, "delete")

    eventually(lambda: scene.cloud.accounts(scene.name), lambda accounts: "checkout" in accounts)
    assert scene.wait_for_event("CloudRunIdentity/checkout", "DriftRepaired")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name)["checkout"]["uniqueId"] == unique_id
    assert scene.policy() == policy
