"""Test that the next operator completes everything after a kill between any two steps."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import Object
from tests.e2e.conftest import OPEN_PROJECT
from tests.e2e.processes import Operator
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE, Stage
from tests.servers.kube_apis import EMBEDDED, REAL

OF_A_LANE = ("policy read", "ledger written ahead", "policy written", "ledger settled")
WHEN_CREATING = (*OF_A_LANE, "intent recorded", "account created", "account settled")
WHEN_DELETING = ("policy written", "grants released", "account deleted")
WHEN_ATTACHING = ("reassignment recorded", "status recorded", "workload reassigned")

NAMES = ("CloudRunIdentity/checkout", "IAMBinding/viewers", "IAMBinding/deployers")
MANIFESTS = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  displayName: Checkout
  roles: [{role: roles/cloudsql.client}]
  users: [{principal: "group:deployers@example.com"}]
---
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "user:ann@example.com"}, {principal: "group:ops@example.com"}]
---
kind: IAMBinding
metadata: {name: deployers}
spec:
  target: {kind: ServiceAccount, identityRef: {name: checkout}}
  role: roles/iam.serviceAccountUser
  members: [{principal: "group:deployers@example.com"}, {identityRef: {name: checkout}}]
"""
"""One grant of two objects, one existing grant, and an account that is both member and target."""


def on_servers(steps: tuple[str, ...], *, real: str) -> pytest.MarkDecorator:
    """Run every step on the embedded server. The one named `real` also runs elsewhere.

    It runs on a real server, too, and in `make test`.
    """
    return pytest.mark.parametrize(
        ("kube_api_name", "step"),
        [
            *(pytest.param(EMBEDDED, step, marks=() if step == real else pytest.mark.slow) for step in steps),
            (REAL, real),
        ],
        indirect=["kube_api_name"],
        scope="package",
    )


@pytest.fixture(scope="package")
def uninterrupted(shared_stage: Stage) -> tuple[Any, Any]:
    """Return the state after the manifests were applied, and after they were deleted, without kills."""
    shared_stage.google.ensure()
    shared_stage.ensure_operator()
    scene = Scene(shared_stage, "uninterrupted")
    scene.apply(OPEN_PROJECT)
    grant_to_others(scene)
    scene.apply(MANIFESTS)
    scene.ready(*NAMES)
    created = end_state(scene)
    scene.delete_and_wait(*NAMES)
    deleted = end_state(scene)
    scene.end()
    return created, deleted


@dataclass(frozen=True)
class Relay:
    """An active operator, and a standby that ends itself at a checkpoint."""

    stage: Stage
    acting: Operator
    doomed: Operator

    @contextmanager
    def runs(self, meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Have the standby start the work of the block, and a third operator finish it.

        `meanwhile` is called between the death of the standby and the start of the third operator's work.
        """
        self.doomed.wait_until_standby()
        self.acting.kill()
        yield
        self._hand_over(self.doomed)
        successor = self.stage.start_operator()
        self.doomed.wait_until_killed()
        meanwhile()
        self._hand_over(successor)

    def _hand_over(self, to: Operator) -> None:
        self.stage.cluster.end_lease(OPERATOR_NAMESPACE)
        to.wait_until_leading()


@pytest.fixture
def relay(stage: Stage, step: str) -> Relay:
    """Start the standby early, so that it loads while the test prepares."""
    return Relay(stage, stage.operator, stage.start_operator(die_at=step))


@on_servers(WHEN_CREATING, real="policy written")
def test_change_interrupted_by_a_kill_is_completed_by_the_next_process(
    relay: Relay, scene: Scene, uninterrupted: tuple[Any, Any]
) -> None:
    grant_to_others(scene)

    with relay.runs():
        scene.apply(MANIFESTS)
    scene.ready(*NAMES)

    assert end_state(scene) == uninterrupted[0]


@on_servers(WHEN_DELETING, real="account deleted")
def test_deletion_interrupted_by_a_kill_is_completed(
    relay: Relay, scene: Scene, uninterrupted: tuple[Any, Any]
) -> None:
    grant_to_others(scene)
    scene.apply(MANIFESTS)
    scene.ready(*NAMES)

    with relay.runs():
        scene.delete(*NAMES)
    scene.wait_until_deleted(*NAMES)

    assert end_state(scene) == uninterrupted[1]


VIEWERS = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "user:eve@example.com"}, {principal: "group:ops@example.com"}]
"""


@on_servers(("ledger written ahead",), real="ledger written ahead")
def test_grant_that_another_writer_makes_after_a_kill_stays_theirs(relay: Relay, scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")

    with relay.runs(lambda: scene.cloud.add(scene.project, "roles/viewer", "user:eve@example.com")):
        scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["user:eve@example.com", "group:ops@example.com"]}
    assert "user:eve@example.com" in scene.wait_for_event("IAMBinding/viewers", "NotRecorded")
    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["user:eve@example.com"]}


