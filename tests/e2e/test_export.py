"""Test that an exported project is applied without a write, and that a plan matches the result."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from cloudrun_identity.api import TargetKind, kinds_where
from cloudrun_identity.iam.grants import Target
from tests.e2e.cloud import LOCATION
from tests.e2e.cluster import Object
from tests.e2e.commands import run_cli
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import FOLDER, ORGANIZATION
from tests.target_resources import DATA_KINDS, SUPPORTED_ROLES, target_of_each_kind
from tests.time_budget import HUNG_AFTER

BY_NAME = kinds_where(lambda kind: kind.is_admitted_by_name_only)
READING = ("Get", "List", "Query", "Test")

UNTIL_2040 = {"title": "until 2040", "expression": 'request.time < timestamp("2040-01-01T00:00:00Z")'}


def command(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that reads Google Cloud."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "cloudrun_identity",
            *arguments,
            f"--google-endpoint={scene.stage.google.grpc_address}",
        ],
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
        check=False,
    )


@pytest.fixture
def grown(closed_scene: Scene) -> Scene:
    """Provide a project with resources that others created over the years."""
    scene, cloud = closed_scene, closed_scene.cloud
    for account_id, name in (("checkout", "Checkout"), ("nightly", ""), ("deployer", "CI"), ("former", "")):
        cloud.create_account(scene.name, account_id, name)
    cloud.create_role(scene.name, "flowStarter", ["run.jobs.run", "run.jobs.get"])
    project, checkout = scene.project, scene.account("checkout")
    for resource, role, member, condition in (
        (project, "roles/owner", "user:dana@example.com", None),
        (project, "roles/viewer", "group:ops@example.com", None),
        (project, "roles/viewer", "user:Ann@Example.com", None),
        (project, "roles/cloudsql.client", scene.member("checkout"), None),
        (project, "roles/cloudsql.client", scene.member("former"), None),
        (project, "roles/run.admin", scene.member("deployer"), None),
        (project, "roles/logging.logWriter", scene.member("nightly"), UNTIL_2040),
        (project, f"{project}/roles/flowStarter", scene.member("deployer"), None),
        (
            project,
            "roles/cloudsql.client",
            "serviceAccount:agent@gcp-sa-cloudbuild.iam.gserviceaccount.com",
            None,
        ),
        (checkout, "roles/iam.serviceAccountUser", "group:deployers@example.com", None),
        (checkout, "roles/iam.serviceAccountUser", scene.member("deployer"), None),
        (checkout, "roles/iam.serviceAccountTokenCreator", "user:ann@example.com", UNTIL_2040),
        (checkout, "roles/iam.workloadIdentityUser", "serviceAccount:gke-1.svc.id.goog[shop/web]", None),
    ):
        cloud.add(resource, role, member, condition)
    service = cloud.deploy("services", scene.name, "checkout", scene.email("checkout"))
    cloud.deploy("jobs", scene.name, "nightly", scene.email("nightly"))
    cloud.deploy("workerPools", scene.name, "queue", scene.email("checkout"))
    cloud.deploy("services", scene.name, "legacy")
    cloud.add(service, "roles/run.invoker", "allUsers")
    cloud.add(service, "roles/run.invoker", scene.member("nightly"))
    cloud.edit_account(scene.email("nightly"), "disable")
    cloud.edit_account(scene.email("former"), "delete")
    return scene


def applied(scene: Scene, directory: Path) -> list[Object]:
    """Apply the files of a directory in order."""
    objects = [
        obj for file in sorted(directory.glob("*.yaml")) for obj in yaml.safe_load_all(file.read_text())
    ]
    for obj in objects:
        scene.cluster.apply(obj)
    scene.register_projects(obj["metadata"]["name"] for obj in objects if obj["kind"] == "ManagedProject")
    return objects


def unready(scene: Scene, objects: Sequence[Object]) -> dict[str, Any]:
    """Return the messages of the objects that are not Ready."""
    return {
        name: ready
        for obj in objects
        for name in [f"{obj['kind']}/{obj['metadata']['name']}"]
        for ready in [scene.condition(name, "Ready") or {"status": "Unknown"}]
        if ready["status"] != "True"
    }


@pytest.mark.slow
def test_applying_an_exported_project_writes_nothing_to_google(grown: Scene, tmp_path: Path) -> None:
    scene = grown
    resources = [
        scene.project,
        *(scene.account(account_id) for account_id in scene.cloud.accounts(scene.name)),
        scene.service("checkout"),
    ]
    policies = [scene.cloud.raw_policy(resource) for resource in resources]

    exported = command(scene, "export", f"--project={scene.name}", "--output", str(tmp_path))
    assert exported.returncode == 0, exported.stderr
    before = scene.cloud.calls()
    planned = command(scene, "plan", "--filename", str(tmp_path))
    assert (planned.stdout.splitlines()[1:], planned.returncode) == (["Nothing would change."], 0), (
        planned.stderr
    )
    objects = applied(scene, tmp_path)
    eventually(lambda: unready(scene, objects), lambda left: not left)

    calls = scene.cloud.calls() - before
    assert not [rpc for rpc in calls if not rpc.rpartition("/")[2].startswith(READING)]
    assert [scene.cloud.raw_policy(resource) for resource in resources] == policies
    names = sorted(f"{obj['kind']}/{obj['metadata']['name']}" for obj in objects)
    assert names == [
        "CloudRunIdentity/checkout",
        "CloudRunIdentity/deployer",
        "CloudRunIdentity/nightly",
        "CustomRole/flow-starter",
        "IAMBinding/account-checkout-iam-service-account-token-creator-until-2040",
        "IAMBinding/project-viewer",
        "IAMBinding/service-europe-west1-checkout-run-invoker",
        "IdentityAttachment/job-europe-west1-nightly",
        "IdentityAttachment/service-europe-west1-checkout",
        "IdentityAttachment/worker-pool-europe-west1-queue",
        f"ManagedProject/{scene.name}",
    ]
    lines = exported.stderr.splitlines()
    left_out = [line.removeprefix("left out: ") for line in lines if line.startswith("left out: ")]
    for what in (
        "roles/owner for user:dana@example.com",
        "roles/cloudsql.client for deleted:",
        "roles/cloudsql.client for serviceAccount:agent@gcp-sa-cloudbuild.",
        "Service europe-west1/legacy: runs as the default account",
    ):
        assert [line for line in left_out if line.startswith(what)], exported.stderr
    assert len(left_out) == 4, exported.stderr
    assert scene.ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")["bindings"]
    assert scene.status("CloudRunIdentity/nightly")["origin"] == "Adopted"


@pytest.mark.slow
def test_exported_grants_on_each_kind_of_target_are_unchanged(closed_scene: Scene, tmp_path: Path) -> None:
    scene, cloud = closed_scene, closed_scene.cloud
    targets = {
        **target_of_each_kind(scene.name, LOCATION),
        TargetKind.FOLDER: Target(TargetKind.FOLDER, scene.name, name=FOLDER.partition("/")[2]),
        TargetKind.ORGANIZATION: Target(
            TargetKind.ORGANIZATION, scene.name, name=ORGANIZATION.partition("/")[2]
        ),
    }
    cloud.create_account(scene.name, "checkout")
    for workloads in ("services", "jobs", "workerPools"):
        cloud.deploy(workloads, scene.name, "web", scene.email("checkout"))
    for kind in DATA_KINDS:
        cloud.create_resource(targets[kind].full_name, scene.name)
    for kind, target in targets.items():
        cloud.add(target.full_name, role_on(kind), "group:ops@example.com")
    policies = cloud.policies()

    named = [f"--target={text_of(targets[kind])}" for kind in targets if kind in BY_NAME]
    exported = command(
        scene,
        *("export", f"--project={scene.name}", f"--location={LOCATION}", "--output", str(tmp_path)),
        *named,
    )
    assert exported.returncode == 0, exported.stderr
    planned = command(scene, "plan", "--filename", str(tmp_path))
    assert planned.stdout.splitlines()[1:] == ["Nothing would change."], planned.stderr
    before = cloud.calls()
    objects = applied(scene, tmp_path)
    eventually(lambda: unready(scene, objects), lambda left: not left)

    assert not [rpc for rpc in cloud.calls() - before if not rpc.rpartition("/")[2].startswith(READING)]
    assert cloud.policies() == policies
    bound = {obj["spec"]["target"].get("kind", "Resource") for obj in objects if obj["kind"] == "IAMBinding"}
    assert bound == set(TargetKind)
    for kind in (TargetKind.FOLDER, TargetKind.ORGANIZATION):
        cloud.remove(targets[kind].full_name, role_on(kind), "group:ops@example.com")


def role_on(kind: TargetKind) -> str:
    """Return a role that an IAMBinding declares on a target of the kind."""
    own = {**SUPPORTED_ROLES, TargetKind.SERVICE_ACCOUNT: "roles/iam.serviceAccountViewer"}
    return own.get(kind, "roles/run.viewer")


def text_of(target: Target) -> str:
    """Return a target as `export --target` takes it."""
    return target.full_name if target.service else str(target).replace(" ", "/", 1)


CONNECTOR = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {cnrm.cloud.google.com/project-id: $scene}}
---
apiVersion: iam.cnrm.cloud.google.com/v1beta1
kind: IAMServiceAccount
metadata: {name: checkout, namespace: shop}
spec: {displayName: Checkout}
---
apiVersion: iam.cnrm.cloud.google.com/v1beta1
kind: IAMPolicyMember
metadata: {name: checkout-sql, namespace: shop}
spec:
  role: roles/cloudsql.client
  memberFrom: {serviceAccountRef: {name: checkout}}
  resourceRef: {kind: Project}
---
apiVersion: iam.cnrm.cloud.google.com/v1beta1
kind: IAMPartialPolicy
metadata: {name: checkout-users, namespace: shop}
spec:
  resourceRef: {kind: IAMServiceAccount, name: checkout}
  bindings: [{role: roles/iam.serviceAccountUser, members: [{member: "group:deployers@example.com"}]}]
---
apiVersion: run.cnrm.cloud.google.com/v1beta1
kind: RunService
metadata: {name: checkout, namespace: shop}
spec: {location: europe-west1, template: {serviceAccountRef: {name: checkout}}}
"""


