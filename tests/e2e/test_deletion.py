"""Test that deletion undoes only what the operator did, and never while a workload runs."""

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene
from tests.servers.kube_apiserver import KubeApiServer

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles: [{role: roles/cloudsql.client}, {role: roles/viewer}]
  users: [{principal: "group:deployers@example.com"}]
"""
ATTACHMENT = """
kind: IdentityAttachment
metadata: {name: checkout}
spec:
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
"""


def test_deleted_identity_leaves_no_grants_account_or_ledgers(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/cloudsql.client", "user:ann@example.com")
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    assert scene.policy() == {
        "roles/cloudsql.client": ["user:ann@example.com", scene.member("checkout")],
        "roles/viewer": [scene.member("checkout")],
    }

    scene.delete_and_wait("CloudRunIdentity/checkout")

    assert scene.policy() == {"roles/cloudsql.client": ["user:ann@example.com"]}
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.cloud.deleted_accounts(scene.name) == ["checkout"]
    assert scene.ledger_targets() == set()


def test_abandoned_identity_is_left_and_taken_back(scene: Scene) -> None:
    account = f"//iam.googleapis.com/{scene.account('checkout')}"
    scene.apply(IDENTITY + "  deletionPolicy: Abandon\n")
    scene.ready("CloudRunIdentity/checkout")
    policy, accounts = scene.policy(), scene.cloud.accounts(scene.name)

    scene.delete_and_wait("CloudRunIdentity/checkout")

    assert scene.cloud.accounts(scene.name) == accounts
    assert scene.policy() == policy
    assert scene.ledger_targets() == {account}
    assert scene.ledger(account)["account"]["leftBy"] == f"{scene.name}/checkout"

    thief = IDENTITY.replace("name: checkout", "name: thief", 1) + "  accountID: checkout\n"
    scene.apply(thief)
    assert "exists already" in scene.fails("CloudRunIdentity/thief", "Conflict")
    scene.delete_and_wait("CloudRunIdentity/thief")
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == accounts
    assert scene.status("CloudRunIdentity/checkout")["origin"] == "Created"
    assert scene.policy() == policy

    scene.patch("CloudRunIdentity/checkout", "spec: {deletionPolicy: DeleteIfCreated}")
    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.policy() == {}, "its grants are taken back with it"
    assert scene.ledger_targets() == set()


def test_identity_in_use_by_a_workload_is_not_deleted(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "checkout")
    scene.apply(IDENTITY)
    scene.apply(ATTACHMENT)
    scene.ready("IdentityAttachment/checkout")

    scene.delete_and_wait("IdentityAttachment/checkout")
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    scene.delete("CloudRunIdentity/checkout")
    message = scene.fails("CloudRunIdentity/checkout", "InUse")
    assert "Service europe-west1/checkout" in message
    assert "checkout" in scene.cloud.accounts(scene.name)
    assert scene.policy()["roles/viewer"] == [scene.member("checkout")]

    scene.cloud.deploy_as(service, "")
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.policy() == {}


def test_forced_deletion_of_an_identity_in_use_keeps_its_account(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "checkout")
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.cloud.deploy_as(service, scene.email("checkout"))
    scene.delete("CloudRunIdentity/checkout")
    scene.fails("CloudRunIdentity/checkout", "InUse")

    scene.patch(
        "CloudRunIdentity/checkout",
        'metadata: {annotations: {cloudrun-identity.dev/force-delete: "true"}}',
    )
    scene.wait_until_deleted("CloudRunIdentity/checkout")

    assert list(scene.cloud.accounts(scene.name)) == ["checkout"]
    assert scene.cloud.runs_as(service) == scene.email("checkout")
    assert scene.policy()["roles/viewer"] == [scene.member("checkout")]
    assert scene.email("checkout") in scene.wait_for_event("CloudRunIdentity/checkout", "Abandoned")
    (left,) = scene.left_behind()
    assert "Service europe-west1/checkout runs as it" in left["abandoned"]["reason"]


def test_namespace_deletion_finalizes_all_its_objects(scene: Scene) -> None:
    scene.cloud.deploy("services", scene.name, "checkout")
    scene.apply(IDENTITY)
    scene.apply(ATTACHMENT)
    scene.apply("""
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: checkout}
  role: roles/run.invoker
  members: [{identityRef: {name: checkout}}, {principal: "group:callers@example.com"}]
