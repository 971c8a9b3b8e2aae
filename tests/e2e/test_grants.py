"""Test grants: beside unmanaged members, shared by objects, refused one at a time."""

import json

import pytest

from tests.e2e.eventually import becomes
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene
from tests.e2e.stage import OPERATOR_NAMESPACE

OFFICE_HOURS = {"title": "office hours", "expression": "request.time.getHours() < 18"}


def test_grants_are_added_without_changing_unmanaged_members(scene: Scene) -> None:
    foreign = {
        "bindings": [
            {"role": "roles/viewer", "members": ["user:zoe@example.com", "user:ann@example.com"]},
            {"role": "roles/owner", "members": ["user:dana@example.com"]},
            {"role": "roles/cloudsql.client", "members": ["user:ann@example.com"], "condition": OFFICE_HOURS},
        ],
        "auditConfigs": [{"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]}],
        "version": 3,
    }
    scene.cloud.write_policy(scene.project, foreign, update_mask="bindings,etag,auditConfigs")
    before = scene.cloud.raw_policy(scene.project)

    scene.apply(VIEWERS)
    scene.apply(VIEWERS.replace("viewers", "clients").replace("roles/viewer", "roles/cloudsql.client"))
    scene.ready("IAMBinding/viewers", "IAMBinding/clients")

    after = scene.cloud.raw_policy(scene.project)
    assert after["bindings"] == [
        before["bindings"][0] | {"members": [*before["bindings"][0]["members"], "group:ops@example.com"]},
        *before["bindings"][1:],
        {"role": "roles/cloudsql.client", "members": ["group:ops@example.com"]},
    ]
    assert after["auditConfigs"] == foreign["auditConfigs"]
    assert after["version"] == 3


def test_members_of_a_binding_can_be_replaced(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "group:support@example.com"}]}')
    scene.ready("IAMBinding/viewers")

    becomes(scene.policy, {"roles/viewer": ["group:support@example.com"]})
    assert scene.status("IAMBinding/viewers")["memberCount"] == 1


def test_deleting_a_binding_removes_its_grants_and_ledger(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/viewer", "user:ann@example.com")
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    assert scene.ledger_targets() == {f"//cloudresourcemanager.googleapis.com/{scene.project}"}

    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["user:ann@example.com"]}
    assert scene.ledger_targets() == set()


def test_existing_grant_remains_when_the_binding_is_deleted(scene: Scene) -> None:
    scene.cloud.add(scene.project, "roles/viewer", "group:ops@example.com")
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}
    assert scene.ledger_targets() == set()