@pytest.mark.slow
def test_applying_converted_manifests_writes_nothing_to_google(grown: Scene, tmp_path: Path) -> None:
    """Config Connector made part of the project. The rest stays unmanaged."""
    scene, manifests = grown, tmp_path / "connector.yaml"
    manifests.write_text(Template(CONNECTOR).substitute(scene=scene.name))
    policies = [scene.cloud.raw_policy(resource) for resource in (scene.project, scene.account("checkout"))]

    directory = tmp_path / "converted"
    run_cli("convert", "-f", str(manifests), "-o", str(directory), "--namespace", scene.name)
    planned = command(scene, "plan", "--filename", str(directory))
    assert (planned.stdout.splitlines()[1:], planned.returncode) == (["Nothing would change."], 0), (
        planned.stderr
    )
    before = scene.cloud.calls()
    objects = applied(scene, directory)
    eventually(lambda: unready(scene, objects), lambda left: not left)

    calls = scene.cloud.calls() - before
    assert not [rpc for rpc in calls if not rpc.rpartition("/")[2].startswith(READING)]
    assert scene.status("CloudRunIdentity/checkout")["origin"] == "Adopted"
    assert policies == [
        scene.cloud.raw_policy(resource) for resource in (scene.project, scene.account("checkout"))
    ]
    assert "cnrm.cloud.google.com/deletion-policy=abandon" in (directory / "handover.md").read_text()