""")
    scene.ready("CloudRunIdentity/checkout", "IdentityAttachment/checkout", "IAMBinding/callers")

    scene.cluster.delete_namespace(scene.name)
    becomes(lambda: scene.cluster.has_namespace(scene.name), False)

    assert scene.cloud.policy(scene.service("checkout")).get("roles/run.invoker") is None
    assert scene.cloud.runs_as(scene.service("checkout")) == scene.email("checkout")
    assert list(scene.cloud.accounts(scene.name)) == ["checkout"], "a service runs as it"
    assert [left["email"] for left in scene.left_behind()] == [scene.email("checkout")]
    left = f"CloudRunIdentity {scene.name}/checkout: Service account {scene.email('checkout')} is left"
    event = scene.wait_for_event(f"ManagedProject/{scene.name}", "Abandoned", saying=left)
    assert "Service europe-west1/checkout runs as it" in event


def test_project_is_deleted_when_nothing_refers_to_it(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")

    scene.delete(f"ManagedProject/{scene.name}")
    message = scene.fails(f"ManagedProject/{scene.name}", "InUse")
    assert f"CloudRunIdentity {scene.name}/checkout" in message

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.wait_until_deleted(f"ManagedProject/{scene.name}")
    assert scene.cloud.accounts(scene.name) == {}


def test_binding_with_a_deleted_target_can_be_deleted(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply("""
kind: IAMBinding
metadata: {name: deployers}
spec:
  target: {kind: ServiceAccount, identityRef: {name: checkout}}
  role: roles/iam.serviceAccountTokenCreator
  members: [{principal: "group:deployers@example.com"}]
""")
    scene.ready("IAMBinding/deployers")

    scene.delete_and_wait("CloudRunIdentity/checkout")
    eventually(lambda: scene.cloud.accounts(scene.name), lambda accounts: not accounts)
    scene.delete_and_wait("IAMBinding/deployers")

    assert scene.ledger_targets() == set()


# Invalid objects, which an older CRD admitted.

BINDING = """
kind: IAMBinding
metadata: {name: viewers}
spec:
  target: {kind: Project}
  role: roles/viewer
  members: [{principal: "user:ann@example.com"}]
"""


def test_deleted_invalid_binding_releases_its_grants(scene: Scene) -> None:
    scene.apply(BINDING)
    scene.ready("IAMBinding/viewers")
    scene.make_invalid("IAMBinding/viewers", "existingGrants")
    assert "spec.existingGrants" in scene.fails("IAMBinding/viewers", "InvalidSpec")
    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}, "what is held stays"

    scene.delete_and_wait("IAMBinding/viewers")
    assert scene.policy() == {}
    assert scene.ledger_targets() == set()


def test_successor_of_a_deleted_invalid_identity_takes_over(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    policy = scene.policy()
    scene.make_invalid("CloudRunIdentity/checkout", "whenDeleted")
    scene.fails("CloudRunIdentity/checkout", "InvalidSpec")

    scene.delete("CloudRunIdentity/checkout")
    assert "takes it over" in scene.wait_for_event("CloudRunIdentity/checkout", "Abandoned")
    scene.wait_until_deleted("CloudRunIdentity/checkout")
    assert scene.policy() == policy
    assert list(scene.cloud.accounts(scene.name)) == ["checkout"]
    gone = f"CloudRunIdentity {scene.name}/checkout, which is deleted"
    eventually(
        lambda: {each["reason"] for each in scene.status(f"ManagedProject/{scene.name}").get("orphans", [])},
        lambda reasons: reasons == {f"created for {gone}", f"granted for {gone}"},
    )

    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.delete_and_wait("CloudRunIdentity/checkout")
    assert scene.policy() == {}
    assert scene.cloud.accounts(scene.name) == {}
    assert scene.ledger_targets() == set()


def test_object_removed_in_spite_of_its_finalizer_is_finalized(scene: Scene) -> None:
    """A deletion that coincides with the addition of the finalizer removes the object.

    The object is removed from etcd here, as the race is short (kubernetes/kubernetes#77988).
    """
    server = scene.stage.kube_api
    if not isinstance(server, KubeApiServer):
        pytest.skip("the embedded API server has no such race")
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")

    server.remove("CloudRunIdentity", scene.name, "checkout")

    becomes(lambda: scene.cloud.deleted_accounts(scene.name), ["checkout"])
    becomes(scene.ledger_targets, set())
    assert scene.policy() == {}
    assert scene.status(f"ManagedProject/{scene.name}").get("orphans", []) == []


def test_new_object_takes_over_from_one_removed_in_spite_of_its_finalizer(scene: Scene) -> None:
    server = scene.stage.kube_api
    if not isinstance(server, KubeApiServer):
        pytest.skip("the embedded API server has no such race")
    scene.apply(IDENTITY)
    scene.ready("CloudRunIdentity/checkout")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: true}")
    scene.fails("CloudRunIdentity/checkout", "Suspended")

    server.remove("CloudRunIdentity", scene.name, "checkout")
    scene.apply(IDENTITY.replace("{role: roles/viewer}", "{role: roles/logging.logWriter}"))
    scene.fails("CloudRunIdentity/checkout", "Suspended")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: false}")

    scene.ready("CloudRunIdentity/checkout")
    assert scene.cloud.deleted_accounts(scene.name) == []
    becomes(lambda: set(scene.policy()), {"roles/cloudsql.client", "roles/logging.logWriter"})
