"""Test that everything about a new account waits while Google Cloud does not know it everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import eventually
from tests.e2e.scene import Scene
from tests.time_budget import WITHIN

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
IDENTITY, ATTACHMENT, KEY = "CloudRunIdentity/checkout", "IdentityAttachment/shop", "IdentityKey/checkout"
LAG_OF_A_MINUTE = {"lag": "60s", "flappingReads": "none", "staleReads": "60s"}
WRITES = ("UpdateService", "CreateServiceAccountKey", "SetIamPolicy")


@pytest.fixture
def scene_with_lag(closed_scene: Scene, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Provide a scene in which new accounts and grants propagate slowly, for the time of the parameter."""
    with closed_scene.cloud.switched(**request.param):
        yield closed_scene


def apply_all(scene: Scene) -> None:
    scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(PROJECT)
    scene.apply(OBJECTS)


def failed_calls(scene: Scene) -> list[str]:
    """Return the calls for objects of the scene that failed, and are not reads of the account."""
    return [
        f"{call['rpc'].rpartition('/')[2]} {call['code']}"
        for call in scene.cloud.log(f"{scene.name}/")
        if call["code"] != "OK" and not call["rpc"].endswith("/GetServiceAccount")
    ]


def writes(scene: Scene) -> dict[str, int]:
    """Return how often each of the writes was called."""
    called = [call["rpc"].rpartition("/")[2] for call in scene.cloud.log(f"{scene.name}/")]
    return {method: called.count(method) for method in WRITES}


@pytest.mark.parametrize("scene_with_lag", [{"lag": "5s"}], indirect=True)
def test_nothing_is_written_for_an_account_whose_reads_flap(scene_with_lag: Scene) -> None:
    scene = scene_with_lag
    apply_all(scene)
    scene.fails(IDENTITY, "PropagationPending")
    scene.ready(IDENTITY, ATTACHMENT, KEY)

    assert scene.policy()["roles/logging.logWriter"] == [scene.member("checkout")]
    assert failed_calls(scene) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "scene_with_lag", [{"lag": "60s", "flappingReads": "none", "staleReads": "60s"}], indirect=True
)
def test_no_write_fails_during_a_lag_of_a_minute_that_reads_hide(scene_with_lag: Scene) -> None:
    """Reads show the account at once. Policies, keys and Cloud Run refuse it for a minute.

    Every second read of a policy shows it as before the last write.
    """
    scene = scene_with_lag
    apply_all(scene)

    message = scene.fails(IDENTITY, "PropagationPending")
    assert message == (
        f"Service account {scene.email('checkout')} exists; waiting until Google Cloud shows it "
        "consistently, which takes up to two minutes"
    )
    for name in (ATTACHMENT, KEY):
        assert scene.fails(name, "PropagationPending") == (
            f"spec.identityRef: the account of CloudRunIdentity {scene.name}/checkout was just created or "
            "undeleted; waiting until Google Cloud knows it everywhere"
        )
        assert not scene.is_stalled(name)
    assert writes(scene) == dict.fromkeys(WRITES, 0)

    eventually(lambda: scene.policy().get("roles/logging.logWriter"), bool, within=3 * WITHIN)
    scene.ready(IDENTITY, ATTACHMENT, KEY)
    assert scene.policy()["roles/logging.logWriter"] == [scene.member("checkout")]
    assert scene.cloud.runs_as(scene.service("shop")) == scene.email("checkout")
    assert failed_calls(scene) == []
    assert writes(scene) == {"UpdateService": 1, "CreateServiceAccountKey": 1, "SetIamPolicy": 2}
    states_what_is_not_known(scene)


def states_what_is_not_known(scene: Scene) -> None:
    """Check that Ready says since when access may not be in effect, and does not change later."""
    granted = scene.status(IDENTITY)["lastGrantedTime"]
    identity, key = scene.condition(IDENTITY, "Ready"), scene.condition(KEY, "Ready")
    assert identity is not None
    assert key is not None
    assert identity["message"] == (
        f"Google Cloud is as declared; grants of {granted} take effect within seven minutes"
    )
    used = scene.status(KEY)["activeKeyID"]
    assert key["message"].startswith(
        f"Google Cloud is as declared; Google Cloud may not accept key {used} everywhere before "
    )
