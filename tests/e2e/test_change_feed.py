"""A change feed: drift is repaired when the audit log reports it, and the status names who caused it.

The drift interval is an hour, so that only the feed can repair anything.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from cloudrun_identity.policy.backoff import BackoffLimits
from tests.e2e.commands import run_cli
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

pytestmark = pytest.mark.slow

OPS, ELSEWHERE = "acme-ops", "acme-alone"
GCLOUD = "google-cloud-sdk gcloud/501.0.0 command/gcloud.projects.remove-iam-policy-binding"
DANA = "user:dana@example.com"

PROJECT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  changeFeed:
    subscription: $subscription
    reportActors: true
  guardrails:
    customRoles: {permissions: [storage.objects.get, storage.objects.list]}
    grants:
    - roles: [roles/viewer, roles/logging.logWriter]
      targetKinds: [Project]
      members: ["*"]
      namespaces: ["*"]
      allowEscalation: true
"""
VIEWERS = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
"""
CHECKOUT = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {displayName: Checkout}
"""


class Feed:
    """The feed of one project, set up as `cloudrun-identity permissions` prints it."""

    def __init__(self, scene: Scene, run_dir: Path) -> None:
        self.scene = scene
        self.subscription = scene.cloud.create_subscription(OPS, scene.name)
        self._file = run_dir / "project.yaml"

    def declare(self) -> None:
        """Create the sink with the printed filter, apply the ManagedProject, and wait until it is Ready.

        An object that is applied earlier is reconciled again when the status of its project appears.
        """
        manifest = Template(PROJECT).substitute(scene=self.scene.name, subscription=self.subscription)
        self._file.write_text(manifest)
        printed = run_cli("permissions", "-f", str(self._file))
        _, _, rest = printed.rpartition("cat >filter.txt <<'EOF'\n")
        self.scene.cloud.create_sink(self.scene.name, self.subscription, rest.partition("\nEOF\n")[0])
        self.scene.apply(manifest)
        self.scene.ready(f"ManagedProject/{self.scene.name}")

    def becomes(self, status: str, reason: str) -> str:
        """Wait until ChangeFeedReady has this status and reason; return its message."""
        name = f"ManagedProject/{self.scene.name}"
        found = eventually(
            lambda: self.scene.condition(name, "ChangeFeedReady"),
            lambda condition: (
                condition is not None and (condition["status"], condition["reason"]) == (status, reason)
            ),
        )
        assert found
        message: str = found["message"]
        return message


@pytest.fixture
def feed(closed_scene: Scene, tmp_path: Path) -> Iterator[Feed]:
    closed_scene.cloud.deploy("services", closed_scene.name, "checkout")
    yield Feed(closed_scene, tmp_path)
    closed_scene.cloud.recover()


@pytest.fixture
def viewers(feed: Feed) -> Scene:
    """Provide a scene with a Ready binding whose feed has delivered the write of the operator."""
    feed.declare()
    feed.scene.apply(VIEWERS)
    feed.scene.ready("IAMBinding/viewers")
    feed.becomes("True", "Receiving")
    return feed.scene


def has_viewers(scene: Scene) -> bool:
    return "group:ops@example.com" in scene.policy().get("roles/viewer", [])


def remove_viewers(scene: Scene) -> None:
    scene.cloud.acting_as(DANA, GCLOUD).remove(scene.project, "roles/viewer", "group:ops@example.com")


def test_removed_grant_is_repaired_and_the_status_names_who_removed_it(viewers: Scene) -> None:
    before = viewers.cloud.calls()

    remove_viewers(viewers)

    becomes(lambda: has_viewers(viewers), True)
    said = viewers.wait_for_event("IAMBinding/viewers", "DriftRepaired")
    assert f"was removed by {DANA} (gcloud) at " in said
    assert ", repaired after " in said
    drift = viewers.status("IAMBinding/viewers")["drift"]
    assert drift["changes"] == [said]
    [cause] = drift["causes"]
    assert (cause["principal"], cause["userAgent"]) == (DANA, GCLOUD)
    assert cause["method"].endswith("SetIamPolicy")
    calls = viewers.cloud.calls() - before
    assert calls["Projects/SetIamPolicy"] == 1
    assert calls["Projects/GetIamPolicy"] <= 2


def test_conflict_names_who_removes_a_grant_repeatedly(viewers: Scene) -> None:
    for _ in range(BackoffLimits().losses):
        becomes(lambda: has_viewers(viewers), True)
        remove_viewers(viewers)
    message = viewers.fails("IAMBinding/viewers", "Conflict")
    assert f"another writer removes it repeatedly; it was last removed by {DANA} (gcloud) at " in message


def test_own_writes_cause_no_sync(viewers: Scene) -> None:
    before, writes = entries(viewers), viewers.cloud.calls()["Projects/SetIamPolicy"]
    viewers.patch(
        "IAMBinding/viewers",
        "spec: {members: [{principal: 'group:ops@example.com'}, {principal: 'user:eve@example.com'}]}",
    )
    becomes(lambda: entries(viewers)["own"] > before["own"], True)
    viewers.ready("IAMBinding/viewers")
    assert entries(viewers)["synced"] == before["synced"]
    assert viewers.cloud.calls()["Projects/SetIamPolicy"] == writes + 1
    assert "drift" not in viewers.status("IAMBinding/viewers")


