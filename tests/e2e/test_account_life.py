"""Test the lifecycle of an account: propagation, changes by others, slow deletion."""

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles: [{role: roles/viewer}]
  tokenCreators: [{principal: "group:ops@example.com"}]
"""
READER = """
kind: IAMBinding
metadata: {name: loggers}
spec:
  target: {kind: Project}
  role: roles/logging.logWriter
  members: [{identityRef: {name: checkout}}]
"""


@pytest.fixture
def adopted(scene: Scene) -> Scene:
    """Provide a scene with an adopted account, whose changes never count as propagation delay."""
    email = scene.cloud.create_account(scene.name, "checkout")
    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableAccounts: [{{email: '{email}'}}]}}}}"
    )
    scene.apply(IDENTITY + "  adoption: Adopt\n")
    scene.apply(READER)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")
    return scene


@pytest.fixture
def lagging(scene: Scene) -> Iterator[Scene]:
    """Provide a scene in which new accounts propagate slowly."""
    scene.cloud.set_switches(lag="3s")
    yield scene
    scene.cloud.set_switches(lag="0s")


def unique_id(scene: Scene) -> str:
    found: str = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
    return found


def test_dependents_wait_until_a_new_account_has_propagated(lagging: Scene) -> None:
    scene = lagging
    scene.apply(READER)
    scene.fails("IAMBinding/loggers", "DependencyNotFound")
    scene.apply(IDENTITY)
    scene.fails("CloudRunIdentity/checkout", "PropagationPending")
    scene.stage.operator.kill()
    scene.stage.ensure_operator()
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")
    assert scene.policy()["roles/logging.logWriter"] == [scene.member("checkout")]
    calls = scene.cloud.log(f"{scene.name}/")
    made = [call for call in calls if call["rpc"].endswith("CreateServiceAccount") and call["code"] == "OK"]
    assert len(made) == 1


def test_unpropagated_change_of_disabled_is_not_drift(lagging: Scene) -> None:
    scene = lagging
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.patch("CloudRunIdentity/checkout", "spec: {disabled: true}")
    scene.ready("CloudRunIdentity/checkout")
    for number in range(3):
        scene.patch(
            "CloudRunIdentity/checkout",
            f'metadata: {{annotations: {{cloudrun-identity.dev/reconcile-requested-at: "{number}"}}}}',
        )
        becomes(lambda: scene.status("CloudRunIdentity/checkout").get("lastHandledReconcileAt"), str(number))
    assert "drift" not in scene.status("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name)["checkout"]["disabled"]


def test_when_deleted_undelete_restores_the_account_and_its_grants(adopted: Scene) -> None:
    scene = adopted
    before = unique_id(scene)
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    eventually(lambda: scene.cloud.accounts(scene.name), lambda accounts: "checkout" in accounts)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")
    assert unique_id(scene) == before
    assert scene.policy()["roles/viewer"] == [scene.member("checkout")]


def test_when_deleted_recreate_creates_another_account(adopted: Scene) -> None:
    scene = adopted
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDeleted: Recreate}")
    scene.ready("CloudRunIdentity/checkout")
    before = unique_id(scene)
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    becomes(lambda: scene.status("CloudRunIdentity/checkout")["uniqueID"] != before, True)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")
    becomes(
        scene.policy,
        {"roles/viewer": [scene.member("checkout")], "roles/logging.logWriter": [scene.member("checkout")]},
    )
    assert scene.cloud.policy(scene.account("checkout")) == {
        "roles/iam.serviceAccountTokenCreator": ["group:ops@example.com"]
    }


def test_when_deleted_report_only_reports(adopted: Scene) -> None:
    scene = adopted
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDeleted: Report}")
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    # A resync may see the deleted members of policies before it reads the account.
    scene.fails("CloudRunIdentity/checkout", "DriftDetected", saying="was deleted")
    scene.fails("IAMBinding/loggers", "DependencyNotReady")
    assert scene.cloud.accounts(scene.name) == {}

    scene.cloud.edit_account(scene.email("checkout"), "undelete")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")


def test_when_disabled_report_only_reports(adopted: Scene) -> None:
    scene = adopted
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDisabled: Report}")
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.edit_account(scene.email("checkout"), "disable")
    assert "disabled: true → false" in scene.fails("CloudRunIdentity/checkout", "DriftDetected")
    assert scene.cloud.accounts(scene.name)["checkout"]["disabled"]

    scene.patch("CloudRunIdentity/checkout", "spec: {whenDisabled: Repair}")
    scene.ready("CloudRunIdentity/checkout")
    assert not scene.cloud.accounts(scene.name)["checkout"].get("disabled")


def test_replaced_account_gets_no_grants_until_regrant_is_set(adopted: Scene) -> None:
    scene = adopted
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: true}")
    scene.fails("CloudRunIdentity/checkout", "Suspended")
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    scene.cloud.create_account(scene.name, "checkout", "of another user")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: false}")
    assert unique_id(scene) in scene.fails("CloudRunIdentity/checkout", "Conflict")
    scene.fails("IAMBinding/loggers", "DependencyNotReady")
    assert scene.member("checkout") not in scene.policy().get("roles/logging.logWriter", [])
    assert scene.cloud.policy(scene.account("checkout")) == {}

    scene.patch("CloudRunIdentity/checkout", "spec: {whenReplaced: Regrant}")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/loggers")
    assert scene.policy() == {
        "roles/viewer": [scene.member("checkout")],
        "roles/logging.logWriter": [scene.member("checkout")],
    }
    assert scene.cloud.policy(scene.account("checkout")) == {
        "roles/iam.serviceAccountTokenCreator": ["group:ops@example.com"]
    }


def test_identity_of_a_deleted_account_can_be_deleted(adopted: Scene) -> None:
    scene = adopted
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDeleted: Report}")
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    scene.fails("CloudRunIdentity/checkout", "DriftDetected")
    scene.delete_and_wait("CloudRunIdentity/checkout", "IAMBinding/loggers")
    assert scene.ledger_targets() == set()
    assert scene.policy() == {}


def test_account_is_disabled_before_deletion_until_the_reported_time(scene: Scene) -> None:
    scene.apply(IDENTITY + "  disableBeforeDelete: 24h\n")
    scene.ready("CloudRunIdentity/checkout")
    scene.delete("CloudRunIdentity/checkout")
    message = scene.fails("CloudRunIdentity/checkout", "Deleting")
    assert "is disabled until 2" in message
    assert scene.cloud.accounts(scene.name)["checkout"]["disabled"]
    assert scene.policy()["roles/viewer"] == [scene.member("checkout")]

    scene.patch("CloudRunIdentity/checkout", "spec: {disableBeforeDelete: 0s}")
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.policy() == {}


def test_revision_with_traffic_blocks_deletion_of_its_account(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    service = scene.cloud.deploy("services", scene.name, "web", scene.email("checkout"))
    first = eventually(lambda: scene.cloud.revision(service), bool)
    scene.cloud.pin(service, first)
    scene.cloud.deploy_as(service, "")
    becomes(lambda: scene.cloud.revision(service) != first, True)
    scene.delete("CloudRunIdentity/checkout")
    message = scene.fails("CloudRunIdentity/checkout", "InUse")
    assert f"Service {LOCATION}/web (revision {first})" in message
    assert "checkout" in scene.cloud.accounts(scene.name)

    scene.cloud.pin(service, "")
    scene.wait_until_deleted("CloudRunIdentity/checkout")


def test_running_execution_blocks_deletion_of_its_account(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    job = scene.cloud.deploy("jobs", scene.name, "nightly", scene.email("checkout"))
    scene.cloud.set_switches(executionTime="10m")
    try:
        execution = scene.cloud.run(job)
    finally:
        scene.cloud.set_switches(executionTime="0s")
    scene.cloud.deploy_as(job, "")
    scene.delete("CloudRunIdentity/checkout")
    message = scene.fails("CloudRunIdentity/checkout", "InUse")
    assert f"Job {LOCATION}/nightly (execution {execution.rpartition('/')[2]})" in message

    scene.cloud.cancel(execution)
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}
