"""Test keys of an identity, with a client that signs in with them continuously."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import google.auth.exceptions
import google.auth.transport.requests
import pytest
from google.oauth2 import service_account

from tests.e2e.eventually import becomes, eventually
from tests.e2e.manifests import IDENTITY, PROJECT_WITH_KEYS
from tests.e2e.scene import Scene
from tests.servers.kube_apis import EMBEDDED

KEY = """
kind: IdentityKey
metadata: {name: checkout}
spec:
  identityRef: {name: checkout}
  secretName: checkout-key
  secretTemplate: {labels: {app: checkout}}
"""
NAME = "IdentityKey/checkout"
SECRET = "checkout-key"
ANOTHER = "spec: {rotation: {generation: 1}}"
NO_CREATION = "iam.disableServiceAccountKeyCreation"
EXPIRY = "iam.serviceAccountKeyExpiryHours"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def scene_with_old_account(closed_scene: Scene) -> Scene:
    """Provide a scene that admits keys, with an adopted account.

    Changes of an adopted account never count as propagation delay.
    """
    scene = closed_scene
    email = scene.cloud.create_account(scene.name, "checkout")
    adoptable = f"keys: Allowed, adoptableAccounts: [{{email: '{email}'}}]"
    scene.apply(PROJECT_WITH_KEYS.replace("keys: Allowed", adoptable))
    scene.apply(IDENTITY + "spec: {adoption: Adopt, whenReplaced: Regrant}")
    scene.ready("CloudRunIdentity/checkout")
    return scene


def keys(scene: Scene) -> dict[str, dict[str, Any]]:
    """Return the account's keys in Google Cloud, by ID."""
    return scene.cloud.keys(scene.account("checkout"))


def states(scene: Scene) -> list[str]:
    return sorted(key["state"] for key in scene.status(NAME).get("keys", ()))


def file_in_secret(scene: Scene) -> dict[str, Any]:
    """Return the credentials file; empty if there is no Secret."""
    secret = scene.cluster.secret(SECRET, scene.name)
    found: dict[str, Any] = json.loads(base64.b64decode(secret["data"]["key.json"])) if secret else {}
    return found


def published(scene: Scene) -> str:
    key_id: str = file_in_secret(scene).get("private_key_id", "")
    return key_id


def delivered(scene: Scene) -> str:
    """Wait until the object is Ready; return the ID of the key in the Secret and the status."""
    scene.ready(NAME)
    key_id = published(scene)
    becomes(lambda: scene.status(NAME).get("activeKeyID"), key_id)
    return key_id


def follower(scene: Scene, key_id: str) -> str:
    """Wait until the Secret has another key; return its ID, which the status may not show yet."""
    return eventually(lambda: published(scene), lambda found: found not in ("", key_id))


