"""Sync, act on and prune objects as Argo CD does, with the health check and the actions of `argocd/`."""

import copy
from typing import Any

import yaml

from tests.e2e.cluster import Object
from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene
from tests.gitops.argo_cd_lua import acted, health
from tools.argo_cd.customizations import action_script, health_script

WAVES = (
    """
kind: CloudRunIdentity
metadata: {name: checkout-runner}
spec:
  users: [{principal: "group:deployers@example.com"}]
""",
    """
kind: IAMBinding
metadata: {name: token-creators}
spec:
  target: {kind: ServiceAccount, identityRef: {name: checkout-runner}}
  role: roles/iam.serviceAccountTokenCreator
  members: [{principal: "group:ops@example.com"}]
""",
)
IDENTITY, BINDING = NAMES = ("CloudRunIdentity/checkout-runner", "IAMBinding/token-creators")


def test_waves_are_synced_acted_on_and_pruned_by_their_health(scene: Scene) -> None:
    for name, manifest in zip(NAMES, WAVES, strict=True):
        scene.apply(manifest)
        becomes(lambda name=name: health_of(scene, name), "Healthy")
    assert scene.status(BINDING)["memberCount"] == 1

    for action, expected in (("suspend", "Suspended"), ("resume", "Healthy"), ("observe", "Healthy")):
        act(scene, IDENTITY, action)
        becomes(lambda: health_of(scene, IDENTITY), expected)
    scene.patch(IDENTITY, "spec: {displayName: Runner}")
    becomes(lambda: health_of(scene, IDENTITY), "Suspended")
    act(scene, IDENTITY, "manage")
    becomes(lambda: health_of(scene, IDENTITY), "Healthy")
    act(scene, IDENTITY, "reconcile")
    becomes(lambda: requested(scene, IDENTITY) == scene.status(IDENTITY).get("lastHandledReconcileAt"), True)

    for name in reversed(NAMES):
        scene.delete_and_wait(name)
    assert scene.email("checkout-runner") not in yaml.safe_dump(scene.cloud.accounts(scene.name))


def health_of(scene: Scene, name: str) -> str:
    found = scene.get(name)
    assert found is not None
    return str(health(health_script(), found)["status"])


def act(scene: Scene, name: str, action: str) -> None:
    """Run an action as Argo CD does: as a merge patch of its changes."""
    live = scene.get(name)
    assert live is not None
    changed = acted(action_script(action), copy.deepcopy(live))
    scene.patch(name, yaml.safe_dump(merge_patch(live, changed)))


def merge_patch(before: Object, after: Object) -> Object:
    """Return the merge patch (RFC 7386) that changes one object into another."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for field, value in after.items():
        old = before.get(field)
        if isinstance(value, dict) and isinstance(old, dict):
            if below := merge_patch(old, value):
                patch[field] = below
        elif value != old:
            patch[field] = value
    return patch


def requested(scene: Scene, name: str) -> str:
    found = scene.get(name)
    assert found is not None
    return str(found["metadata"]["annotations"]["cloudrun-identity.dev/reconcile-requested-at"])
