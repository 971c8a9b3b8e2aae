"""Test errors of Google Cloud that do not say what happened, or that look like something else."""

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/viewer}]}
"""
ROLES = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails: {customRoles: {permissions: ["run.*"]}}
---
kind: CustomRole
metadata: {name: runner}
spec: {roleID: runner, permissions: [run.jobs.run]}
"""
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: shop}
spec:
  workload: {kind: Job, location: LOCATION, name: shop}
  identityRef: {name: checkout}
  deletionPolicy: Restore
""".replace("LOCATION", LOCATION)
RESTORE_TO_DEFAULT = "spec: {guardrails: {restoreToDefaultAccount: true}}"
FULL = """
kind: ManagedProject
metadata: {name: $scene-full}
spec:
  projectID: acme-full
  driftInterval: 1s
  namespaces: {names: [$scene]}
---
kind: CloudRunIdentity
metadata: {name: one-more}
spec: {projectRef: {name: $scene-full}}
"""
FILLER = "filler@acme-full.iam.gserviceaccount.com"
UNKNOWN_OUTCOMES = pytest.mark.parametrize("code", ["UNKNOWN", "DATA_LOSS", "ABORTED", "DEADLINE_EXCEEDED"])


@UNKNOWN_OUTCOMES
def test_account_with_an_unknown_outcome_of_its_create_is_managed(scene: Scene, code: str) -> None:
    scene.cloud.fail("*.IAM/CreateServiceAccount", code, applied=True)
    scene.apply(IDENTITY)

    scene.ready("CloudRunIdentity/checkout")
    assert scene.status("CloudRunIdentity/checkout")["origin"] == "Created"
    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}


@UNKNOWN_OUTCOMES
def test_role_with_an_unknown_outcome_of_its_create_is_managed(closed_scene: Scene, code: str) -> None:
    scene = closed_scene
    scene.cloud.fail("*.IAM/CreateRole", code, applied=True)
    scene.apply(ROLES)

    scene.ready("CustomRole/runner")
    assert scene.status("CustomRole/runner")["origin"] == "Created"
    scene.delete_and_wait("CustomRole/runner")
    role = scene.cloud.role(f"{scene.project}/roles/runner")
    assert role
    assert role["deleted"]


@UNKNOWN_OUTCOMES
def test_job_with_an_unknown_outcome_of_its_move_is_restored_later(scene: Scene, code: str) -> None:
    job = scene.cloud.deploy("jobs", scene.name, "shop")
    before = scene.cloud.runs_as(job)
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.patch(f"ManagedProject/{scene.name}", RESTORE_TO_DEFAULT)
    scene.cloud.fail("*.Jobs/UpdateJob", code, applied=True)
    scene.apply(ATTACHMENT)

    scene.ready("IdentityAttachment/shop")
    assert scene.cloud.runs_as(job) == scene.email("checkout")
    scene.delete_and_wait("IdentityAttachment/shop")
    assert scene.cloud.runs_as(job) == before


def test_job_is_not_executed_by_attaching_or_restoring_it(scene: Scene) -> None:
    job = scene.cloud.deploy("jobs", scene.name, "shop")
    scene.cloud.update(job, startExecutionToken="start-once-created")
    assert scene.cloud.workload(job)["executionCount"] == 1
    scene.patch(f"ManagedProject/{scene.name}", RESTORE_TO_DEFAULT)
    scene.apply(IDENTITY)
    scene.apply(ATTACHMENT)

    scene.ready("IdentityAttachment/shop")
    assert scene.cloud.runs_as(job) == scene.email("checkout")
    scene.cloud.update(job, startExecutionToken="start-after-update")
    assert scene.cloud.workload(job)["executionCount"] == 2
    scene.delete_and_wait("IdentityAttachment/shop")

    assert scene.cloud.runs_as(job) != scene.email("checkout")
    assert scene.cloud.workload(job)["executionCount"] == 2


def test_full_project_delays_no_other_and_is_filled_once_there_is_room(scene: Scene) -> None:
    scene.apply(FULL)
    message = scene.fails("CloudRunIdentity/one-more", "QuotaExceeded")
    assert "Maximum number of service accounts on project reached" in message
    assert "project acme-full has the maximum number of service accounts" in message
    assert "https://console.cloud.google.com/iam-admin/quotas?project=acme-full" in message

    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")

    scene.cloud.edit_account(FILLER, "delete")
    scene.ready("CloudRunIdentity/one-more")


def test_fresh_account_that_a_delete_does_not_find_is_deleted(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.fail("*.IAM/DeleteServiceAccount", "NOT_FOUND")

    scene.delete_and_wait("CloudRunIdentity/checkout")

    assert scene.cloud.accounts(scene.name) == {}
    assert scene.ledger_targets() == set()


def test_mistyped_location_is_named(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(ATTACHMENT.replace(LOCATION, "europe-west11"))

    message = scene.fails("IdentityAttachment/shop", "LocationNotFound")

    assert "Cloud Run does not exist in europe-west11, or the project may not use it" in message
    assert "gcloud run regions list" in message
    assert scene.is_stalled("IdentityAttachment/shop")
    scene.delete_and_wait("IdentityAttachment/shop")


def test_perimeter_of_vpc_service_controls_is_named(scene: Scene) -> None:
    info = {"reason": "SECURITY_POLICY_VIOLATED", "metadata": {"uid": "VQQnKf", "consumer": "projects/1"}}
    scene.cloud.fail("*.Projects/SetIamPolicy", "PERMISSION_DENIED", times=10_000, errorInfo=info)
    scene.apply(VIEWERS)

    message = scene.fails("IAMBinding/viewers", "PerimeterViolation")

    assert "VPC Service Controls" in message
    assert f'vpcServiceControlsUniqueId="VQQnKf"\' --project={scene.name}' in message
    scene.cloud.recover()
    scene.ready("IAMBinding/viewers")


def test_ended_connection_is_no_bug_of_the_operator(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.cloud.fail("*.Projects/*IamPolicy", "UNKNOWN", times=10_000, message="Stream removed")
    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "user:ann@example.com"}]}')

    assert "Stream removed" in scene.fails("IAMBinding/viewers", "ApiUnavailable")
    assert not scene.is_stalled("IAMBinding/viewers")
    scene.cloud.recover()
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}


def test_mistyped_location_of_a_binding_and_of_a_project_is_named(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply("""
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  locations: [europe-west11]
  namespaces: {names: [$scene]}
  guardrails:
    grants: [{roles: [roles/run.invoker], targetKinds: [Service], members: ["group:*"]}]
---
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west11, name: shop}
  role: roles/run.invoker
  members: [{principal: "group:ops@example.com"}]
""")

    message = scene.fails("IAMBinding/callers", "LocationNotFound")
    assert "Cloud Run does not exist in europe-west11, or the project may not use it" in message
    issues = scene.status(f"ManagedProject/{scene.name}")["issues"]
    assert any("correct the location in the spec" in issue for issue in issues)
    scene.delete_and_wait("IAMBinding/callers")


def test_project_behind_a_perimeter_is_not_called_missing(closed_scene: Scene) -> None:
    scene = closed_scene
    info = {"reason": "SECURITY_POLICY_VIOLATED", "metadata": {"uid": "VQQnKf"}}
    scene.cloud.fail("*.Projects/GetProject", "PERMISSION_DENIED", times=10_000, errorInfo=info)
    scene.apply(OPEN_PROJECT)

    message = scene.fails(f"ManagedProject/{scene.name}", "PerimeterViolation")

    assert "does not exist" not in message
    scene.cloud.recover()
    scene.ready(f"ManagedProject/{scene.name}")
