"""Test optional fields of bindings: existing grants, conditions, secrets."""

import pytest

from tests.e2e.cloud import LOCATION
from tests.e2e.eventually import becomes, eventually
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene

CALLERS = f"""
kind: IAMBinding
metadata: {{name: callers}}
spec:
  target: {{kind: Service, location: {LOCATION}, name: shop}}
  role: roles/run.invoker
  members: [{{principal: "group:callers@example.com"}}]
"""
OFFICE_HOURS = """
  condition: {title: office hours, expression: "request.time.getHours() < 18", description: "by day"}
"""
LOSSES = 5
"""Removals within an hour after which the operator reports a conflict."""

SECRET = "projects/acme-vault/secrets/stripe-key"
VAULT = """
kind: ManagedProject
metadata: {name: $scene-vault}
spec:
  projectID: acme-vault
  driftInterval: 1s
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - {roles: [roles/secretmanager.secretAccessor], targetKinds: [Secret], names: [stripe-*], members: ["*"]}
"""
ACCESSORS = """
kind: IAMBinding
metadata: {name: accessors}
spec:
  projectRef: {name: $scene-vault}
  target: {kind: Secret, name: stripe-key}
  role: roles/secretmanager.secretAccessor
  members: [{principal: "group:ops@example.com"}]
"""


CLAIMABLE = """
spec:
  guardrails:
    grants:
    - roles: [roles/viewer]
      targetKinds: [Project]
      members: ["group:*"]
      claim: true
      allowEscalation: true
"""


@pytest.mark.parametrize(
    ("existing_grants", "left"), [("Keep", {"roles/viewer": ["group:ops@example.com"]}), ("Claim", {})]
)
def test_existing_grant_is_removed_with_the_binding_only_if_claimed(
    scene: Scene, existing_grants: str, left: dict[str, list[str]]
) -> None:
    scene.patch(f"ManagedProject/{scene.name}", CLAIMABLE)
    scene.cloud.add(scene.project, "roles/viewer", "group:ops@example.com")
    scene.apply(VIEWERS + f"  existingGrants: {existing_grants}\n")
    scene.ready("IAMBinding/viewers")

    scene.delete_and_wait("IAMBinding/viewers")

    assert scene.policy() == left
    assert scene.ledger_targets() == set()


def test_role_with_and_without_condition_is_two_grants(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(CALLERS)
    scene.apply(CALLERS.replace("name: callers", "name: by-day") + OFFICE_HOURS)
    scene.ready("IAMBinding/callers", "IAMBinding/by-day")
    callers = ["group:callers@example.com"]
    assert scene.cloud.policy(service) == {
        "roles/run.invoker": callers,
        "roles/run.invoker if office hours": callers,
    }
    assert [grant["condition"] for grant in scene.status("IAMBinding/by-day")["grants"]] == ["office hours"]

    scene.delete_and_wait("IAMBinding/callers")
    assert scene.cloud.policy(service) == {"roles/run.invoker if office hours": callers}

    condition = '{title: office hours, expression: "request.time.getHours() < 20"}'
    scene.patch("IAMBinding/by-day", f"spec: {{condition: {condition}}}")
    scene.ready("IAMBinding/by-day")
    becomes(
        lambda: [
            binding["condition"]["expression"] for binding in scene.cloud.raw_policy(service)["bindings"]
        ],
        ["request.time.getHours() < 20"],
    )


def test_invoker_role_on_a_service_without_iam_check_is_reported(scene: Scene) -> None:
    service = scene.cloud.deploy("services", scene.name, "shop")
    scene.apply(CALLERS)
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles:
  - {role: roles/run.invoker, target: {kind: Service, location: europe-west1, name: shop}}
""")
    objects = ("IAMBinding/callers", "CloudRunIdentity/checkout")
    scene.ready(*objects)
    assert not any("issues" in scene.status(each) for each in objects)

    scene.cloud.update(service, invokerIamDisabled=True)
    for each in objects:
        (issue,) = eventually(lambda each=each: scene.status(each).get("issues", ()), bool)
        assert f"Service europe-west1/shop of project {scene.name} allows unauthenticated invocation" in issue
    scene.ready(*objects)

    scene.cloud.update(service, invokerIamDisabled=False)
    for each in objects:
        becomes(lambda each=each: scene.status(each).get("issues"), None)


def test_binding_on_a_secret_keeps_unmanaged_members(scene: Scene) -> None:
    billing = "group:billing@example.com"
    accessor = "roles/secretmanager.secretAccessor"
    scene.apply(VAULT)
    scene.apply(ACCESSORS)
    scene.apply(ACCESSORS.replace("name: accessors", "name: other").replace("stripe-key", "paypal-key"))
    scene.ready("IAMBinding/accessors")
    assert scene.status("IAMBinding/accessors")["target"] == "Secret stripe-key"
    assert scene.cloud.policy(SECRET) == {accessor: [billing, "group:ops@example.com"]}
    assert "paypal-key" in scene.fails("IAMBinding/other", "DeniedByGuardrail")

    scene.cloud.remove(SECRET, accessor, "group:ops@example.com")
    becomes(lambda: scene.cloud.policy(SECRET), {accessor: [billing, "group:ops@example.com"]})

    scene.delete_and_wait("IAMBinding/accessors")
    assert scene.cloud.policy(SECRET) == {accessor: [billing]}


def test_repeatedly_removed_grant_becomes_a_conflict(
    scene: Scene,
) -> None:
    scene.apply(VIEWERS)
    for _ in range(LOSSES):
        eventually(scene.policy, lambda policy: "roles/viewer" in policy)
        scene.cloud.remove(scene.project, "roles/viewer", "group:ops@example.com")

    message = scene.fails("IAMBinding/viewers", "Conflict")

    assert "another writer removes it repeatedly" in message
    assert scene.grants("IAMBinding/viewers") == {"group:ops@example.com": "Pending Conflict"}
    before = scene.cloud.calls()
    eventually(lambda: scene.cloud.calls() - before, lambda calls: calls["Projects/GetIamPolicy"] >= 2)
    assert scene.policy() == {}
