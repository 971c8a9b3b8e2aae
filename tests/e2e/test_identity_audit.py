"""Test advisory conditions, attached workloads and the `tree` command."""

import json
import subprocess
import sys

import pytest

from tests.e2e.cluster import Object
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR, ORGANIZATION
from tests.e2e.test_identity_grants import OTHER
from tests.time_budget import HUNG_AFTER

CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
"""


def finding(scene: Scene, condition: str) -> tuple[str, str]:
    """Return status and reason of a condition of the identity `checkout`."""
    found = scene.condition("CloudRunIdentity/checkout", condition) or {"status": "", "reason": ""}
    return found["status"], found["reason"]


def attached_to(scene: Scene) -> list[Object]:
    found: list[Object] = scene.status("CloudRunIdentity/checkout").get("attachedTo", [])
    return found


def test_missing_cross_project_requirements_are_named_with_remedies(scene: Scene) -> None:
    scene.apply(OTHER)
    scene.apply(CHECKOUT + "spec: {usableFrom: [{projectRef: {name: $scene-b}}]}")
    scene.ready("CloudRunIdentity/checkout")
    eventually(lambda: finding(scene, "CrossProjectReady"), lambda found: found == ("False", "OrgPolicy"))
    condition = scene.condition("CloudRunIdentity/checkout", "CrossProjectReady")
    assert condition
    assert "iam.disableCrossProjectServiceAccountUsage is enforced" in condition["message"]
    assert f"ManagedProject {scene.name} with spec {{crossProjectUsage: Allow}}" in condition["message"]

    lifting = (ORGANIZATION, "roles/orgpolicy.policyAdmin", f"serviceAccount:{OPERATOR}")
    scene.cloud.add(*lifting)
    scene.patch(f"ManagedProject/{scene.name}", "spec: {crossProjectUsage: Allow}")
    eventually(lambda: finding(scene, "CrossProjectReady"), lambda found: found == ("True", "Allowed"))
    scene.cloud.remove(*lifting)

    scene.patch("CloudRunIdentity/checkout", "spec: {usableFrom: []}")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.condition("CloudRunIdentity/checkout", "CrossProjectReady") is None


def test_broad_roles_are_granted_with_a_recommendation(scene: Scene) -> None:
    scene.patch(
        f"ManagedProject/{scene.name}",
        """
spec:
  guardrails:
    grants: [{roles: [roles/viewer, "roles/iam.serviceAccountUser"], targetKinds: [Project],
              members: [identities], allowEscalation: true}]
""",
    )
    scene.apply(CHECKOUT + "spec: {roles: [{role: roles/iam.serviceAccountUser}, {role: roles/viewer}]}")
    scene.ready("CloudRunIdentity/checkout")
    eventually(lambda: finding(scene, "LeastPrivilege"), lambda found: found == ("False", "Advice"))
    advice = scene.status("CloudRunIdentity/checkout")["recommendations"]
    assert [each["kind"] for each in advice] == ["BasicRole", "ProjectWideIdentities", "SSH"]
    assert advice[0]["text"].startswith(f"spec.roles[1]: roles/viewer on Project {scene.name} ")
    assert scene.policy().keys() == {"roles/viewer", "roles/iam.serviceAccountUser"}

    scene.patch("CloudRunIdentity/checkout", "spec: {roles: []}")
    eventually(lambda: finding(scene, "LeastPrivilege"), lambda found: found == ("True", "NoAdvice"))
    assert "recommendations" not in scene.status("CloudRunIdentity/checkout")


def test_attached_workloads_are_listed_for_any_deployer(scene: Scene) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.deploy("services", scene.name, "shop")
    scene.cloud.deploy("jobs", scene.name, "settlement", scene.email("checkout"))
    scene.apply("""
kind: IdentityAttachment
metadata: {name: shop}
spec:
  workload: {kind: Service, location: europe-west1, name: shop}
  identityRef: {name: checkout}
