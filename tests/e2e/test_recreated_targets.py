"""Test targets and members that others delete and create again under the same name."""

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

INVOKER = "roles/run.invoker"
USER = "roles/iam.serviceAccountUser"
WRITER = "roles/logging.logWriter"
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles: [{role: roles/logging.logWriter}]
"""
USERS = """
kind: IAMBinding
metadata: {name: users}
spec:
  target: {kind: ServiceAccount, identityRef: {name: checkout}}
  role: roles/iam.serviceAccountUser
  members: [{principal: "group:g0@example.com"}]
"""
CALLERS = f"""
kind: IAMBinding
metadata: {{name: callers}}
spec:
  target: {{kind: Service, location: {LOCATION}, name: shop}}
  role: roles/run.invoker
  members: [{{principal: "group:callers@example.com"}}]
"""
WRITERS = """
kind: IAMBinding
metadata: {name: writers}
spec:
  target: {kind: Project}
  role: roles/logging.logWriter
  members: [{principal: "serviceAccount:checkout@$scene.iam.gserviceaccount.com"}]
"""
RESYNCS = 3


def wait_for_resyncs(scene: Scene) -> None:
    """Wait until the operator has looked at the project several times."""
    before = scene.cloud.calls()["Projects/GetIamPolicy"]
    eventually(lambda: scene.cloud.calls()["Projects/GetIamPolicy"], lambda reads: reads > before + RESYNCS)


def entry_states(scene: Scene, full_name: str) -> list[str]:
    """Return the state of each entry of a ledger."""
    bindings = scene.ledger(full_name).get("bindings", ())
    return [member["state"] for binding in bindings for member in binding["members"]]


def test_account_of_another_person_keeps_its_policy(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(USERS)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/users")
    account = scene.account("checkout")
    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.fails("IAMBinding/users", "DependencyNotFound")
    becomes(lambda: entry_states(scene, f"//iam.googleapis.com/{account}"), ["Pending"])

    scene.cloud.create_account(scene.name, "checkout", "of another person")
    scene.cloud.add(account, USER, "group:g0@example.com")
    before = scene.cloud.raw_policy(account)
    scene.delete_and_wait("IAMBinding/users")

    assert scene.cloud.raw_policy(account) == before, "not written, not even without a difference"
    assert f"//iam.googleapis.com/{account}" not in scene.ledger_targets()


def test_recreated_service_gets_its_declared_grants_again(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(CALLERS)
    scene.ready("IAMBinding/callers")
    first = scene.ledger(f"//run.googleapis.com/{service}")["targetUID"]
    assert first == scene.cloud.workload(service)["uid"]

    scene.cloud.delete_workload(service)
    scene.fails("IAMBinding/callers", "WorkloadNotFound")
    assert entry_states(scene, f"//run.googleapis.com/{service}") == ["Pending"]
    scene.cloud.deploy("services", scene.name, "shop")

    becomes(lambda: scene.cloud.policy(service), {INVOKER: ["group:callers@example.com"]})
    scene.ready("IAMBinding/callers")
    second = scene.ledger(f"//run.googleapis.com/{service}")["targetUID"]
    assert second == scene.cloud.workload(service)["uid"] != first
    scene.delete_and_wait("IAMBinding/callers")
    assert scene.cloud.policy(service) == {}


def test_grant_by_another_person_on_a_recreated_service_stays(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(CALLERS)
    scene.ready("IAMBinding/callers")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: true}")
    scene.fails("IAMBinding/callers", "Suspended")
    scene.cloud.delete_workload(service)
    scene.cloud.deploy("services", scene.name, "shop")
    scene.cloud.add(service, INVOKER, "group:callers@example.com")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: false}")
    scene.ready("IAMBinding/callers")

    scene.delete_and_wait("IAMBinding/callers")

    assert scene.cloud.policy(service) == {INVOKER: ["group:callers@example.com"]}
    assert scene.ledger_targets() == set()


def test_identity_that_gives_up_its_account_leaves_the_grants_of_the_next(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(WRITERS)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/writers")
    scene.patch("CloudRunIdentity/checkout", "spec: {whenDeleted: Report}")
    scene.ready("CloudRunIdentity/checkout")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: true}")
    scene.fails("CloudRunIdentity/checkout", "Suspended")
    scene.cloud.edit_account(scene.email("checkout"), "delete")
    scene.cloud.create_account(scene.name, "checkout", "of the platform team")
    scene.cloud.add(scene.project, WRITER, scene.member("checkout"))
    scene.patch(f"ManagedProject/{scene.name}", "spec: {suspend: false}")
    assert "delete this object" in scene.fails("CloudRunIdentity/checkout", "Conflict")
    assert any(member.startswith("deleted:") for member in scene.policy()[WRITER])

    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.ready("IAMBinding/writers")
    becomes(scene.policy, {WRITER: [scene.member("checkout")]})
    scene.delete_and_wait("IAMBinding/writers")

    assert scene.policy() == {WRITER: [scene.member("checkout")]}
    assert "checkout" in scene.cloud.accounts(scene.name)


def test_idle_resync_reads_no_unique_id(scene: Scene) -> None:
    scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(IDENTITY)
    scene.apply(USERS)
    scene.apply(CALLERS)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/users", "IAMBinding/callers")
    wait_for_resyncs(scene)
    before = scene.cloud.calls()
    wait_for_resyncs(scene)
    calls = scene.cloud.calls() - before
    assert calls["Services/GetService"] == 0
    assert calls["IAM/GetServiceAccount"] == 0
    assert calls["Services/GetIamPolicy"] >= RESYNCS