CHANGED = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    adoptableAccounts: [{email: checkout@$scene.iam.gserviceaccount.com}]
    grants:
    - roles: [roles/run.viewer, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
      exclusive: true
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {projectRef: {name: $scene}, adoption: Adopt, disabled: true, roles: [{role: roles/logging.logWriter}]}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: CloudRunIdentity
metadata: {name: orders}
spec: {projectRef: {name: $scene}, users: [{identityRef: {name: checkout}}]}
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IAMBinding
metadata: {name: viewers}
spec:
  projectRef: {name: $scene}
  target: {kind: Project}
  role: roles/run.viewer
  authority: Exclusive
  members: [{principal: "group:ops@example.com"}]
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IdentityAttachment
metadata: {name: legacy}
spec:
  projectRef: {name: $scene}
  workload: {kind: Service, location: europe-west1, name: legacy}
  identityRef: {name: orders}
"""


@pytest.mark.slow
def test_plan_matches_what_applying_does(grown: Scene, tmp_path: Path) -> None:
    scene = grown
    (tmp_path / "all.yaml").write_text(Template(CHANGED).substitute(scene=scene.name))
    legacy = scene.service("legacy")
    scene.cloud.add(scene.project, "roles/run.viewer", "user:ann@example.com")
    before, before_move, numbers = scene.policy(), scene.cloud.runs_as(legacy), scene.cloud.calls()

    planned = command(scene, "plan", "--filename", str(tmp_path), "--namespace", scene.name)

    assert planned.returncode == 2, planned.stdout + planned.stderr
    assert not [
        rpc for rpc in scene.cloud.calls() - numbers if not rpc.rpartition("/")[2].startswith(READING)
    ]
    note, *lines = planned.stdout.splitlines()
    assert note.startswith("Note: Planned without a cluster: ")
    assert [line.split("  (")[0] for line in lines] == [
        f"ServiceAccount {scene.email('checkout')}",
        "  ~ disabled: false → true",
        f"ServiceAccount {scene.email('orders')}",
        "  + account: absent → created",
        f"Service europe-west1/legacy of project {scene.name}",
        f"  ~ service account: {before_move} → {scene.email('orders')}",
        f"IAM policy of Project {scene.name}",
        f"  + roles/logging.logWriter for {scene.member('checkout')}",
        "  + roles/run.viewer for group:ops@example.com",
        "  - roles/run.viewer for user:ann@example.com",
        f"IAM policy of ServiceAccount {scene.email('orders')}",
        f"  + roles/iam.serviceAccountUser for {scene.member('checkout')}",
        "Plan: 4 to add, 2 to change, 1 to remove.",
    ]
    scene.apply(CHANGED)
    scene.ready(
        "CloudRunIdentity/checkout",
        "CloudRunIdentity/orders",
        "IAMBinding/viewers",
        "IdentityAttachment/legacy",
    )
    after = {
        "roles/run.viewer": ["group:ops@example.com"],
        "roles/logging.logWriter": [scene.member("checkout")],
    }
    assert scene.policy() == before | after
    assert scene.cloud.policy(scene.account("orders")) == {
        "roles/iam.serviceAccountUser": [scene.member("checkout")]
    }
    assert scene.cloud.accounts(scene.name)["checkout"]["disabled"]
    assert scene.cloud.runs_as(legacy) == scene.email("orders")
