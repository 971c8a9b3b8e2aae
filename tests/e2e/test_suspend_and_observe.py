"""Brakes: suspend, Observe, and two objects that want the same thing."""

from collections import Counter

from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene

VIEWERS = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "group:ops@example.com"}]
"""
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
    """The calls that change something, so far."""
    return Counter(
        {
            method: count
            for method, count in scene.cloud.calls().items()
            if not method.rpartition("/")[2].startswith(("Get", "List", "Test"))
        }
    )


def test_a_suspended_binding_is_left_alone_and_protects_its_grants(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch("IAMBinding/viewers", "spec: {suspend: true}")
    scene.fails("IAMBinding/viewers", "Suspended")
    scene.apply(VIEWERS.replace("name: viewers", "name: twin"))
    scene.ready("IAMBinding/twin")

    scene.removed("IAMBinding/twin")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}

    scene.delete("IAMBinding/viewers")
    assert "deletion waits" in scene.fails("IAMBinding/viewers", "Suspended")
    scene.patch("IAMBinding/viewers", "spec: {suspend: false}")
    scene.gone("IAMBinding/viewers")
    assert scene.policy() == {}


def test_a_suspended_project_holds_everything_in_it(scene: Scene) -> None:
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


def test_observe_reports_what_differs_and_writes_nothing(scene: Scene) -> None:
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
    assert scene.email("checkout") in scene.fails("IdentityAttachment/shop", "DriftDetected")
    assert "disabled" in scene.fails("CloudRunIdentity/checkout", "DriftDetected")
    in_sync = scene.condition("IAMBinding/viewers", "InSync")
    assert in_sync
    assert in_sync["status"] == "False"
    assert "group:ops@example.com" in in_sync["message"]
    assert not scene.is_stalled("IAMBinding/viewers")
    assert "group:ops@example.com" in scene.told("IAMBinding/viewers", "DriftDetected")
    assert scene.status("IAMBinding/viewers")["drift"]["count"] == 1

    scene.removed("IAMBinding/viewers", "IdentityAttachment/shop", "CloudRunIdentity/checkout")
    assert writes(scene) == before
    assert "checkout" in scene.cloud.accounts(scene.name)


def test_an_observed_project_stays_for_as_long_as_it_has_objects(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {managementPolicy: Observe}")
    scene.ready("IAMBinding/viewers")
    before = writes(scene)

    scene.delete(f"ManagedProject/{scene.name}")
    scene.fails(f"ManagedProject/{scene.name}", "InUse")
    scene.removed("IAMBinding/viewers")
    scene.gone(f"ManagedProject/{scene.name}")

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


def test_of_two_attachments_on_a_workload_the_older_has_it_and_the_younger_inherits(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(IDENTITIES)
    scene.apply(attachment("older", "checkout"))
    scene.ready("IdentityAttachment/older", "CloudRunIdentity/pricing")
    scene.apply(attachment("younger", "pricing"))
    assert "older" in scene.fails("IdentityAttachment/younger", "Conflict")
    assert scene.is_stalled("IdentityAttachment/younger")

    scene.removed("IdentityAttachment/older")
    scene.ready("IdentityAttachment/younger")
    becomes(lambda: scene.cloud.runs_as(service), scene.email("pricing"))


def test_of_two_objects_that_lend_one_project_only_one_does(scene: Scene) -> None:
    names = (f"ManagedProject/{scene.name}", f"ManagedProject/{scene.name}-again")
    scene.apply("""
kind: ManagedProject
metadata: {name: $scene-again}
spec: {projectID: $scene}
""")

    def reasons() -> set[str]:
        # Made within one second, they are told apart by their UIDs: which of them is the older is open.
        conditions = (scene.condition(name, "Ready") for name in names)
        return {condition["reason"] if condition else "" for condition in conditions}

    becomes(reasons, {"UpToDate", "Conflict"})


def test_an_attachment_waits_for_its_workload(scene: Scene) -> None:
    scene.apply(IDENTITIES)
    scene.apply(attachment("shop", "checkout"))
    assert "Service europe-west1/shop" in scene.fails("IdentityAttachment/shop", "WorkloadNotFound")

    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.ready("IdentityAttachment/shop")
    assert scene.cloud.runs_as(service) == scene.email("checkout")
