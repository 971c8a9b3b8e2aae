"""Test custom roles from creation to deletion, and the grants that wait for them."""

from typing import Any

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails:
    customRoles: {permissions: ["run.*"], namespaces: ["*"]}
    grants:
    - roles: ["projects/$scene/roles/*"]
      targetKinds: [Project]
      members: [identities, "group:*"]
      namespaces: ["*"]
"""
RUNNER = """
kind: CustomRole
metadata: {name: runner}
spec:
  roleID: prefectRunner
  title: Prefect runner
  permissions: [run.jobs.create, run.jobs.run]
"""
CLIENTS = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  customRoleRef: {name: runner}
  members: [{principal: "group:ops@example.com"}]
"""


@pytest.fixture
def scene_with_roles(closed_scene: Scene) -> Scene:
    """Provide a scene that admits custom roles with Cloud Run permissions."""
    closed_scene.apply(PROJECT)
    closed_scene.ready(f"ManagedProject/{closed_scene.name}")
    return closed_scene


def role_name(scene: Scene) -> str:
    return f"projects/{scene.name}/roles/prefectRunner"


def the_role(scene: Scene) -> dict[str, Any]:
    """Return the role as Google shows it; empty if there is none."""
    return scene.cloud.role(role_name(scene)) or {}


def test_custom_role_is_created_and_drift_is_repaired(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.apply(RUNNER)
    scene.ready("CustomRole/runner")
    made = the_role(scene)
    assert (made["title"], made["includedPermissions"]) == (
        "Prefect runner",
        ["run.jobs.create", "run.jobs.run"],
    )
    status = scene.status("CustomRole/runner")
    assert (status["name"], status["origin"], status["permissionCount"]) == (role_name(scene), "Created", 2)

    scene.cloud.change_role(
        role_name(scene), includedPermissions=["run.jobs.run", "iam.serviceAccounts.actAs"]
    )

    becomes(lambda: the_role(scene)["includedPermissions"], ["run.jobs.create", "run.jobs.run"])
    assert "iam.serviceAccounts.actAs: held → removed" in scene.wait_for_event(
        "CustomRole/runner", "DriftDetected"
    )


def test_grant_waits_for_its_role_and_role_deletion_waits_for_grants(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.apply(CLIENTS)
    scene.fails("IAMBinding/clients", "DependencyNotFound", saying="does not exist")

    scene.apply(RUNNER)
    scene.ready("IAMBinding/clients")
    assert scene.policy()[role_name(scene)] == ["group:ops@example.com"]

    scene.delete("CustomRole/runner")
    assert f"IAMBinding {scene.name}/clients" in scene.fails("CustomRole/runner", "InUse")
    assert not the_role(scene).get("deleted")

    scene.delete_and_wait("IAMBinding/clients")
    scene.wait_until_deleted("CustomRole/runner")
    assert the_role(scene)["deleted"]


IN_FULL = """
kind: IAMBinding
metadata: {name: in-full}
spec:
  target: {kind: Project}
  role: projects/$scene/roles/prefectRunner
  members: [{principal: "group:elsewhere@example.com"}]
"""
CALLER = """
kind: CloudRunIdentity
metadata: {name: caller}
spec: {roles: [{role: projects/$scene/roles/prefectRunner}]}
"""


def test_role_deletion_waits_for_objects_that_use_its_full_name(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    shop = scene.add_namespace(f"{scene.name}-shop")
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{namespaces: {{names: [{scene.name}, {shop}]}}}}")
    scene.apply(IN_FULL, namespace=shop)
    scene.apply(IN_FULL)
    scene.apply(CALLER)
    assert "does not exist" in scene.fails("IAMBinding/in-full", "Rejected", namespace=shop)

    scene.apply(RUNNER)
    for namespace in (scene.name, shop):
        scene.ready("IAMBinding/in-full", namespace=namespace)
    scene.ready("CloudRunIdentity/caller")

    scene.delete("CustomRole/runner")
    message = scene.fails("CustomRole/runner", "InUse")
    assert f"CloudRunIdentity {scene.name}/caller" in message
    assert f"IAMBinding {scene.name}/in-full" in message
    assert shop not in message, "another namespace must not be able to hold up the deletion"

    scene.delete_and_wait("IAMBinding/in-full", "CloudRunIdentity/caller")
    scene.wait_until_deleted("CustomRole/runner")
    assert the_role(scene)["deleted"]
    scene.fails("IAMBinding/in-full", "DependencyNotFound", saying="is deleted", namespace=shop)
    scene.delete("IAMBinding/in-full", namespace=shop)
    scene.wait_until_deleted("IAMBinding/in-full", namespace=shop)
    assert role_name(scene) not in scene.policy()


def test_first_of_two_objects_with_one_role_id_owns_the_role(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    shop = scene.add_namespace(f"{scene.name}-shop")
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{namespaces: {{names: [{scene.name}, {shop}]}}}}")
    scene.apply(RUNNER)
    scene.ready("CustomRole/runner")

    scene.apply(RUNNER.replace("run.jobs.create, ", ""), namespace=shop)
    message = scene.fails("CustomRole/runner", "Conflict", namespace=shop)

    assert "another namespace" in message
    assert f"{scene.name}/runner" not in message
    scene.ready("CustomRole/runner")
    assert the_role(scene)["includedPermissions"] == ["run.jobs.create", "run.jobs.run"]
    assert "drift" not in scene.status("CustomRole/runner")

    scene.delete_and_wait("CustomRole/runner")
    remedy = "is deleted; choose another roleID"
    scene.fails("CustomRole/runner", "Conflict", saying=remedy, namespace=shop)


def test_role_deleted_with_its_object_is_undeleted_for_a_new_object(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.apply(RUNNER)
    scene.ready("CustomRole/runner")
    scene.delete_and_wait("CustomRole/runner")

    scene.apply(RUNNER.replace("run.jobs.create, ", ""))
    scene.ready("CustomRole/runner")

    back = the_role(scene)
    assert (back.get("deleted", False), back["includedPermissions"]) == (False, ["run.jobs.run"])


def test_role_deleted_by_another_user_is_not_undeleted(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.cloud.create_role(scene.name, "prefectRunner", ["run.jobs.run"])
    scene.cloud.delete_role(role_name(scene))
    scene.apply(RUNNER)

    message = scene.fails("CustomRole/runner", "Conflict")

    assert "was deleted by another user" in message
    assert "free again on" in message
    assert scene.is_stalled("CustomRole/runner")
    assert the_role(scene)["deleted"]


def test_existing_role_is_adopted_if_spec_and_guardrails_permit_it(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.cloud.create_role(scene.name, "prefectRunner", ["run.jobs.delete"])
    scene.apply(RUNNER)
    assert "exists already" in scene.fails("CustomRole/runner", "Conflict")

    scene.patch("CustomRole/runner", "spec: {adoption: Adopt}")
    assert "guardrails.adoptableRoles" in scene.fails("CustomRole/runner", "DeniedByGuardrail")
    assert the_role(scene)["includedPermissions"] == ["run.jobs.delete"]

    scene.patch(
        f"ManagedProject/{scene.name}",
        f"spec: {{guardrails: {{adoptableRoles: [{{roleID: prefect*, namespaces: [{scene.name}]}}]}}}}",
    )
    scene.ready("CustomRole/runner")
    assert scene.status("CustomRole/runner")["origin"] == "Adopted"
    assert the_role(scene)["includedPermissions"] == ["run.jobs.create", "run.jobs.run"]


def test_role_beyond_the_guardrails_is_refused_without_a_write(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.apply(RUNNER.replace("run.jobs.run]", "iam.serviceAccounts.actAs]"))

    message = scene.fails("CustomRole/runner", "DeniedByGuardrail")

    assert "does not admit iam.serviceAccounts.actAs" in message
    assert the_role(scene) == {}


def test_granted_role_gains_only_permissions_that_its_grants_may_have(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.patch(
        f"ManagedProject/{scene.name}",
        'spec: {guardrails: {customRoles: {permissions: ["run.*"], allowEscalation: true}}}',
    )
    scene.apply(RUNNER)
    scene.apply(CLIENTS)
    scene.ready(f"ManagedProject/{scene.name}", "IAMBinding/clients")

    scene.patch("CustomRole/runner", "spec: {permissions: [run.jobs.run, run.jobs.runWithOverrides]}")

    message = scene.fails("CustomRole/runner", "DeniedByGuardrail")
    assert f"IAMBinding {scene.name}/clients grants the role already" in message
    assert "run.jobs.runWithOverrides" not in the_role(scene)["includedPermissions"]
    scene.ready("IAMBinding/clients")


def test_unsupported_permissions_are_listed_and_left_out(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    scene.apply(RUNNER.replace("run.jobs.run]", "run.nonsense.get]"))
    scene.ready("CustomRole/runner")

    assert scene.status("CustomRole/runner")["unsupportedPermissions"] == ["run.nonsense.get"]
    assert the_role(scene)["includedPermissions"] == ["run.jobs.create"]
    eventually(lambda: scene.status("CustomRole/runner")["issues"], bool)


WORKER = """
kind: CloudRunIdentity
metadata: {name: worker}
spec: {roles: [{customRoleRef: {name: runner}}], abandonInUseAfter: 1s}
"""


def test_role_of_an_account_in_use_is_left_and_taken_back(scene_with_roles: Scene) -> None:
    scene = scene_with_roles
    role, objects = role_name(scene), ("CloudRunIdentity/worker", "CustomRole/runner")
    service = scene.cloud.deploy("services", scene.name, "web")
    scene.apply(RUNNER)
    scene.apply(WORKER)
    scene.ready(*objects)
    scene.patch(f"ManagedProject/{scene.name}", "spec: {locations: [europe-west1]}")
    scene.cloud.deploy_as(service, scene.email("worker"))

    scene.delete_and_wait(*objects)
    assert scene.policy() == {role: [scene.member("worker")]}
    assert not (scene.cloud.role(role) or {}).get("deleted")
    assert "left it granted" in scene.wait_for_event("CustomRole/runner", "Abandoned")

    scene.apply(RUNNER)
    scene.apply(WORKER)
    scene.ready(*objects)
    scene.cloud.deploy_as(service, "")
    scene.delete_and_wait(*objects)
    assert (scene.cloud.role(role) or {}).get("deleted")
    assert scene.cloud.accounts(scene.name) == {}
