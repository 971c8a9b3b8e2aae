"""Test suspend, Observe, and two objects that declare the same thing."""

from collections import Counter

from tests.e2e.eventually import becomes
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene

IDENTITIES = """
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: CloudRunIdentity
metadata: {name: pricing}
spec: {accountID: pricing}
"""


def attachment(name: str, identity: str) -> str:
    return f"""
kind: IdentityAttachment
metadata: {{name: {name}}}
spec:
  workload: {{kind: Service, location: europe-west1, name: shop}}
  identityRef: {{name: {identity}}}
"""


def writes(scene: Scene) -> Counter[str]:
    """Return the number of mutating calls so far, by method."""
    return Counter(
        {
            method: count
            for method, count in scene.cloud.calls().items()
            if not method.rpartition("/")[2].startswith(("Get", "List", "Test"))
        }
    )


def test_suspended_binding_is_not_changed_and_protects_its_grants(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch("IAMBinding/viewers", "spec: {suspend: true}")
    scene.fails("IAMBinding/viewers", "Suspended")
    scene.apply(VIEWERS.replace("name: viewers", "name: twin"))
    scene.ready("IAMBinding/twin")

    scene.delete_and_wait("IAMBinding/twin")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}

    scene.delete("IAMBinding/viewers")
    assert "deletion waits" in scene.fails("IAMBinding/viewers", "Suspended")
    scene.patch("IAMBinding/viewers", "spec: {suspend: false}")
    scene.wait_until_deleted("IAMBinding/viewers")
    assert scene.policy() == {}


def test_suspended_project_suspends_its_objects(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: true}")
    assert scene.name in scene.fails("IAMBinding/viewers", "Suspended")
    scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")
    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "user:ann@example.com"}]}')
    scene.fails("IAMBinding/viewers", "Suspended")
    assert scene.policy() == {}

    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: false}")
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}


def test_observe_reports_differences_and_writes_nothing(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(IDENTITIES)
    scene.apply(attachment("shop", "checkout"))
    scene.apply(VIEWERS)
    scene.ready("CloudRunIdentity/checkout", "IdentityAttachment/shop", "IAMBinding/viewers")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {managementPolicy: Observe}")
    scene.ready(f"ManagedProject/{scene.name}")

    scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")
    scene.cloud.deploy_as(service, "")
    scene.cloud.edit_account(scene.email("checkout"), "disable")
    before = writes(scene)
    assert "group:ops@example.com" in scene.fails("IAMBinding/viewers", "DriftDetected")
    assert "is disabled" in scene.fails("IdentityAttachment/shop", "DependencyNotReady"), "as Manage says"
    assert "disabled" in scene.fails("CloudRunIdentity/checkout", "DriftDetected")
    in_sync = scene.condition("IAMBinding/viewers", "InSync")
    assert in_sync
    assert in_sync["status"] == "False"
    assert "group:ops@example.com" in in_sync["message"]
    assert not scene.is_stalled("IAMBinding/viewers")
    assert "group:ops@example.com" in scene.wait_for_event("IAMBinding/viewers", "DriftDetected")
    assert scene.status("IAMBinding/viewers")["drift"]["count"] == 1

    scene.delete_and_wait("IAMBinding/viewers", "IdentityAttachment/shop", "CloudRunIdentity/checkout")
    assert writes(scene) == before
    assert "checkout" in scene.cloud.accounts(scene.name)


def test_deleted_observed_project_waits_for_its_objects(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {managementPolicy: Observe}")
    scene.ready("IAMBinding/viewers")
    before = writes(scene)

    scene.delete(f"ManagedProject/{scene.name}")
    scene.fails(f"ManagedProject/{scene.name}", "InUse")
    scene.delete_and_wait("IAMBinding/viewers")
    scene.wait_until_deleted(f"ManagedProject/{scene.name}")

    assert writes(scene) == before
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_observe_creates_nothing(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/viewer", "group:ops@example.com")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {managementPolicy: Observe}")
    scene.ready(f"ManagedProject/{scene.name}")
    before = writes(scene)
    scene.apply(IDENTITIES)
    scene.apply(VIEWERS)
    scene.apply(VIEWERS.replace("viewers", "loggers").replace("roles/viewer", "roles/logging.logWriter"))

    scene.ready("IAMBinding/viewers")
    assert "account" in scene.fails("CloudRunIdentity/checkout", "DriftDetected")
    scene.fails("IAMBinding/loggers", "DriftDetected")
    assert writes(scene) == before
    assert scene.ledger_targets() == set()


def test_younger_attachment_takes_over_from_the_older_one(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(IDENTITIES)
    scene.apply(attachment("older", "checkout"))
    scene.ready("IdentityAttachment/older", "CloudRunIdentity/pricing")
    scene.apply(attachment("younger", "pricing"))
    assert "older" in scene.fails("IdentityAttachment/younger", "Conflict")
    assert scene.is_stalled("IdentityAttachment/younger")

    scene.delete_and_wait("IdentityAttachment/older")
    scene.ready("IdentityAttachment/younger")
    becomes(lambda: scene.cloud.runs_as(service), scene.email("pricing"))


def test_second_managed_project_for_one_project_is_a_conflict(scene: Scene) -> None:
    names = (f"ManagedProject/{scene.name}", f"ManagedProject/{scene.name}-again")
    scene.apply("""
kind: ManagedProject
metadata: {name: $scene-again}
spec: {projectID: $scene}
""")

    def reasons() -> set[str]:
        # Created within one second, they are ordered by UID, so either may be the older one.
        conditions = (scene.condition(name, "Ready") for name in names)
        return {condition["reason"] if condition else "" for condition in conditions}

    becomes(reasons, {"UpToDate", "Conflict"})


def test_attachment_waits_for_its_workload(scene: Scene) -> None:
    scene.apply(IDENTITIES)
    scene.apply(attachment("shop", "checkout"))
    assert "Service europe-west1/shop" in scene.fails("IdentityAttachment/shop", "WorkloadNotFound")

    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.ready("IdentityAttachment/shop")
    assert scene.cloud.runs_as(service) == scene.email("checkout")