""")
    scene.ready("IdentityAttachment/shop")

    becomes(
        lambda: attached_to(scene),
        [
            {"projectID": scene.name, "kind": kind, "location": "europe-west1", "name": name}
            for kind, name in (("Job", "settlement"), ("Service", "shop"))
        ],
    )

    other = scene.cloud.create_account(scene.name, "another")
    scene.cloud.deploy_as(f"{scene.project}/locations/europe-west1/jobs/settlement", other)
    becomes(lambda: [each["name"] for each in attached_to(scene)], ["shop"])


@pytest.mark.slow
def test_tree_shows_who_may_act_as_whom_and_attached_workloads(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  tokenCreators: [{identityRef: {name: runner}}]
  users: [{principal: "group:deployers@example.com"}]
---
kind: CloudRunIdentity
metadata: {name: runner}
spec: {roles: [{role: roles/cloudsql.client}]}
""")
    scene.ready("CloudRunIdentity/checkout", "CloudRunIdentity/runner")
    scene.cloud.deploy("jobs", scene.name, "settlement", scene.email("checkout"))
    eventually(lambda: attached_to(scene), lambda found: len(found) == 1)

    assert (
        run_tree(scene)
        == f"""\
{scene.name}
├── checkout  {scene.email("checkout")}
│   ├── runs
│   │   └── Job europe-west1/settlement
│   └── used by
│       ├── {scene.name}/runner  creates tokens for it
│       └── group:deployers@example.com  attaches it to workloads
└── runner  {scene.email("runner")}
    └── grants
        ├── roles/iam.serviceAccountTokenCreator on ServiceAccount {scene.email("checkout")}
        └── roles/cloudsql.client on Project {scene.name}
"""
    )
    counts = json.loads(run_command(scene, "status", "-o", "json"))["counts"]
    assert counts == {"NeedsAttention": 0, "Observed": 0, "Waiting": 0, "Suspended": 0, "Ready": 2}
    tree = json.loads(run_tree(scene, "-o", "json"))
    checkout, runner = tree["identities"]
    assert checkout["runs"] == ["Job europe-west1/settlement"]
    assert checkout["actedAsBy"][0]["identity"] == f"{scene.name}/runner"
    assert {each["state"] for each in runner["may"]} == {"Granted"}


@pytest.mark.slow
def test_managed_and_unmanaged_access_to_an_identity_are_distinguished(scene: Scene) -> None:
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  users: [{principal: "group:deployers@example.com"}]
""")
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.add(scene.project, "roles/iam.serviceAccountUser", "user:ann@example.com")

    command = [sys.executable, "-m", "cloudrun_identity", "who-can", "act-as", f"{scene.name}/checkout"]
    options = (
        *("--kubeconfig", str(scene.stage.kube_api.kubeconfig)),
        *("--google-endpoint", scene.stage.google.grpc_address, "-o", "json"),
    )
    output = subprocess.run(
        [*command, *options], check=True, capture_output=True, text=True, timeout=HUNG_AFTER
    ).stdout

    told = json.loads(output)
    owners = {
        answer["principal"]: [binding["managedBy"] for binding in answer["bindings"]]
        for answer in told["answers"]
        if answer["ability"] == "attach"
    }
    assert owners["group:deployers@example.com"] == [[f"CloudRunIdentity {scene.name}/checkout"]]
    assert owners["user:ann@example.com"] == [[]]
    assert told["notes"] == [f"the account of CloudRunIdentity {scene.name}/checkout"]


def run_tree(scene: Scene, *options: str) -> str:
    """Return the output of `cloudrun-identity tree` for the scene's namespace."""
    return run_command(scene, "tree", *options)


def run_command(scene: Scene, name: str, *options: str) -> str:
    """Return the output of a command that reads the scene's namespace."""
    command = [sys.executable, "-m", "cloudrun_identity", name, "-n", scene.name, *options]
    kubeconfig = f"--kubeconfig={scene.stage.kube_api.kubeconfig}"
    return subprocess.run(
        [*command, kubeconfig], check=True, capture_output=True, text=True, timeout=HUNG_AFTER
    ).stdout


def test_unmanaged_keys_are_listed_until_deleted_or_ignored(scene: Scene) -> None:
    scene.apply(CHECKOUT)
    scene.ready("CloudRunIdentity/checkout")
    eventually(lambda: finding(scene, "KeysAudited"), lambda found: found == ("True", "NoUnmanagedKeys"))

    key = scene.cloud.create_key(scene.account("checkout"))
    eventually(lambda: finding(scene, "KeysAudited"), lambda found: found == ("False", "UnmanagedKeys"))
    (listed,) = scene.status("CloudRunIdentity/checkout")["unmanagedKeys"]
    assert listed["id"] == key
    assert "createdTime" in listed
    scene.ready("CloudRunIdentity/checkout")

    scene.patch("CloudRunIdentity/checkout", "spec: {unmanagedKeys: Ignore}")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.condition("CloudRunIdentity/checkout", "KeysAudited") is None
    assert "unmanagedKeys" not in scene.status("CloudRunIdentity/checkout")