class Client:
    """Client that reads the Secret and signs in repeatedly, as Google's library does."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._over = threading.Event()
        self.failures: list[str] = []
        self.sign_ins = 0

    def run(self) -> None:
        while not self._over.wait(0.05):
            file = file_in_secret(self._scene)
            credentials = service_account.Credentials.from_service_account_info(file, scopes=["openid"])
            try:
                credentials.refresh(google.auth.transport.requests.Request())
            except google.auth.exceptions.GoogleAuthError as error:
                self.failures.append(f"{file['private_key_id']}: {error}")
            self.sign_ins += 1

    def end(self) -> None:
        self._over.set()


@contextmanager
def client_at_work(scene: Scene) -> Iterator[None]:
    """Run a client during the block, which must always be able to sign in."""
    client = Client(scene)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield
        before = client.sign_ins
        eventually(lambda: client.sign_ins, lambda count: count > before)
    finally:
        client.end()
        thread.join()
    assert client.failures == []


def test_rotation_always_leaves_clients_a_valid_key(scene_with_keys: Scene) -> None:
    scene, set_clock = scene_with_keys, scene_with_keys.stage.set_key_clock
    scene.apply(KEY)
    first = delivered(scene)
    secret = scene.cluster.secret(SECRET, scene.name)
    assert secret is not None
    assert secret["metadata"]["labels"] == {"app": "checkout"}
    assert [owner["kind"] for owner in secret["metadata"]["ownerReferences"]] == ["IdentityKey"]
    assert set(keys(scene)) == {first}

    with client_at_work(scene):
        set_clock(30 * DAY)
        becomes(lambda: states(scene), ["Active", "Publishing"])
        assert published(scene) == first
        set_clock(30 * DAY + 2 * MINUTE)
        becomes(lambda: states(scene), ["Active", "Overlap"])
        second = published(scene)
        assert second != first
        assert not keys(scene)[first].get("disabled")
        assert SECRET in scene.wait_for_event(NAME, "KeyPublished")

        set_clock(31 * DAY + 3 * MINUTE)
        becomes(lambda: states(scene), ["Active", "Disabled"])
        assert keys(scene)[first]["disabled"]

        scene.stage.operator.terminate()
        scene.stage.ensure_operator()
        set_clock(32 * DAY + 4 * MINUTE)
        becomes(lambda: set(keys(scene)), {second})
    assert scene.status(NAME).get("drift") is None, "a due rotation is not drift"


@pytest.mark.slow
@pytest.mark.parametrize("kube_api_name", [EMBEDDED], indirect=True, scope="package")
def test_kills_leave_no_unrecorded_key(scene_with_keys: Scene) -> None:
    scene, stage, set_clock = scene_with_keys, scene_with_keys.stage, scene_with_keys.stage.set_key_clock
    scene.apply(KEY)
    first = delivered(scene)
    stage.operator.stop()

    with client_at_work(scene):
        scene.patch(NAME, ANOTHER)
        stage.start_operator(die_at="key created").wait_until_killed()
        lost = set(keys(scene)) - {first}
        assert len(lost) == 1

        set_clock(3 * MINUTE)
        dying = stage.start_operator(die_at="key published")
        becomes(lambda: states(scene), ["Active", "Publishing"])
        assert not lost & set(keys(scene))
        set_clock(5 * MINUTE)
        dying.wait_until_killed()
        second = published(scene)
        assert second != first

        stage.ensure_operator()
        becomes(lambda: states(scene), ["Active", "Overlap"])
        assert delivered(scene) == second

    assert set(keys(scene)) == {first, second}


def test_changed_key_or_secret_is_replaced_by_another_key(
    scene_with_keys: Scene,
) -> None:
    scene = scene_with_keys
    scene.apply(KEY)
    first = delivered(scene)

    scene.cluster.delete_secret(SECRET, scene.name)
    second = follower(scene, first)
    assert f"Secret {SECRET}: deleted" in scene.wait_for_event(NAME, "DriftDetected")

    scene.cloud.disable_key(scene.account("checkout"), second)
    third = follower(scene, second)

    becomes(lambda: states(scene), ["Active", "Overlap", "Overlap"])
    assert set(keys(scene)) == {first, second, third}


def test_unowned_secret_is_not_overwritten(scene_with_keys: Scene) -> None:
    scene = scene_with_keys
    scene.cluster.create_secret(SECRET, scene.name, {"key.json": "e30="})
    scene.apply(KEY)

    assert "is not this object's" in scene.fails(NAME, "Conflict")

    assert scene.is_stalled(NAME)
    assert keys(scene) == {}
    scene.delete_and_wait(NAME)
    assert file_in_secret(scene) == {}
    assert scene.cluster.secret(SECRET, scene.name)


def test_denied_key_is_not_created(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(KEY)

    message = scene.fails(NAME, "DeniedByGuardrail")

    assert "guardrails.keys" in message
    assert "Workload Identity" in message
    assert scene.cluster.secret(SECRET, scene.name) is None


def test_deleted_object_deletes_its_keys_unless_abandoned(
    scene_with_keys: Scene,
) -> None:
    scene = scene_with_keys
    stranger = scene.cloud.create_key(scene.account("checkout"))
    scene.apply(KEY)
    delivered(scene)
    scene.delete_and_wait(NAME)
    assert set(keys(scene)) == {stranger}
    assert scene.cluster.secret(SECRET, scene.name) is None

    scene.apply(KEY.replace("spec:", "spec:\n  deletionPolicy: Abandon"))
    left = delivered(scene)
    with client_at_work(scene):
        scene.delete_and_wait(NAME)
    assert set(keys(scene)) == {stranger, left}

    scene.apply(KEY)
    assert delivered(scene) == left, "an object of the same name takes back the key and the Secret"
    scene.delete_and_wait(NAME)
    assert set(keys(scene)) == {stranger}
    assert scene.cluster.secret(SECRET, scene.name) is None


def test_keys_end_with_the_account_and_wait_for_another_one(scene_with_keys: Scene) -> None:
    scene = scene_with_keys
    scene.apply(KEY)
    first = delivered(scene)

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.fails(NAME, "DependencyNotFound", saying="does not exist")
    scene.apply(IDENTITY)

    second = follower(scene, first)
    assert set(keys(scene)) == {second}


def test_keys_of_a_disabled_identity_wait_until_it_is_enabled(scene_with_keys: Scene) -> None:
    scene, identity = scene_with_keys, "CloudRunIdentity/checkout"
    scene.apply(KEY)
    first = delivered(scene)

    scene.patch(identity, "spec: {disabled: true}")
    scene.ready(identity)
    scene.stage.set_key_clock(40 * DAY)
    scene.patch(NAME, ANOTHER)
    disabled = f"CloudRunIdentity {scene.name}/checkout is disabled"
    message = scene.fails(NAME, "DependencyNotReady", saying=disabled)
    assert "spec.disabled" in message, "what to do"
    assert not scene.is_stalled(NAME)
    assert set(keys(scene)) == {first}, "though another one is asked for, and due"

    scene.patch(identity, "spec: {disabled: false}")
    becomes(lambda: states(scene), ["Active", "Publishing"])


def test_undeleted_account_has_its_keys_again(scene_with_old_account: Scene) -> None:
    scene = scene_with_old_account
    scene.apply(KEY)
    first = delivered(scene)

    scene.cloud.edit_account(scene.email("checkout"), "delete")
    becomes(lambda: "checkout" in scene.cloud.accounts(scene.name), True)
    scene.ready("CloudRunIdentity/checkout", NAME)

    with client_at_work(scene):
        assert delivered(scene) == first


def test_recreated_account_gets_a_key_at_once(scene_with_old_account: Scene) -> None:
    scene = scene_with_old_account
    scene.apply(KEY)
    first = delivered(scene)
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDeleted: Report}")
    scene.ready("CloudRunIdentity/checkout")

    scene.cloud.edit_account(scene.email("checkout"), "delete")
    scene.cloud.create_account(scene.name, "checkout")
    second = follower(scene, first)

    assert delivered(scene) == second
    assert set(keys(scene)) == {second}
    becomes(lambda: states(scene), ["Active"])
    with client_at_work(scene):
        assert file_in_secret(scene)["client_id"] == scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]


def test_message_names_the_constraint_that_forbids_keys(scene_with_keys: Scene) -> None:
    scene = scene_with_keys
    scene.cloud.set_org_policy(scene.project, NO_CREATION, enforce=True)
    scene.apply(KEY)

    message = scene.fails(NAME, "Rejected")

    assert NO_CREATION in message
    assert "Workload Identity" in message
    assert scene.is_stalled(NAME)
    assert scene.cluster.secret(SECRET, scene.name) is None
    scene.cloud.drop_org_policy(scene.project, NO_CREATION)
    assert {delivered(scene)} == set(keys(scene)), "the next look for drift tries again"


def test_key_is_rotated_before_the_organization_policy_expires_it(scene_with_keys: Scene) -> None:
    scene, set_clock = scene_with_keys, scene_with_keys.stage.set_key_clock
    scene.cloud.set_org_policy(scene.project, EXPIRY, values={"allowedValues": ["8h"]})
    scene.apply(KEY)
    first = delivered(scene)
    assert "after 8:00:00 (iam.serviceAccountKeyExpiryHours)" in scene.status(NAME)["issues"][0]

    with client_at_work(scene):
        set_clock(4 * HOUR)
        becomes(lambda: states(scene), ["Active", "Publishing"])
        set_clock(4 * HOUR + 2 * MINUTE)
        becomes(lambda: states(scene), ["Active", "Overlap"])
    assert published(scene) != first


def test_label_removed_from_the_template_is_removed_from_the_secret(scene_with_keys: Scene) -> None:
    scene = scene_with_keys
    scene.apply(KEY)
    scene.ready(NAME)
    key = scene.status(NAME)["activeKeyID"]
    scene.cluster.label_secret(SECRET, scene.name, {"theirs": "1"})
    assert labels_of_secret(scene) == {"app": "checkout", "theirs": "1"}

    scene.patch(NAME, "spec: {secretTemplate: {labels: {app: null, tier: back}}}")
    scene.ready(NAME)
    becomes(lambda: labels_of_secret(scene), {"tier": "back", "theirs": "1"})

    scene.patch(NAME, "spec: {secretTemplate: null}")
    scene.ready(NAME)
    becomes(lambda: labels_of_secret(scene), {"theirs": "1"})
    assert scene.status(NAME)["activeKeyID"] == key


def labels_of_secret(scene: Scene) -> dict[str, str]:
    secret = scene.cluster.secret(SECRET, scene.name)
    assert secret is not None
    labels: dict[str, str] = secret["metadata"].get("labels", {})
    return labels


def test_key_material_is_only_in_its_secret(scene_with_keys: Scene) -> None:
    scene = scene_with_keys
    scene.apply(KEY)
    first = delivered(scene)
    files = [file_in_secret(scene)]
    scene.cluster.delete_secret(SECRET, scene.name)
    follower(scene, first)
    second = delivered(scene)
    files.append(file_in_secret(scene))

    outputs = [
        scene.stage.operator.output(),
        json.dumps([scene.get(NAME), scene.get("CloudRunIdentity/checkout")]),
        json.dumps(scene.ledger(f"//iam.googleapis.com/{scene.account('checkout')}")),
        json.dumps(scene.cluster.events("IdentityKey", "checkout", scene.name)),
    ]

    assert second in outputs[1]
    for line in (line for file in files for line in file["private_key"].splitlines() if line):
        assert not [text for text in outputs if line in text]
