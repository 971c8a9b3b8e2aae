"""Test that everything about a new account waits while Google Cloud does not know it everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.scene import Scene

PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails:
    keys: Allowed
    grants:
    - {roles: [roles/logging.logWriter], targetKinds: [Project], members: [identities]}
    - roles: [roles/iam.serviceAccountUser]
      targetKinds: [ServiceAccount]
      members: ["user:ann@example.com"]
"""
OBJECTS = f"""
kind: CloudRunIdentity
metadata: {{name: checkout}}
spec:
  roles: [{{role: roles/logging.logWriter}}]
  users: [{{principal: "user:ann@example.com"}}]
---
kind: IdentityAttachment
metadata: {{name: shop}}
spec:
  workload: {{kind: Service, location: {LOCATION}, name: shop}}
  identityRef: {{name: checkout}}
---
kind: IdentityKey
metadata: {{name: checkout}}
spec:
  identityRef: {{name: checkout}}
  secretName: checkout-key
"""


@pytest.fixture
def lagging(closed_scene: Scene) -> Iterator[Scene]:
    """Provide a scene in which new accounts and grants propagate slowly."""
    scene = closed_scene
    scene.cloud.set_switches(lag="5s")
    yield scene
    scene.cloud.set_switches(lag="0s")


def test_identity_grant_attachment_and_key_wait_for_propagation(lagging: Scene) -> None:
    scene = lagging
    scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(PROJECT)
    scene.apply(OBJECTS)
    scene.fails("CloudRunIdentity/checkout", "PropagationPending")
    scene.ready("CloudRunIdentity/checkout", "IdentityAttachment/shop", "IdentityKey/checkout")

    assert scene.policy()["roles/logging.logWriter"] == [scene.member("checkout")]
    calls = scene.cloud.log(f"{scene.name}/")
    for method in ("UpdateService", "CreateServiceAccountKey", "SetIamPolicy"):
        codes = {each["code"] for each in calls if each["rpc"].endswith(f"/{method}")}
        assert codes == {"OK"}, method
