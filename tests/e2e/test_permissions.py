"""The operator may do in Google Cloud what it was granted there, and says what it lacks."""

from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, ROLE

CLOSED = OPEN_PROJECT.replace("spec:", "spec:\n  projectID: acme-closed")


def test_what_it_may_not_do_is_told_and_done_once_it_may(closed_scene: Scene) -> None:
    project = f"ManagedProject/{closed_scene.name}"
    closed_scene.apply(CLOSED)
    assert "resourcemanager.projects.get" in closed_scene.fails(project, "PermissionDenied")

    closed_scene.cloud.add("projects/acme-closed", ROLE, f"serviceAccount:{OPERATOR}")
    closed_scene.ready(project)


def test_its_calls_are_made_as_its_own_account(scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")
    callers = {
        call["caller"]
        for call in scene.cloud.log(f"{scene.name}@")
        if call["rpc"].endswith("/TestIamPermissions")
    }
    assert callers == {OPERATOR}
