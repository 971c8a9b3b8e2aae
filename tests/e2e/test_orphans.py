"""Test objects that were deleted without their finalizer: noticed, listed, and released on request."""

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
  members: [{principal: "group:ops@example.com"}]
"""
OTHERS = CLIENTS.replace("clients", "others").replace("ops@", "dev@")
RELEASE = "metadata: {annotations: {cloudrun-identity.dev/release-orphans: '%s'}}"


@pytest.fixture
def settled(scene: Scene) -> Scene:
    scene.apply(f"{CHECKOUT}---{CLIENTS}---{OTHERS}")
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients", "IAMBinding/others")
    return scene


def force_deletion(scene: Scene, name: str) -> None:
    """Delete a suspended object, whose deletion waits, and remove its finalizer by hand."""
    scene.patch(name, "spec: {suspend: true}")
    scene.fails(name, "Suspended")
    scene.delete(name)
    scene.patch(name, "metadata: {finalizers: null}")
    scene.wait_until_deleted(name)


def orphans(scene: Scene) -> set[str]:
    """Return the reasons of the orphans in the status of the project."""
    return {each["reason"] for each in scene.status(f"ManagedProject/{scene.name}").get("orphans", ())}


def test_grants_of_a_forced_deletion_are_listed_and_released_on_request(settled: Scene) -> None:
    scene = settled
    force_deletion(scene, "IAMBinding/clients")
    becomes(lambda: orphans(scene), {f"granted for IAMBinding {scene.name}/clients, which is deleted"})
    assert "group:ops@example.com" in scene.policy()["roles/cloudsql.client"]

    scene.patch(f"ManagedProject/{scene.name}", RELEASE % f"IAMBinding/{scene.name}/clients")

    becomes(lambda: scene.policy()["roles/cloudsql.client"], ["group:dev@example.com"])
    becomes(lambda: orphans(scene), set())
    ledger = str(scene.ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}"))
    assert f"IAMBinding/{scene.name}/clients" not in ledger
    assert f"IAMBinding/{scene.name}/others" in ledger
    scene.ready("IAMBinding/others", f"ManagedProject/{scene.name}")


def test_account_of_a_forced_deletion_is_forgotten_on_request(settled: Scene) -> None:
    scene = settled
    force_deletion(scene, "CloudRunIdentity/checkout")
    eventually(lambda: orphans(scene), lambda reasons: len(reasons) == 2)

    scene.patch(f"ManagedProject/{scene.name}", RELEASE % f"*/{scene.name}/checkout")

    becomes(lambda: orphans(scene), set())
    becomes(lambda: "roles/viewer" in scene.policy(), False)
    assert "checkout" in scene.cloud.accounts(scene.name)
    assert scene.ledger(f"//iam.googleapis.com/{scene.account('checkout')}") == {}


def test_recreated_object_takes_over_from_a_forced_deletion(settled: Scene) -> None:
    scene = settled
    force_deletion(scene, "IAMBinding/clients")
    eventually(lambda: orphans(scene), bool)

    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")

    becomes(lambda: orphans(scene), set())
    scene.delete_and_wait("IAMBinding/clients")
    assert scene.policy()["roles/cloudsql.client"] == ["group:dev@example.com"]
