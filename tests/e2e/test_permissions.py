"""Test that the operator uses its own account, and reports missing permissions."""

from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, ROLE

CLOSED = OPEN_PROJECT.replace("spec:", "spec:\n  projectID: acme-closed")


def test_denied_call_is_reported_and_retried_once_permitted(closed_scene: Scene) -> None:
    project = f"ManagedProject/{closed_scene.name}"
    closed_scene.apply(CLOSED)
    assert "resourcemanager.projects.get" in closed_scene.fails(project, "PermissionDenied")

    closed_scene.cloud.add("projects/acme-closed", ROLE, f"serviceAccount:{OPERATOR}")
    closed_scene.ready(project)


def test_calls_are_made_with_the_operator_account(scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")
    callers = {
        call["caller"]
        for call in scene.cloud.log(f"{scene.name}@")
        if call["rpc"].endswith("/TestIamPermissions")
    }
    assert callers == {OPERATOR}
