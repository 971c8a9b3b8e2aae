"""Attachments of an operator that may do only what the policies of Google Cloud let it."""

from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
import yaml

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR as OPERATOR_EMAIL
from tests.e2e.stage import Stage, set_stage

SHOP = "IdentityAttachment/shop"
OPERATOR = f"serviceAccount:{OPERATOR_EMAIL}"
HOME, AWAY = "attach-home", "attach-away"
SEED = Template("""
strict: true
projects:
- projectID: acme-ops
  serviceAccounts: [{accountID: operator}]
- projectID: $home
  projectNumber: "417000000001"
  policy: &lent
  - role: roles/run.admin
    members: [$operator]
  - role: roles/iam.serviceAccountAdmin
    members: [$operator]
  - role: roles/resourcemanager.projectIamAdmin
    members: [$operator]
  - role: roles/iam.roleViewer
    members: [$operator]
  services: [{location: $location, name: shop}]
- projectID: $away
  projectNumber: "417000000002"
  policy: *lent
  orgPolicies: [{constraint: iam.disableCrossProjectServiceAccountUsage, enforce: false}]
""")
LENT = """
kind: ManagedProject
metadata: {name: %s}
spec:
  driftInterval: 1s
  locations: [europe-west1]
  namespaces: {names: [attach-home]}
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
def scene(kube_api_name: str, tmp_path: Path) -> Iterator[Scene]:
    """Two projects, in which the operator may administer, but act as nobody."""
    seed = SEED.substitute(operator=OPERATOR, home=HOME, away=AWAY, location=LOCATION)
    with set_stage(kube_api_name, tmp_path, yaml.safe_load(seed)) as stage:
        yield on(stage)


def on(stage: Stage) -> Scene:
    stage.ensure_operator()
    scene = Scene(stage, HOME)
    scene.apply(LENT % HOME)
    scene.apply(LENT % AWAY)
    return scene


def checks(scene: Scene) -> dict[str, str]:
    return {line["check"]: line["state"] for line in scene.status(SHOP).get("preflight", ())}


def test_what_the_operator_lacks_is_told_beforehand_with_what_to_do(scene: Scene) -> None:
    scene.apply(IDENTITY % (HOME, "[]"))
    scene.apply(ATTACHMENT)
    message = scene.fails(SHOP, "PermissionDenied")
    assert "iam.serviceaccounts.actAs" in message
    assert checks(scene)["Account"] == "Passed"
    assert checks(scene)["ActAs"] == "Failed"

    scene.patch("CloudRunIdentity/checkout", f"spec: {{users: [{{principal: '{OPERATOR}'}}]}}")
    scene.ready("CloudRunIdentity/checkout", SHOP)
    email = f"checkout@{HOME}.iam.gserviceaccount.com"
    assert scene.cloud.runs_as(scene.service("shop")) == email

    scene.patch("CloudRunIdentity/checkout", "spec: {users: []}")
    scene.ready("CloudRunIdentity/checkout", SHOP)


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

    agent = "serviceAccount:service-417000000001@serverless-robot-prod.iam.gserviceaccount.com"
    email = f"checkout@{AWAY}.iam.gserviceaccount.com"
    account = f"projects/{AWAY}/serviceAccounts/{email}"
    scene.cloud.add(account, "roles/iam.serviceAccountTokenCreator", agent)
    scene.ready(SHOP)
    assert scene.cloud.runs_as(scene.service("shop")) == email
