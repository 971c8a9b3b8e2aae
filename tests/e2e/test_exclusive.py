"""Test exclusive bindings: they remove unmanaged members within limits, and no managed ones."""

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

ROLE = "roles/cloudsql.client"
OPS = "group:ops@example.com"
EXCLUSIVE_PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails:
    maxRemovalsPerHour: 2
    grants:
    - {roles: [roles/cloudsql.client], targetKinds: [Project], members: ["*"], exclusive: true}
"""
CLIENTS = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "group:ops@example.com"}]
  authority: Exclusive
"""


@pytest.fixture
def exclusive_scene(closed_scene: Scene) -> Scene:
    """Provide a scene that admits exclusive bindings, with two removals per hour."""
    closed_scene.apply(EXCLUSIVE_PROJECT)
    closed_scene.ready(f"ManagedProject/{closed_scene.name}")
    return closed_scene


def grant_to(scene: Scene, *members: str) -> None:
    """Grant the role to unmanaged members."""
    for member in members:
        scene.cloud.add(scene.project, ROLE, member)


def holders(scene: Scene) -> set[str]:
    """Return the members that have the role."""
    return set(scene.policy().get(ROLE, ()))


def test_exclusive_binding_removes_unmanaged_members_repeatedly(exclusive_scene: Scene) -> None:
    scene = exclusive_scene
    agent = "serviceAccount:service-417203958816@serverless-robot-prod.iam.gserviceaccount.com"
    grant_to(scene, "user:ann@example.com", agent, f"projectOwner:{scene.name}")
    scene.cloud.add(scene.project, "roles/browser", "user:ann@example.com")
    condition = {"title": "nightly", "expression": "request.time.getHours() < 6"}
    scene.cloud.add(scene.project, ROLE, "user:ann@example.com", condition)
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")
    alone = {
        ROLE: [agent, f"projectOwner:{scene.name}", OPS],
        "roles/browser": ["user:ann@example.com"],
        f"{ROLE} if nightly": ["user:ann@example.com"],
    }
    assert scene.policy() == alone

    grant_to(scene, "user:eve@example.com")

    becomes(scene.policy, alone)
    assert "user:eve@example.com" in scene.wait_for_event("IAMBinding/clients", "DriftDetected")
    scene.ready("IAMBinding/clients")


def test_exclusive_binding_needs_a_guardrail(scene: Scene) -> None:
    grant_to(scene, "user:ann@example.com")
    scene.apply(CLIENTS)

    assert '"exclusive":true' in scene.fails("IAMBinding/clients", "DeniedByGuardrail")

    assert scene.is_stalled("IAMBinding/clients")
    assert holders(scene) == {"user:ann@example.com"}


def test_exclusive_binding_conflicts_with_another_managed_grant(exclusive_scene: Scene) -> None:
    scene = exclusive_scene
    scene.apply(CLIENTS.replace("name: clients", "name: rival").replace("ops@", "support@"))
    scene.patch("IAMBinding/rival", "spec: {authority: Additive}")
    scene.ready("IAMBinding/rival")
    grant_to(scene, "user:ann@example.com")

    scene.apply(CLIENTS)
    assert "group:support@example.com" in scene.fails("IAMBinding/clients", "Conflict")
    assert scene.is_stalled("IAMBinding/clients")
    scene.ready("IAMBinding/rival")
    assert {"group:support@example.com", "user:ann@example.com"} <= holders(scene)

    scene.delete_and_wait("IAMBinding/rival")
    scene.ready("IAMBinding/clients")
    assert holders(scene) == {OPS}


def test_removals_beyond_the_hourly_limit_wait_and_are_reported(exclusive_scene: Scene) -> None:
    scene = exclusive_scene
    others = {f"user:other-{number}@example.com" for number in range(3)}
    grant_to(scene, *sorted(others))
    scene.apply(CLIENTS)

    message = scene.fails("IAMBinding/clients", "DriftDetected")

    assert "maxRemovalsPerHour" in message
    (left,) = holders(scene) & others
    assert left in message

    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {maxRemovalsPerHour: 3}}")
    becomes(lambda: holders(scene), {OPS})
    scene.ready("IAMBinding/clients")


def test_refused_removals_do_not_use_up_the_hourly_limit(exclusive_scene: Scene) -> None:
    scene = exclusive_scene
    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {maxRemovalsPerHour: 1}}")
    grant_to(scene, OPS, "user:ann@example.com")
    before = scene.cloud.calls()
    scene.cloud.fail("*Projects/SetIamPolicy", "PERMISSION_DENIED", times=100)
    scene.apply(CLIENTS)
    scene.fails("IAMBinding/clients", "PermissionDenied")
    eventually(lambda: scene.cloud.calls() - before, lambda calls: calls["Projects/SetIamPolicy"] >= 3)

    scene.cloud.recover()

    becomes(lambda: holders(scene), {OPS})
    scene.ready("IAMBinding/clients")


def test_observed_exclusive_binding_reports_without_removing(exclusive_scene: Scene) -> None:
    scene = exclusive_scene
    grant_to(scene, OPS, "user:ann@example.com")
    before = scene.cloud.calls()
    scene.apply(CLIENTS + "  managementPolicy: Observe\n")

    assert "user:ann@example.com" in scene.fails("IAMBinding/clients", "DriftDetected")

    eventually(lambda: scene.cloud.calls() - before, lambda calls: calls["Projects/GetIamPolicy"] >= 2)
    assert (scene.cloud.calls() - before)["Projects/SetIamPolicy"] == 0
    assert holders(scene) == {OPS, "user:ann@example.com"}
    in_sync = scene.condition("IAMBinding/clients", "InSync")
    assert in_sync
    assert in_sync["status"] == "False"
    assert "user:ann@example.com" in in_sync["message"]
