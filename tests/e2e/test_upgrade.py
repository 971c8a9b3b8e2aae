"""Upgrade from version 540ba96: its objects under its CRDs, then the new CRDs, then the new operator."""

from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from cloudrun_identity.api.crd import generate
from tests.e2e.cluster import GROUP, VERSION, Object
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage, set_stage, with_operator

DATA = Path(__file__).parents[1] / "data" / "upgrade"
PROJECT = "e2e-upgrade"
OPS, AUDITOR = "group:ops@example.com", "user:auditor@example.com"
USER = "roles/iam.serviceAccountUser"
ENTRY = "spec.guardrails.grants[0]"
TARGET_KINDS = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - {roles: [roles/viewer], targetKinds: [Project], members: ["*"], allowEscalation: true}
"""


@pytest.fixture
def earlier_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    """Servers with the CRDs of the earlier version, and no operator."""
    definitions = [yaml.safe_load(path.read_text()) for path in sorted((DATA / "crds").iterdir())]
    seed = with_operator({"projects": [{"projectID": PROJECT}]})
    with set_stage(kube_api_name, tmp_path, seed, definitions=definitions) as stage:
        yield stage


@pytest.fixture
def upgraded(earlier_stage: Stage) -> Scene:
    """The objects of the earlier version after the upgrade of the CRDs, before the operator starts."""
    scene = Scene(earlier_stage, PROJECT)
    _store_objects(scene)
    return _upgraded(scene)


@pytest.fixture
def shared(earlier_stage: Stage) -> Scene:
    """The same objects, in a project that a second namespace shares."""
    scene = Scene(earlier_stage, PROJECT)
    _store_objects(scene)
    other = scene.add_namespace(f"{PROJECT}-other")
    scene.patch(f"ManagedProject/{PROJECT}", f"spec: {{namespaces: {{names: [{PROJECT}, {other}]}}}}")
    return _upgraded(scene)


def _upgraded(scene: Scene) -> Scene:
    for definition in generate().values():
        scene.cluster.replace_definition(definition)
    eventually(lambda: _entry(scene), lambda entry: "on" not in entry)
    return scene


def test_entry_without_target_kinds_retains_grants_and_is_named(upgraded: Scene) -> None:
    scene = upgraded
    before = scene.cloud.policies()
    scene.stage.start_operator().wait_until_leading()

    assert ENTRY in scene.fails(f"ManagedProject/{PROJECT}", "InvalidSpec")
    message = scene.fails("IAMBinding/viewers", "InvalidSpec", saying=ENTRY)
    assert "has no targetKinds and admits nothing; add targetKinds: [Project] to it" in message
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.policies() == before

    scene.apply(TARGET_KINDS)
    scene.ready(f"ManagedProject/{PROJECT}", "IAMBinding/viewers")
    assert scene.cloud.policies() == before


def test_ledger_of_the_earlier_version_keeps_its_owners(upgraded: Scene) -> None:
    scene = upgraded
    scene.apply(TARGET_KINDS)
    scene.stage.start_operator().wait_until_leading()
    scene.ready("IAMBinding/viewers", "CloudRunIdentity/checkout")

    scene.patch("IAMBinding/viewers", f"spec: {{members: [{{principal: '{AUDITOR}'}}]}}")
    eventually(scene.policy, lambda policy: policy["roles/viewer"] == [AUDITOR])
    (member,) = eventually(lambda: _recorded_members(scene), lambda members: len(members) == 1)
    assert member["presentBefore"] is True
    assert [owner.rpartition("/")[0] for owner in member["owners"]] == [f"IAMBinding/{PROJECT}/viewers"]
    assert not {"claimants", "foreignBefore"} & member.keys()

    scene.delete_and_wait("IAMBinding/viewers", "CloudRunIdentity/checkout")
    assert scene.policy()["roles/viewer"] == [AUDITOR]
    assert list(scene.cloud.accounts(PROJECT)) == ["legacy"]


ADOPTING = """
kind: CloudRunIdentity
metadata: {name: legacy}
spec: {adoption: Adopt}
"""
NAMESPACED = """
spec:
  guardrails:
    accounts: [{email: "legacy@*", namespaces: [e2e-upgrade]}]
    adoptableAccounts: [{email: "legacy@*", namespaces: [e2e-upgrade]}]
    grants:
    - roles: [roles/viewer]
      targetKinds: [Project]
      members: ["*"]
      namespaces: [e2e-upgrade]
      allowEscalation: true
