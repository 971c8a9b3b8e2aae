"""Test that the operator uses its own account, and reports missing permissions."""

import shlex
from string import Template

import yaml
from click.testing import CliRunner

from cloudrun_identity.api import API_VERSION
from cloudrun_identity.cli import cli
from tests.e2e.cloud import Cloud
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR

NARROW = """
kind: ManagedProject
metadata: {name: $scene}
spec: {projectID: acme-narrow, driftInterval: 1s, locations: [europe-west1], namespaces: {names: [$scene]}}
"""
CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {users: [{principal: "group:ops@example.com"}]}
"""
CLOSED = OPEN_PROJECT.replace("spec:", "spec:\n  projectID: acme-closed")


def test_denied_call_is_reported_and_retried_once_permitted(closed_scene: Scene) -> None:
    project = f"ManagedProject/{closed_scene.name}"
    closed_scene.apply(CLOSED)
    assert "resourcemanager.projects.get" in closed_scene.fails(project, "PermissionDenied")

    closed_scene.cloud.add("projects/acme-closed", "roles/owner", f"serviceAccount:{OPERATOR}")
    closed_scene.ready(project)


def test_calls_are_made_with_the_operator_account(scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")
    callers = {
        call["caller"]
        for call in scene.cloud.log(f"{scene.name}@")
        if call["rpc"].endswith("/TestIamPermissions")
    }
    assert callers == {OPERATOR}


def granting(scene: Scene, *options: str) -> list[str]:
    """Return the commands that `cloudrun-identity permissions` prints for the scene."""
    objects = []
    for text in (NARROW, CHECKOUT):
        obj = yaml.safe_load(Template(text).substitute(scene=scene.name))
        if obj["kind"] != "ManagedProject":
            obj["metadata"]["namespace"] = scene.name
            obj["spec"]["projectRef"] = {"name": scene.name}
        objects.append({"apiVersion": API_VERSION, **obj})
    arguments = ["permissions", "-f", "-", "--operator", f"serviceAccount:{OPERATOR}", *options]
    result = CliRunner().invoke(cli, arguments, input=yaml.safe_dump_all(objects))
    assert result.exit_code == 0, result.output
    return [line for line in result.output.splitlines() if line.startswith("gcloud ")]


def carry_out(command: str, cloud: Cloud) -> None:
    """Do in the emulator what a gcloud command does in Google Cloud."""
    _, *verbs = (word for word in shlex.split(command) if not word.startswith("--"))
    options = dict(word[2:].split("=", 1) for word in shlex.split(command) if word.startswith("--"))
    match verbs:
        case ["iam", "roles", "create", role_id]:
            cloud.create_role(options["project"], role_id, options["permissions"].split(","))
        case ["projects", "add-iam-policy-binding", project]:
            cloud.add(f"projects/{project}", options["role"], options["member"])
        case ["iam", "service-accounts", "add-iam-policy-binding", email]:
            account = f"projects/acme-narrow/serviceAccounts/{email}"
            cloud.add(account, options["role"], options["member"])
        case _:
            raise ValueError(command)


def test_operator_with_rights_on_own_accounts_only_cannot_touch_others(closed_scene: Scene) -> None:
    scene, project = closed_scene, f"ManagedProject/{closed_scene.name}"
    legacy = "legacy@acme-narrow.iam.gserviceaccount.com"
    scene.cloud.add("projects/acme-narrow", "roles/owner", f"serviceAccount:{legacy}")
    commands = granting(scene, "--own-accounts-only")
    on_accounts = [command for command in commands if " service-accounts " in command]
    for command in commands:
        if command not in on_accounts:
            carry_out(command, scene.cloud)

    scene.apply(NARROW)
    scene.ready(project)
    assert not [issue for issue in scene.status(project).get("issues", ()) if legacy in issue]
    scene.apply(CHECKOUT)
    scene.fails("CloudRunIdentity/checkout", "PermissionDenied", saying="iam.serviceAccounts.setIamPolicy")

    for command in on_accounts:
        carry_out(command, scene.cloud)
    scene.ready("CloudRunIdentity/checkout")


def test_owner_account_that_the_operator_may_act_as_is_an_issue(closed_scene: Scene) -> None:
    scene, project = closed_scene, f"ManagedProject/{closed_scene.name}"
    scene.cloud.create_account(scene.name, "legacy")
    scene.cloud.add(scene.project, "roles/owner", scene.member("legacy"))
    scene.apply(OPEN_PROJECT)
    scene.ready(project)
    [issue] = [each for each in scene.status(project)["issues"] if scene.email("legacy") in each]
    assert "(roles/owner)" in issue
