"""Test attachments by an operator with few permissions in Google Cloud."""

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
"""Permissions of the operator in these tests: it may administer, but not act as any account."""

DELEGATED = """
kind: ManagedProject
metadata: {name: %s}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails: {adoptableAccounts: [{email: checkout@%s.iam.gserviceaccount.com}]}
"""
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  projectRef: {name: %s}
  adoption: Adopt
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
    """Provide projects that are delegated to the namespace of the first one."""
    scene = Scene(stage, projects[0])
    for project in projects:
        for role in ADMINISTRATION:
            scene.cloud.add(f"projects/{project}", role, OPERATOR)
        scene.apply(DELEGATED % (project, project))
    yield scene
    scene.end()


def checks(scene: Scene) -> dict[str, str]:
    return {line["check"]: line["state"] for line in scene.status(SHOP).get("preflight", ())}


@pytest.mark.parametrize("projects", [(ALONE,)], ids=["alone"])
def test_preflight_reports_missing_permissions_with_their_remedies(scene: Scene) -> None:
    scene.cloud.create_account(ALONE, "checkout")  # a denial for a new account may be propagation
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
def test_cross_project_attachment_waits_for_the_service_agent(scene: Scene) -> None:
    scene.apply(IDENTITY % (AWAY, f"[{{principal: '{OPERATOR}'}}]"))
    scene.apply(ATTACHMENT)
    scene.fails(SHOP, "DependencyNotReady", saying="may not create tokens")
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