def entries(scene: Scene) -> Counter[str]:
    """Return the number of entries that the operator has received, by outcome."""
    name = re.compile(r'cloudrun_identity_change_feed_entries_total\{outcome="([\w-]+)"\}')
    found = ((name.fullmatch(key), value) for key, value in scene.stage.operator.metrics().items())
    return Counter({match[1]: int(value) for match, value in found if match})


def test_actors_are_reported_only_where_the_project_allows_it(feed: Feed, viewers: Scene) -> None:
    viewers.patch(f"ManagedProject/{viewers.name}", "spec: {changeFeed: {reportActors: false}}")
    viewers.ready(f"ManagedProject/{viewers.name}")

    remove_viewers(viewers)

    becomes(lambda: has_viewers(viewers), True)
    said = viewers.wait_for_event("IAMBinding/viewers", "DriftRepaired")
    assert "was removed at " in said
    [cause] = viewers.status("IAMBinding/viewers")["drift"]["causes"]
    assert sorted(cause) == ["method", "time"]


def test_changed_account_workload_and_role_are_repaired(feed: Feed) -> None:
    feed.declare()
    scene = feed.scene
    service = scene.service("checkout")
    scene.apply(f"""{CHECKOUT}
---
kind: IdentityAttachment
metadata: {{name: checkout}}
spec:
  workload: {{kind: Service, location: europe-west1, name: checkout}}
  identityRef: {{name: checkout}}
---
kind: CustomRole
metadata: {{name: reader}}
spec: {{roleID: reader, title: Reader, permissions: [storage.objects.get]}}
""")
    scene.ready("CloudRunIdentity/checkout", "IdentityAttachment/checkout", "CustomRole/reader")
    role = f"{scene.project}/roles/reader"

    scene.cloud.change_role(role, title="Changed")
    becomes(lambda: (scene.cloud.role(role) or {})["title"], "Reader")

    scene.cloud.acting_as(DANA, GCLOUD).deploy_as(service, "")
    becomes(lambda: scene.cloud.runs_as(service), scene.email("checkout"))
    assert f"changed by {DANA} (gcloud) at " in scene.wait_for_event(
        "IdentityAttachment/checkout", "DriftRepaired"
    )

    scene.cloud.acting_as(DANA, GCLOUD).edit_account(scene.email("checkout"), "disable")
    eventually(
        lambda: scene.cloud.accounts(scene.name)["checkout"], lambda account: not account.get("disabled")
    )
    assert f"changed by {DANA} (gcloud) at " in scene.wait_for_event(
        "CloudRunIdentity/checkout", "DriftRepaired"
    )


def test_deleted_subscription_is_reported_and_used_again_once_it_exists(feed: Feed, viewers: Scene) -> None:
    viewers.cloud.delete_subscription(feed.subscription)
    message = feed.becomes("False", "SubscriptionNotFound")
    assert f"gcloud pubsub subscriptions create {viewers.name} --project={OPS}" in message
    viewers.cloud.create_subscription(OPS, viewers.name)
    feed.becomes("True", "Receiving")


def test_forbidden_subscription_is_reported_with_the_grant_that_is_missing(feed: Feed) -> None:
    feed.subscription = feed.scene.cloud.create_subscription(ELSEWHERE, feed.scene.name)
    feed.declare()
    message = feed.becomes("False", "PermissionDenied")
    assert (
        f"subscriptions add-iam-policy-binding {feed.scene.name} --project={ELSEWHERE} --member=" in message
    )


def test_malformed_entries_and_a_backlog_do_not_stop_the_feed(viewers: Scene) -> None:
    viewers.cloud.inject(malformed=50, backlog=5000)
    remove_viewers(viewers)
    becomes(lambda: has_viewers(viewers), True)


def test_lost_entry_costs_time_only(viewers: Scene) -> None:
    with viewers.cloud.switched(sinkLoss=1.0):
        viewers.patch(f"ManagedProject/{viewers.name}", "spec: {driftInterval: 1s}")
        viewers.ready(f"ManagedProject/{viewers.name}")
        remove_viewers(viewers)
        becomes(lambda: has_viewers(viewers), True)
    assert "was missing" in viewers.wait_for_event("IAMBinding/viewers", "DriftRepaired")


def test_healthy_feed_stretches_the_interval_and_a_failing_one_does_not(feed: Feed, viewers: Scene) -> None:
    name = f"ManagedProject/{viewers.name}"

    def interval() -> object:
        return viewers.status(name).get("changeFeed", {}).get("resyncInterval")

    viewers.patch(name, "spec: {changeFeed: {resyncWithFeed: 12h}}")
    becomes(interval, "12h")
    viewers.cloud.delete_subscription(feed.subscription)
    becomes(interval, "1h")
