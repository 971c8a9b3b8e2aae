"""Attachments of an operator that may do only what the policies of Google Cloud let it."""

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.conftest import ALONE, AWAY, HOME
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR as OPERATOR_EMAIL
from tests.e2e.stage import Stage

SHOP = "IdentityAttachment/shop"
OPERATOR = f"serviceAccount:{OPERATOR_EMAIL}"
ADMINISTRATION = (
    "roles/run.admin",
    "roles/iam.serviceAccountAdmin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/iam.roleViewer",
)
"""All that the operator is granted in the projects of these tests: it may administer, but act as nobody."""

LENT = """
kind: ManagedProject
metadata: {name: %s}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
"""
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  projectRef: {name: %s}
  users: %s
"""
ATTACHMENT = f"""
kind: IdentityAttachment
metadata: {{name: shop}}
spec:
  workload: {{kind: Service, location: {LOCATION}, name: shop}}
  identityRef: {{name: checkout}}
"""


@pytest.fixture
def scene(stage: Stage, projects: tuple[str, ...]) -> Iterator[Scene]:
    """Projects that are lent to the first one's namespace."""
    scene = Scene(stage, projects[0])
    for project in projects:
        for role in ADMINISTRATION:
            scene.cloud.add(f"projects/{project}", role, OPERATOR)
        scene.apply(LENT % project)
    yield scene
    scene.end()


def checks(scene: Scene) -> dict[str, str]:
    return {line["check"]: line["state"] for line in scene.status(SHOP).get("preflight", ())}


@pytest.mark.parametrize("projects", [(ALONE,)], ids=["alone"])
def test_what_the_operator_lacks_is_told_beforehand_with_what_to_do(scene: Scene) -> None:
    scene.apply(IDENTITY % (ALONE, "[]"))
    scene.apply(ATTACHMENT)
    message = scene.fails(SHOP, "PermissionDenied")
    assert "iam.serviceaccounts.actAs" in message
    assert checks(scene)["Account"] == "Passed"
    assert checks(scene)["ActAs"] == "Failed"

    scene.patch("CloudRunIdentity/checkout", f"spec: {{users: [{{principal: '{OPERATOR}'}}]}}")
    scene.ready("CloudRunIdentity/checkout", SHOP)
    assert scene.cloud.runs_as(scene.service("shop")) == scene.email("checkout")

    scene.patch("CloudRunIdentity/checkout", "spec: {users: []}")
    scene.ready("CloudRunIdentity/checkout", SHOP)


@pytest.mark.parametrize("projects", [(HOME, AWAY)], ids=["two"])
def test_an_account_of_another_project_is_run_as_once_the_service_agent_may(scene: Scene) -> None:
    scene.apply(IDENTITY % (AWAY, f"[{{principal: '{OPERATOR}'}}]"))
    scene.apply(ATTACHMENT)
    scene.fails(SHOP, "PermissionDenied")
    found = eventually(lambda: checks(scene), lambda found: found.get("ActAs") == "Passed")
    assert found["ServiceAgent"] == "Failed"
    condition = scene.condition(SHOP, "CrossProjectReady")
    assert condition
    assert condition["status"] == "False"
    assert "usableFrom" in condition["message"]

    number = scene.cloud.project_number(HOME)
    agent = f"serviceAccount:service-{number}@serverless-robot-prod.iam.gserviceaccount.com"
    email = f"checkout@{AWAY}.iam.gserviceaccount.com"
    account = f"projects/{AWAY}/serviceAccounts/{email}"
    scene.cloud.add(account, "roles/iam.serviceAccountTokenCreator", agent)
    scene.ready(SHOP)
    assert scene.cloud.runs_as(scene.service("shop")) == email
