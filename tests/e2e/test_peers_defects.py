"""Test that known defects of other IAM controllers do not occur here."""

from collections import Counter

from tests.e2e.eventually import becomes, eventually
from tests.e2e.manifests import VIEWERS
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
MEMBERS = 20


def team(numbers: range) -> str:
    """Return members of a binding as YAML."""
    return ", ".join(f'{{principal: "group:team-{number:02}@example.com"}}' for number in numbers)


def tombstones(scene: Scene) -> list[str]:
    """Return the deleted accounts in the project's policy."""
    members = (member for members in scene.policy().values() for member in members)
    return [member for member in members if member.startswith("deleted:")]


def test_config_connector_members_cost_reads_when_idle(scene: Scene) -> None:
    scene.patch(f"ManagedProject/{scene.name}", "spec: {driftInterval: 5m}")
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch("IAMBinding/viewers", f"spec: {{members: [{team(range(MEMBERS))}]}}")
    scene.ready("IAMBinding/viewers")

    before = scene.cloud.calls()
    scene.patch("IAMBinding/viewers", f"spec: {{members: [{team(range(MEMBERS + 1))}]}}")
    scene.ready("IAMBinding/viewers")
    assert scene.cloud.calls() - before == {"Projects/GetIamPolicy": 1, "Projects/SetIamPolicy": 1}

    def idle() -> Counter[str]:
        return scene.cloud.calls() - before

    before = scene.cloud.calls()
    scene.patch(f"ManagedProject/{scene.name}", "spec: {driftInterval: 1s}")
    calls = eventually(idle, lambda calls: calls["Projects/GetIamPolicy"] >= 2)
    assert calls["Projects/GetIamPolicy"] < MEMBERS
    assert calls["Projects/SetIamPolicy"] == 0


def test_config_connector_deletion_revokes_grants_of_other_objects(scene: Scene) -> None:
    scene.apply(VIEWERS)
    scene.apply(VIEWERS.replace("name: viewers", "name: twin"))
    scene.ready("IAMBinding/viewers", "IAMBinding/twin")
    before = scene.cloud.calls()

    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}
    assert (scene.cloud.calls() - before)["Projects/SetIamPolicy"] == 0, (
        "the grant was not removed in between"
    )
    scene.ready("IAMBinding/twin")


def test_config_connector_refused_member_blocks_the_others(scene: Scene) -> None:
    nobody = "serviceAccount:nobody@acme-shop.iam.gserviceaccount.com"
    scene.apply(VIEWERS.replace("name: viewers", "name: bad").replace("group:ops@example.com", nobody))
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    assert nobody in scene.fails("IAMBinding/bad", "Rejected")

    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "group:support@example.com"}]}')
    scene.ready("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:support@example.com"]}


def test_config_connector_recreated_account_has_no_access(scene: Scene) -> None:
    scene.apply(IDENTITY)
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")
    former = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
    scene.delete_and_wait("CloudRunIdentity/checkout")
    scene.fails("IAMBinding/clients", "DependencyNotFound")
    becomes(scene.policy, {})

    before = scene.cloud.calls()
    scene.apply(IDENTITY)
    scene.ready("IAMBinding/clients")

    recreated = scene.cloud.accounts(scene.name)["checkout"]["uniqueId"]
    assert recreated != former
    binding = scene.cloud.raw_policy(scene.project)["bindings"][0]
    assert binding["members"] == [scene.member("checkout")]
    assert list(binding["boundTo"].values()) == [recreated]
    assert (scene.cloud.calls() - before)["Projects/SetIamPolicy"] == 1


def test_config_connector_and_terraform_leak_tombstones(scene: Scene) -> None:
    foreign = scene.cloud.create_account(scene.name, "foreign")
    scene.cloud.add(scene.project, "roles/cloudsql.client", f"serviceAccount:{foreign}")
    scene.cloud.edit_account(foreign, "delete")
    theirs = tombstones(scene)
    assert len(theirs) == 1
    scene.apply(IDENTITY)
    scene.apply(CLIENTS)
    scene.ready("IAMBinding/clients")

    scene.delete_and_wait("CloudRunIdentity/checkout")
    becomes(lambda: tombstones(scene), theirs)
    scene.delete_and_wait("IAMBinding/clients")

    assert scene.policy() == {"roles/cloudsql.client": theirs}
    assert scene.ledger_targets() == set()


def test_config_connector_conditions_are_refused_on_cloud_run(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply("""
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: Service, location: europe-west1, name: shop}
  role: roles/run.invoker
  members: [{principal: "group:callers@example.com"}]
  condition: {title: this decade, expression: 'request.time < timestamp("2030-01-01T00:00:00Z")'}
""")

    scene.ready("IAMBinding/callers")

    assert scene.cloud.policy(service) == {"roles/run.invoker if this decade": ["group:callers@example.com"]}


def test_config_connector_worker_pools_have_no_iam(scene: Scene) -> None:
    pool = scene.cloud.deploy("workerPools", scene.name, "bookings")
    scene.cloud.add(pool, "roles/run.invoker", "user:ann@example.com")
    scene.apply("""
kind: IAMBinding
metadata: {name: callers}
spec:
  target: {kind: WorkerPool, location: europe-west1, name: bookings}
  role: roles/run.invoker
  members: [{principal: "group:callers@example.com"}]
""")
    scene.ready("IAMBinding/callers")
    assert scene.cloud.policy(pool) == {
        "roles/run.invoker": ["user:ann@example.com", "group:callers@example.com"]
    }

    scene.cloud.remove(pool, "roles/run.invoker", "group:callers@example.com")
    becomes(
        lambda: scene.cloud.policy(pool),
        {"roles/run.invoker": ["user:ann@example.com", "group:callers@example.com"]},
    )

    scene.delete_and_wait("IAMBinding/callers")
    assert scene.cloud.policy(pool) == {"roles/run.invoker": ["user:ann@example.com"]}


def test_equal_grants_are_counted_across_kinds_and_namespaces(scene: Scene) -> None:
    """The grant is removed with the last object that declares it."""
    neighbors = scene.add_namespace(f"{scene.name}-next")
    scene.patch(
        f"ManagedProject/{scene.name}", f"spec: {{namespaces: {{names: [{scene.name}, {neighbors}]}}}}"
    )
    scene.apply(
        IDENTITY.replace(
            "{}",
            f"""
  allowedNamespaces: [{neighbors}]
  roles: [{{role: roles/cloudsql.client}}]""",
        )
    )
    scene.apply(CLIENTS)
    by_reference = f"{{identityRef: {{name: checkout, namespace: {scene.name}}}}}"
    scene.apply(CLIENTS.replace("{identityRef: {name: checkout}}", by_reference), namespace=neighbors)
    scene.ready("CloudRunIdentity/checkout", "IAMBinding/clients")
    scene.ready("IAMBinding/clients", namespace=neighbors)
    granted = {"roles/cloudsql.client": [scene.member("checkout")]}
    (grant,) = scene.ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}")["bindings"][0][
        "members"
    ]
    assert len(grant["owners"]) == 3

    scene.patch("CloudRunIdentity/checkout", "spec: {roles: []}")
    scene.ready("CloudRunIdentity/checkout")
    assert scene.policy() == granted
    scene.delete_and_wait("IAMBinding/clients")
    assert scene.policy() == granted
    scene.delete("IAMBinding/clients", namespace=neighbors)
    scene.wait_until_deleted("IAMBinding/clients", namespace=neighbors)
    assert scene.policy() == {}