@on_servers(("policy written",), real="policy written")
def test_grants_that_nothing_proves_after_a_kill_are_left_and_reported(relay: Relay, scene: Scene) -> None:
    scene.ready(f"ManagedProject/{scene.name}")

    with relay.runs(lambda: scene.cloud.add(scene.project, "roles/browser", "user:zoe@example.com")):
        scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    assert "set spec.existingGrants to Claim" in scene.wait_for_event("IAMBinding/viewers", "NotRecorded")
    granted = scene.policy()
    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == granted


ATTACHED = """
kind: IdentityAttachment
metadata: {name: shop}
spec:
  workload: {kind: Service, location: europe-west1, name: shop}
  identityRef: {name: checkout}
  deletionPolicy: Restore
"""


RESTORABLE = "spec: {guardrails: {restoreToDefaultAccount: true}}"


@on_servers(WHEN_ATTACHING, real="workload reassigned")
def test_attachment_interrupted_by_a_kill_is_made_once_and_restorable(relay: Relay, scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    default = scene.cloud.runs_as(service)
    scene.patch(f"ManagedProject/{scene.name}", RESTORABLE)
    scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}}")
    scene.ready("CloudRunIdentity/checkout")

    with relay.runs():
        scene.apply(ATTACHED)
    scene.ready("IdentityAttachment/shop")
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    assert scene.cloud.workload(service)["generation"] == "2"

    scene.delete_and_wait("IdentityAttachment/shop")
    assert scene.cloud.runs_as(service) == default


@on_servers(("account restored",), real="account restored")
def test_restoration_interrupted_by_a_kill_is_made_once(relay: Relay, scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    default = scene.cloud.runs_as(service)
    scene.patch(f"ManagedProject/{scene.name}", RESTORABLE)
    scene.apply("{kind: CloudRunIdentity, metadata: {name: checkout}}")
    scene.apply(ATTACHED)
    scene.ready("IdentityAttachment/shop")

    with relay.runs():
        scene.delete("IdentityAttachment/shop")
    scene.wait_until_deleted("IdentityAttachment/shop")
    assert scene.cloud.runs_as(service) == default
    assert scene.cloud.workload(service)["generation"] == "3"


def grant_to_others(scene: Scene) -> None:
    """Grant roles to unmanaged members, which sort before and after the managed ones."""
    scene.ready(f"ManagedProject/{scene.name}")
    scene.cloud.add(scene.project, "roles/viewer", "user:ann@example.com")
    scene.cloud.add(scene.project, "roles/viewer", "user:zoe@example.com")
    scene.cloud.add(scene.project, "roles/cloudsql.client", "user:zoe@example.com", NIGHTLY)


NIGHTLY = {"title": "nightly", "expression": "request.time.getHours() < 6"}


def end_state(scene: Scene) -> Any:
    """Return accounts, policies and ledgers without names, IDs and times, which differ between runs."""
    accounts = scene.cloud.accounts(scene.name)
    policies = {
        resource: {role: sorted(members) for role, members in scene.cloud.policy(resource).items()}
        for resource in (scene.project, *map(scene.account, accounts))
    }
    ledgers = {target: comparable(scene.ledger(target)) for target in sorted(scene.ledger_targets())}
    state = {
        "accounts": {name: account.get("displayName") for name, account in accounts.items()},
        "deleted accounts": scene.cloud.deleted_accounts(scene.name),
        "policies": policies,
        "ledgers": ledgers,
    }
    return json.loads(_ID.sub("ID", json.dumps(state).replace(scene.name, "PROJECT")))


def comparable(ledger: Object) -> Object:
    """Return a ledger's spec without times and the marks of its last write, and with sorted lists."""
    bindings = [
        binding | {"members": sorted(binding["members"], key=lambda member: str(member["member"]))}
        for binding in ledger.get("bindings", ())
    ]
    differing = ("lastWriteTime", "writtenGeneration", "writtenUID")
    timeless = {field: value for field, value in ledger.items() if field not in differing}
    if account := timeless.get("account"):
        timeless["account"] = {field: account[field] for field in account if field != "appearedTime"}
    return timeless | {"bindings": sorted(bindings, key=lambda binding: str(binding["role"]))}


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{12}(\d{9})?\b")
"""UID in Kubernetes, unique ID in Google Cloud, or project number."""
