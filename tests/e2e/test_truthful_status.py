"""Test that Ready does not stay True for an object that the operator can no longer judge or admit."""

from copy import deepcopy
from typing import Any

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/viewer}]}
"""
CLIENTS = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{principal: "group:ops@example.com"}, {identityRef: {name: checkout}}]
"""
NAMES = ("CloudRunIdentity/checkout", "IAMBinding/clients")


@pytest.fixture
def settled(scene: Scene) -> Scene:
    """Provide a scene with an identity and a binding that are Ready."""
    scene.apply(f"{CHECKOUT}---{CLIENTS}")
    scene.ready(*NAMES)
    return scene


def project_ledger(scene: Scene) -> dict[str, Any]:
    return scene.raw_ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")


def test_objects_of_an_edited_ledger_are_not_ready_until_it_is_repaired(settled: Scene) -> None:
    scene, ledger = settled, project_ledger(settled)
    valid = ledger["spec"]["bindings"]
    edited = deepcopy(valid)
    edited[0]["members"][0]["owners"] = ["nonsense"]
    scene.edit_ledger(ledger, {"bindings": edited})
    scene.cloud.remove(scene.project, "roles/cloudsql.client", "group:ops@example.com")

    for name in NAMES:
        message = scene.fails(name, "LedgerInvalid", saying=ledger["metadata"]["name"])
        assert "kubectl edit pledger" in message
    assert scene.policy()["roles/cloudsql.client"] == [scene.member("checkout")]

    scene.edit_ledger(ledger, {"bindings": valid})
    scene.ready(*NAMES)
    becomes(lambda: len(scene.policy()["roles/cloudsql.client"]), 2)


def test_objects_of_a_vanished_project_are_not_ready(settled: Scene) -> None:
    scene = settled
    scene.delete(f"ManagedProject/{scene.name}")
    scene.fails(f"ManagedProject/{scene.name}", "InUse")
    scene.patch(f"ManagedProject/{scene.name}", "metadata: {finalizers: null}")
    scene.wait_until_deleted(f"ManagedProject/{scene.name}")

    for name in NAMES:
        scene.fails(name, "DependencyNotFound", saying=f"ManagedProject {scene.name}")
    assert scene.policy()["roles/viewer"] == [scene.member("checkout")]


def test_objects_of_a_terminating_namespace_are_not_ready(settled: Scene) -> None:
    """The real server runs without the controller that deletes the objects, so that they stay."""
    settled.cluster.delete_namespace(settled.name)
    for name in NAMES:
        eventually(lambda name=name: message_or_deletion(settled, name), bool)


def message_or_deletion(scene: Scene, name: str) -> str:
    """Return why the object is not Ready, or that it is deleted; empty while it is Ready."""
    found = scene.get(name)
    if found is None:
        return "deleted"
    messages: list[str] = [
        each["message"]
        for each in found["status"]["conditions"]
        if (each["type"], each["status"], each["reason"]) == ("Ready", "False", "Deleting")
    ]
    return "".join(messages)


def test_edit_that_the_schema_forbids_is_reported(settled: Scene) -> None:
    settled.make_invalid("IAMBinding/clients", "authority")
    settled.fails("IAMBinding/clients", "InvalidSpec", saying="authority")
    assert settled.is_stalled("IAMBinding/clients")


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("IAMBinding/clients", "spec: {role: roles/owner}"),
        ("CloudRunIdentity/checkout", "spec: {roles: [{role: roles/owner}]}"),
    ],
)
def test_edit_that_the_guardrails_deny_is_reported(settled: Scene, name: str, edit: str) -> None:
    settled.patch(name, edit)
    settled.fails(name, "DeniedByGuardrail", saying="roles/owner")
    assert settled.is_stalled(name)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("IAMBinding/clients", "spec: {guardrails: {grants: []}}"),
        ("CloudRunIdentity/checkout", "spec: {guardrails: {naming: {requireDisplayName: true}}}"),
        ("IAMBinding/clients", "spec: {namespaces: {names: [elsewhere]}}"),
    ],
)
def test_tightened_guardrails_are_reported_by_ready_objects(settled: Scene, name: str, edit: str) -> None:
    settled.patch(f"ManagedProject/{settled.name}", edit)
    settled.fails(name, "DeniedByGuardrail")
    assert settled.is_stalled(name)
