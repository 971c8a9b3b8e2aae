"""Test moving and uninstalling as in docs/how-to/operations.md: Google Cloud does not change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudrun_identity.api import KINDS
from tests.e2e.cluster import Object
from tests.e2e.commands import run_cli
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, prepared, set_stage, with_operator
from tests.servers.kube_apis import started

MANIFESTS = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    grants: [{roles: [roles/viewer], targetKinds: [Project], members: [identities], allowEscalation: true}]
---
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  projectRef: {name: $scene}
  roles: [{role: roles/viewer}]
  users: [{principal: "group:ops@example.com"}]
---
kind: IAMBinding
metadata: {name: tokens}
spec:
  projectRef: {name: $scene}
  target: {kind: ServiceAccount, identityRef: {name: checkout}}
  role: roles/iam.serviceAccountTokenCreator
  members: [{principal: "group:ops@example.com"}]
"""
DECLARED = ("CloudRunIdentity/checkout", "IAMBinding/tokens")
BY_ANOTHER = ("roles/viewer", "user:auditor@example.com")
"""Grant that another client makes beside those of the operator."""
READING = ("Get", "List", "Query", "Test")


@pytest.fixture
def own_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    """Provide a stage for one test, because the test deletes the CRDs."""
    with set_stage(kube_api_name, tmp_path, with_operator({"projects": []})) as stage:
        stage.ensure_operator()
        yield stage


@pytest.fixture
def declared(own_stage: Stage) -> Scene:
    """Apply an identity with grants on the project and on its own account."""
    scene = Scene(own_stage, "e2e-operations")
    scene.apply(MANIFESTS)
    scene.ready(*DECLARED)
    return scene


def in_google(scene: Scene) -> tuple[object, ...]:
    """Return the accounts and policies."""
    cloud = scene.cloud
    return cloud.accounts(scene.name), cloud.policies()


def backup(scene: Scene) -> list[Object]:
    """Return all objects as a backup contains them, without fields of the API server."""
    project = scene.stage.cluster.get("ManagedProject", scene.name)
    assert project
    found = [
        project,
        *scene.stage.cluster.all("CloudRunIdentity", scene.name),
        *scene.stage.cluster.all("IAMBinding", scene.name),
    ]
    for obj in found:
        obj["metadata"] = {
            field: obj["metadata"][field] for field in ("name", "namespace") if field in obj["metadata"]
        }
        obj.pop("status", None)
    return found


def move_ledgers(here: Stage, there: Stage) -> None:
    """Export the ledgers of one cluster, and import them into another one."""
    exported = run_cli("ledgers", "export", "--kubeconfig", str(here.kube_api.kubeconfig))
    imported = run_cli(
        "ledgers", "import", "-f", "-", "--kubeconfig", str(there.kube_api.kubeconfig), stdin=exported
    )
    assert imported.count("created PolicyLedger cloudrun-identity/") == exported.count("kind: PolicyLedger")


@pytest.mark.slow
def test_moved_objects_and_ledgers_change_nothing_in_google(
    declared: Scene, kube_api_name: str, tmp_path: Path
) -> None:
    stage = declared.stage
    declared.cloud.add(declared.project, *BY_ANOTHER)
    before = in_google(declared)
    stage.operator.terminate()
    saved = backup(declared)
    directory = tmp_path / "second"
    with (
        started(kube_api_name, directory / "kube") as kube_api,
        prepared(kube_api, stage.google, directory) as there,
    ):
        moved = Scene(there, declared.name)
        move_ledgers(stage, there)
        for obj in saved:
            there.cluster.create(obj)
        calls = there.cloud.calls()

        there.ensure_operator()
        moved.ready(*DECLARED)

        written = there.cloud.calls() - calls
        assert not [rpc for rpc in written if not rpc.rpartition("/")[2].startswith(READING)]
        assert in_google(moved) == before
        moved.delete(*DECLARED)
        moved.wait_until_deleted(*DECLARED)
        assert moved.cloud.accounts(moved.name) == {}
        role, member = BY_ANOTHER
        assert moved.policy() == {role: [member]}


def test_recovered_ledgers_release_exactly_what_was_managed(declared: Scene) -> None:
    stage, cluster = declared.stage, declared.cluster
    declared.cloud.add(declared.project, *BY_ANOTHER)
    stage.operator.terminate()
    cluster.delete_all("PolicyLedger", OPERATOR_NAMESPACE)
    before = in_google(declared)

    proposed = stage.run_cli("recover")
    assert f"account, created  (CloudRunIdentity {declared.name}/checkout)" in proposed
    assert "roles/iam.serviceAccountUser for group:ops@example.com" in proposed
    assert "auditor" not in proposed
    assert cluster.all("PolicyLedger", OPERATOR_NAMESPACE) == []
    assert "Stored records in 2 ledgers" in stage.run_cli("recover", "--write")
    assert "No record is missing." in stage.run_cli("recover")

    stage.ensure_operator()
    declared.ready(*DECLARED)
    assert in_google(declared) == before
    declared.delete(*DECLARED)
    declared.wait_until_deleted(*DECLARED)
    role, member = BY_ANOTHER
    assert declared.cloud.accounts(declared.name) == {}
    assert declared.policy() == {role: [member]}


def test_crds_deleted_without_an_operator_are_finalized_by_the_next(
    declared: Scene,
) -> None:
    stage, before = declared.stage, in_google(declared)
    stage.operator.terminate()
    kinds = ("CloudRunIdentity", "IAMBinding")
    for kind in kinds:
        stage.cluster.uninstall(kind)

    stage.ensure_operator()

    eventually(lambda: [kind for kind in kinds if stage.cluster.has_kind(kind)], lambda left: not left)
    assert in_google(declared) == before


def test_crds_deleted_at_once_leave_google_unchanged(declared: Scene) -> None:
    """Without PolicyLedger no operator can run, and the other objects still have finalizers."""
    stage, before = declared.stage, in_google(declared)
    for kind in KINDS:
        stage.cluster.uninstall(kind)

    def left() -> list[str]:
        if not stage.is_operated:
            stage.start_operator()  # as the kubelet does
        return [kind for kind in KINDS if stage.cluster.has_kind(kind)]

    eventually(left, lambda kinds: not kinds)
    assert in_google(declared) == before
