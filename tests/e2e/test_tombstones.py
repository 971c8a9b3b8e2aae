"""Test recreated accounts with the behavior that Google documented before 2020."""

from tests.e2e.eventually import becomes
from tests.e2e.scene import Scene

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec: {}
"""
CLIENTS = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members: [{identityRef: {name: checkout}}]
"""
BESIDE_A_TOMBSTONE = """
kind: IAMBinding
metadata: {name: clients}
spec:
  target: {kind: Project}
  role: roles/cloudsql.client
  members:
  - {principal: "group:ops@example.com"}
  - {principal: "serviceAccount:checkout@$scene.iam.gserviceaccount.com"}
"""


def test_stale_id_under_the_plain_email_is_removed_and_added_again(scene: Scene) -> None:
    with scene.cloud.switched(staleIds=True):
        scene.apply(IDENTITY)
        scene.apply(CLIENTS)
        scene.ready("IAMBinding/clients")
        former = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
        scene.patch("IAMBinding/clients", "spec: {suspend: true}")
        scene.fails("IAMBinding/clients", "Suspended")
        scene.delete_and_wait("CloudRunIdentity/checkout")
        scene.apply(IDENTITY)
        scene.ready("CloudRunIdentity/checkout")

        before = scene.cloud.calls()
        scene.patch("IAMBinding/clients", "spec: {suspend: false}")
        scene.ready("IAMBinding/clients")

        recreated = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
        (binding,) = scene.cloud.raw_policy(scene.project)["bindings"]
        assert binding["members"] == [scene.member("checkout")]
        assert binding["boundTo"] == {scene.member("checkout"): recreated}
        assert recreated != former
        assert (scene.cloud.calls() - before)["Projects/SetIamPolicy"] == 2, "one write would change nothing"


def test_grant_to_a_deleted_identity_is_removed_with_its_account(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(CLIENTS.replace("members: [", 'members: [{principal: "group:ops@example.com"}, '))
    scene.ready("IAMBinding/clients")

    scene.delete_and_wait("CloudRunIdentity/checkout")

    scene.fails("IAMBinding/clients", "DependencyNotFound")
    becomes(scene.policy, {"roles/cloudsql.client": ["group:ops@example.com"]})
    scene.apply(IDENTITY)
    scene.ready("IAMBinding/clients")
    assert scene.member("checkout") in scene.policy()["roles/cloudsql.client"]


def test_grant_beside_an_unmanaged_tombstone_is_refused_alone(scene: Scene) -> None:
    account = scene.cloud.create_account(scene.name, "checkout")
    scene.cloud.add(scene.project, "roles/browser", f"serviceAccount:{account}")
    scene.cloud.edit_account(account, "delete")
    theirs = scene.policy()
    (tombstone,) = theirs["roles/browser"]
    assert tombstone.startswith("deleted:")
    scene.cloud.create_account(scene.name, "checkout")

    with scene.cloud.switched(tombstoneConflict=True):
        scene.apply(BESIDE_A_TOMBSTONE)
        assert account in scene.fails("IAMBinding/clients", "Rejected")
        assert scene.grants("IAMBinding/clients") == {
            "group:ops@example.com": "Granted",
            scene.member("checkout"): "Rejected Rejected",
        }
        assert scene.policy() == theirs | {"roles/cloudsql.client": ["group:ops@example.com"]}
        scene.delete_and_wait("IAMBinding/clients")
        assert scene.policy() == theirs, "the unmanaged tombstone remains"