def test_grant_of_two_bindings_remains_until_both_are_deleted(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.apply(VIEWERS.replace("name: viewers", "name: more-viewers"))
    scene.ready("IAMBinding/viewers", "IAMBinding/more-viewers")

    scene.delete_and_wait("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}

    scene.delete_and_wait("IAMBinding/more-viewers")
    assert scene.policy() == {}


def test_abandoned_binding_leaves_its_grants(scene: Scene) -> None:
    scene.apply(VIEWERS + "  deletionPolicy: Abandon\n")
    scene.ready("IAMBinding/viewers")

    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}
    assert scene.ledger_targets() == set()


def test_grant_revoked_while_the_operator_was_down_is_not_abandoned(scene: Scene) -> None:
    revoked, stays = {"principal": "user:revoked@example.com"}, {"principal": "user:stays@example.com"}
    scene.apply(VIEWERS)
    scene.patch("IAMBinding/viewers", json.dumps({"spec": {"members": [stays, revoked]}}))
    becomes(lambda: len(scene.policy().get("roles/viewer", ())), 2)
    scene.ready("IAMBinding/viewers")
    scene.stage.operator.kill()

    edit = {"spec": {"members": [stays], "deletionPolicy": "Abandon"}}
    scene.patch("IAMBinding/viewers", json.dumps(edit))
    scene.delete("IAMBinding/viewers")
    scene.stage.ensure_operator()

    scene.wait_until_deleted("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["user:stays@example.com"]}
    assert scene.ledger_targets() == set()


def test_last_owner_of_a_shared_grant_decides_whether_it_stays(scene: Scene) -> None:
    abandoning = VIEWERS.replace("name: viewers", "name: abandoning") + "  deletionPolicy: Abandon\n"
    scene.apply("---".join((VIEWERS, abandoning)))
    scene.ready("IAMBinding/viewers", "IAMBinding/abandoning")
    scene.delete_and_wait("IAMBinding/abandoning")
    scene.delete_and_wait("IAMBinding/viewers")
    assert scene.policy() == {}

    scene.apply("---".join((VIEWERS, abandoning)))
    scene.ready("IAMBinding/viewers", "IAMBinding/abandoning")
    scene.delete_and_wait("IAMBinding/viewers")
    scene.delete_and_wait("IAMBinding/abandoning")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_refused_member_is_rejected_alone(scene: Scene) -> None:
    nobody = "serviceAccount:nobody@acme-shop.iam.gserviceaccount.com"
    scene.apply(f"""
kind: IAMBinding
metadata: {{name: viewers}}
spec:
  target: {{kind: Project}}
  role: roles/viewer
  members:
  - principal: "group:ops@example.com"
  - principal: "{nobody}"
  - principal: "user:ann@example.com"
""")
    message = scene.fails("IAMBinding/viewers", "Rejected")

    assert nobody in message
    assert scene.is_stalled("IAMBinding/viewers")
    assert scene.grants("IAMBinding/viewers") == {
        nobody: "Rejected Rejected",
        "group:ops@example.com": "Granted",
        "user:ann@example.com": "Granted",
    }
    assert sorted(scene.policy()["roles/viewer"]) == ["group:ops@example.com", "user:ann@example.com"]


def test_invokers_are_granted_on_service_job_and_worker_pool(scene: Scene) -> None:
    workloads = {
        kind: scene.cloud.deploy(collection, scene.name, "checkout")
        for kind, collection in (("Service", "services"), ("Job", "jobs"), ("WorkerPool", "workerPools"))
    }
    for kind in workloads:
        scene.apply(f"""
kind: IAMBinding
metadata: {{name: {kind.lower()}}}
spec:
  target: {{kind: {kind}, location: europe-west1, name: checkout}}
  role: roles/run.invoker
  members: [{{principal: "group:callers@example.com"}}]
""")
    scene.ready(*(f"IAMBinding/{kind.lower()}" for kind in workloads))

    for workload in workloads.values():
        assert scene.cloud.policy(workload) == {"roles/run.invoker": ["group:callers@example.com"]}


def test_binding_waits_for_its_workload(scene: Scene) -> None:
    scene.apply("""
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: late}
  role: roles/run.invoker
  members: [{principal: "group:callers@example.com"}]
""")
    message = scene.fails("IAMBinding/callers", "WorkloadNotFound")
    assert "Service europe-west1/late" in message
    assert not scene.is_stalled("IAMBinding/callers")

    service = scene.cloud.deploy("services", scene.name, "late")
    scene.ready("IAMBinding/callers")

    assert scene.cloud.policy(service) == {"roles/run.invoker": ["group:callers@example.com"]}


def test_grants_of_a_lost_ledger_remain_and_are_reported(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    (ledger,) = (
        each["metadata"]["name"]
        for each in scene.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
        if each["spec"]["target"]["projectID"] == scene.name
    )
    scene.cluster.delete("PolicyLedger", ledger, OPERATOR_NAMESPACE)

    assert "group:ops@example.com" in scene.wait_for_event("IAMBinding/viewers", "NotRecorded")
    scene.delete_and_wait("IAMBinding/viewers")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


@pytest.mark.slow
def test_binding_has_as_many_members_as_a_policy(scene: Scene) -> None:
    listed = [f"user:member-{number:04}@example.com" for number in range(1500)]
    spec = {"target": {"kind": "Project"}, "role": "roles/viewer"}

    def apply(members: list[str]) -> None:
        named = [{"principal": member} for member in members]
        manifest = {"kind": "IAMBinding", "metadata": {"name": "everyone"}, "spec": spec | {"members": named}}
        scene.apply(json.dumps(manifest))

    apply(listed)
    scene.ready("IAMBinding/everyone")
    assert scene.policy() == {"roles/viewer": listed}
    status = scene.status("IAMBinding/everyone")
    assert (status["memberCount"], status["grantCounts"]["granted"]) == (1500, 1500)
    assert len(status["grants"]) == 100
    assert len(json.dumps(status)) < 64 << 10

    apply(listed[1:])
    becomes(scene.policy, {"roles/viewer": listed[1:]})

    scene.delete_and_wait("IAMBinding/everyone")
    assert scene.policy() == {}