"""


def test_listed_accounts_stay_admitted_in_a_project_of_one_namespace(upgraded: Scene) -> None:
    scene = upgraded
    scene.apply(TARGET_KINDS)
    scene.stage.start_operator().wait_until_leading()
    scene.ready(f"ManagedProject/{PROJECT}")
    scene.apply(ADOPTING)
    scene.ready("CloudRunIdentity/legacy")
    assert scene.status("CloudRunIdentity/legacy")["origin"] == "Adopted"


def test_listed_accounts_admit_nothing_in_a_shared_project_and_are_named(shared: Scene) -> None:
    scene = shared
    before = scene.cloud.policies()
    scene.stage.start_operator().wait_until_leading()

    message = scene.fails(f"ManagedProject/{PROJECT}", "InvalidSpec", saying="adoptableAccounts[0]")
    for entry in ("grants[0] has no targetKinds", "grants[0] has no namespaces", "accounts[0]"):
        assert f"spec.guardrails.{entry}" in message
    scene.apply(ADOPTING)
    scene.fails("CloudRunIdentity/legacy", "InvalidSpec", saying="spec.guardrails.adoptableAccounts[0] of")
    scene.fails("IAMBinding/viewers", "InvalidSpec", saying="has no targetKinds and no namespaces")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.policies() == before

    scene.patch(f"ManagedProject/{PROJECT}", NAMESPACED)
    scene.ready(f"ManagedProject/{PROJECT}", "IAMBinding/viewers", "CloudRunIdentity/legacy")


def test_server_side_apply_works_after_the_new_form_was_written(shared: Scene) -> None:
    """The API server refuses a server-side apply over a value of another type, but no other write."""
    shared.patch(f"ManagedProject/{PROJECT}", NAMESPACED)
    manifest = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ManagedProject", "metadata": {"name": PROJECT}}
    applied = shared.cluster.server_side_apply({**manifest, **yaml.safe_load(NAMESPACED)})
    assert applied["spec"]["guardrails"]["accounts"] == [{"email": "legacy@*", "namespaces": [PROJECT]}]


def _recorded_members(scene: Scene) -> list[Object]:
    """Return the members in the ledger of the project. A removed member stays until the ledger is settled."""
    (binding,) = scene.ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")["bindings"]
    return list(binding["members"])


def _store_objects(scene: Scene) -> None:
    """Store the objects and their state in Google Cloud as the earlier version left them."""
    cluster, cloud = scene.cluster, scene.cloud
    scene.stage.ensure_namespace(OPERATOR_NAMESPACE)
    cloud.create_account(PROJECT, "checkout")
    cloud.create_account(PROJECT, "legacy")
    cloud.add(scene.project, "roles/viewer", OPS)
    cloud.add(scene.project, "roles/viewer", AUDITOR)
    cloud.add(scene.account("checkout"), USER, OPS)
    known = {
        "unique_id": cloud.accounts(PROJECT)["checkout"]["uniqueId"],
        "project_number": cloud.project_number(PROJECT),
    }
    for text in (DATA / "objects.yaml").read_text().split("\n---\n"):
        obj: Object = yaml.safe_load(Template(text).substitute(known))
        stored = cluster.create(obj)
        if "status" in obj:
            metadata = obj["metadata"]
            cluster.forge_status(obj["kind"], metadata["name"], metadata.get("namespace", ""), obj["status"])
        uid_of = {"CloudRunIdentity": "identity_uid", "IAMBinding": "binding_uid"}
        if obj["kind"] in uid_of:
            known[uid_of[obj["kind"]]] = stored["metadata"]["uid"]
    scene.register_projects([PROJECT])


def _entry(scene: Scene) -> dict[str, Any]:
    project = scene.get(f"ManagedProject/{PROJECT}")
    assert project is not None
    (entry,) = project["spec"]["guardrails"]["grants"]
    return dict(entry)
