"""Test slow propagation, outages and refusals of Google Cloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage, set_stage, with_operator

LAGGING = """
strict: true
lag: 2s
projects:
- projectID: slow-to-know
"""


@pytest.fixture
def lagging_stage(kube_api_name: str, tmp_path: Path) -> Iterator[Stage]:
    """Provide a cloud with one project, in which new accounts propagate within two seconds."""
    with set_stage(kube_api_name, tmp_path, with_operator(yaml.safe_load(LAGGING))) as stage:
        stage.ensure_operator()
        yield stage


def test_slowly_propagating_accounts_are_created_once_and_granted(
    lagging_stage: Stage,
) -> None:
    scene = Scene(lagging_stage, "slow-to-know")
    scene.apply(OPEN_PROJECT)
    for number in range(3):
        scene.apply(f"""
kind: CloudRunIdentity
metadata: {{name: worker-{number}}}
spec:
  roles: [{{role: roles/viewer}}]
  users: [{{identityRef: {{name: worker-{(number + 1) % 3}}}}}]
""")
    scene.ready(*(f"CloudRunIdentity/worker-{number}" for number in range(3)))

    assert set(scene.policy()["roles/viewer"]) == {scene.member(f"worker-{number}") for number in range(3)}
    for number in range(3):
        assert scene.cloud.policy(scene.account(f"worker-{number}")) == {
            "roles/iam.serviceAccountUser": [scene.member(f"worker-{(number + 1) % 3}")]
        }
    assert scene.cloud.calls()["IAM/CreateServiceAccount"] == 3

    scene.apply("""
kind: ManagedProject
metadata: {name: nowhere}
spec: {projectID: no-such-project}
""")
    message = scene.fails("ManagedProject/nowhere", "PermissionDenied")
    assert "spec.projectID: project no-such-project does not exist" in message
    assert not scene.is_stalled("ManagedProject/nowhere"), "it may be a matter of time"


def test_outage_is_reported_and_recovered_from(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.cloud.fail("*", "UNAVAILABLE", times=10_000)
    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "user:ann@example.com"}]}')
    scene.fails("IAMBinding/viewers", "ApiUnavailable")
    assert not scene.is_stalled("IAMBinding/viewers")

    scene.cloud.recover()
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}


def test_concurrent_policy_write_is_merged_again(scene: Scene) -> None:
    scene.cloud.fail("*.Projects/SetIamPolicy", "ABORTED", times=3)
    scene.apply(VIEWERS)

    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_failing_deletion_ends_when_the_policy_becomes_abandon(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.cloud.fail("*.Projects/GetIamPolicy", "PERMISSION_DENIED", times=10_000)
    scene.delete("IAMBinding/viewers")
    assert "set spec.deletionPolicy to Abandon" in scene.fails("IAMBinding/viewers", "PermissionDenied")

    scene.patch("IAMBinding/viewers", "spec: {deletionPolicy: Abandon}")
    scene.wait_until_deleted("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}
    assert scene.ledger_targets() == set()


def test_write_with_a_lost_response_is_not_repeated(scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")
    before = scene.cloud.calls()
    scene.cloud.fail("*.IAM/CreateServiceAccount", "UNAVAILABLE", applied=True)
    scene.cloud.fail("*.Projects/SetIamPolicy", "UNAVAILABLE", applied=True)
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {roles: [{role: roles/viewer}]}
""")

    scene.ready("CloudRunIdentity/checkout")
    assert scene.status("CloudRunIdentity/checkout")["origin"] == "Created"
    assert scene.policy() == {"roles/viewer": [scene.member("checkout")]}
    assert (scene.cloud.calls() - before)["Projects/SetIamPolicy"] == 1

    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.policy() == {}
    assert scene.cloud.accounts(scene.name) == {}


def test_missing_permission_is_named_and_detected_once_granted(scene: Scene) -> None:
    scene.cloud.fail("*.Projects/SetIamPolicy", "PERMISSION_DENIED", times=10_000, message="not allowed")
    scene.apply(VIEWERS)
    message = scene.fails("IAMBinding/viewers", "PermissionDenied")
    assert f"the IAM policy of Project {scene.name}: not allowed" in message
    assert not scene.is_stalled("IAMBinding/viewers")

    scene.cloud.recover()
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_operator_reconnects_after_google_cloud_restarts(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.stage.google.stop()
    scene.fails(f"ManagedProject/{scene.name}", "ApiUnavailable")
    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "user:ann@example.com"}]}')
    scene.fails("IAMBinding/viewers", "ApiUnavailable")

    scene.stage.google.start()
    scene.ready("IAMBinding/viewers", f"ManagedProject/{scene.name}")
    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}
