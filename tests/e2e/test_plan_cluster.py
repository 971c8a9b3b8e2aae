"""Test `plan` for a running cluster: it reads what is managed already, and agrees with the operator."""

import json
from pathlib import Path
from string import Template

from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene

IDENTITY = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  projectRef: {name: $scene}
  roles: [{role: roles/cloudsql.client}, {role: roles/logging.logWriter}]
  users: [{principal: "group:ops@example.com"}]
"""
BINDING = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IAMBinding
metadata: {name: viewers}
spec:
  projectRef: {name: $scene}
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
"""
SECOND_ROLE = ", {role: roles/logging.logWriter}"


def test_plan_for_a_cluster_shows_edits_and_removals_and_changes_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    scene.apply(f"{IDENTITY}---{BINDING}")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/viewers")
    before = everything(scene)

    def plan(manifests: str, *options: str) -> Result:
        file = tmp_path / "manifests.yaml"
        file.write_text(Template(manifests).substitute(scene=scene.name))
        stage = scene.stage
        return CliRunner().invoke(
            cli,
            [
                "plan",
                f"--filename={file}",
                f"--namespace={scene.name}",
                f"--kubeconfig={stage.kube_api.kubeconfig}",
                f"--google-endpoint={stage.google.grpc_address}",
                *options,
            ],
        )

    same = plan(f"{IDENTITY}---{BINDING}", "--prune")
    assert (same.stdout, same.exit_code) == ("Nothing would change.\n", 0), same.output

    added = plan(IDENTITY.replace("users: [", 'users: [{principal: "user:bob@example.com"}, '))
    assert (added.stdout.splitlines(), added.exit_code) == (
        [
            f"IAM policy of ServiceAccount {scene.email('checkout')}",
            "  + roles/iam.serviceAccountUser for user:bob@example.com  "
            f"(CloudRunIdentity {scene.name}/checkout)",
            "Plan: 1 to add, 0 to change, 0 to remove.",
        ],
        2,
    ), added.output

    fewer = IDENTITY.replace(SECOND_ROLE, "")
    removed = plan(fewer, "--output=json")
    assert removed.exit_code == 2, removed.output
    (resource,) = json.loads(removed.stdout)["resources"]
    (change,) = resource["changes"]
    assert (change["action"], change["grant"]["role"]) == ("remove", "roles/logging.logWriter")

    pruned = plan(f"{IDENTITY}---{BINDING.replace('viewers', 'others').replace('ops', 'dev')}", "--prune")
    assert pruned.stdout.splitlines()[-1] == "Plan: 1 to add, 0 to change, 1 to remove.", pruned.output

    assert everything(scene) == before
    scene.apply(fewer)
    eventually(
        lambda: scene.policy(),
        lambda policy: scene.member("checkout") not in policy.get("roles/logging.logWriter", []),
    )
    applied = plan(fewer)
    assert (applied.stdout, applied.exit_code) == ("Nothing would change.\n", 0), applied.output


def everything(scene: Scene) -> tuple[object, ...]:
    """Return what a plan must not change. The operator itself may still write the status."""
    objects = [
        each
        for kind in ("CloudRunIdentity", "IAMBinding")
        for each in scene.stage.cluster.all(kind, scene.name)
    ]
    return (
        [(each["spec"], each["metadata"].get("deletionTimestamp")) for each in objects],
        scene.policy(),
        scene.cloud.policy(scene.account("checkout")),
        scene.ledger_targets(),
    )
