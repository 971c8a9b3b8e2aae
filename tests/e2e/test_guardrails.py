"""Test guardrails: they deny by default, admit waiting objects, and retain grants when tightened."""

from tests.e2e.eventually import becomes, eventually
from tests.e2e.manifests import VIEWERS
from tests.e2e.scene import Scene

CLOSED = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1s
  namespaces: {names: [$scene]}
"""
OPENED = """
spec:
  guardrails:
    grants:
    - {roles: [roles/viewer], targetKinds: [Project], members: ["group:*@example.com"], allowEscalation: true}
"""


def test_denied_grant_is_made_once_a_guardrail_admits_it(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED)
    scene.apply(VIEWERS)
    message = scene.fails("IAMBinding/viewers", "DeniedByGuardrail")
    assert "roles/viewer on Project" in message
    assert "group:ops@example.com" in message
    assert scene.is_stalled("IAMBinding/viewers")
    assert scene.policy() == {}

    scene.patch(f"ManagedProject/{scene.name}", OPENED)
    scene.ready("IAMBinding/viewers")

    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}


def test_tightened_guardrail_retains_existing_grants(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED)
    scene.patch(f"ManagedProject/{scene.name}", OPENED)
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")

    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {grants: []}}")
    scene.fails("IAMBinding/viewers", "DeniedByGuardrail")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}

    scene.patch("IAMBinding/viewers", 'spec: {members: [{principal: "user:ann@example.com"}]}')
    scene.fails("IAMBinding/viewers", "DeniedByGuardrail")
    eventually(scene.policy, lambda policy: policy == {})


def test_retained_grants_are_released_by_deletion(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED)
    scene.patch(f"ManagedProject/{scene.name}", OPENED)
    scene.apply(VIEWERS)
    scene.ready("IAMBinding/viewers")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {namespaces: {names: [other]}}")
    scene.fails("IAMBinding/viewers", "DeniedByGuardrail")
    assert scene.policy() == {"roles/viewer": ["group:ops@example.com"]}

    scene.delete_and_wait("IAMBinding/viewers")
    assert scene.policy() == {}
    assert scene.ledger_targets() == set()


def test_namespace_gets_nothing_until_it_is_admitted(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED.replace("names: [$scene]", "names: [somebody-else]"))
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
""")
    message = scene.fails("CloudRunIdentity/checkout", "DeniedByGuardrail")
    assert f"does not admit namespace {scene.name}" in message
    assert scene.cloud.accounts(scene.name) == {}

    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{namespaces: {{names: [{scene.name}]}}}}")
    scene.ready("CloudRunIdentity/checkout")
    assert list(scene.cloud.accounts(scene.name)) == ["checkout"]


def test_escalating_role_needs_allow_escalation(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED)
    entry = '{roles: ["roles/*"], targetKinds: [Project], members: ["*"], allowEscalation: %s}'
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{grants: [{entry % 'false'}]}}}}")
    scene.apply(VIEWERS.replace("roles/viewer", "roles/run.admin"))
    message = scene.fails("IAMBinding/viewers", "DeniedByGuardrail")
    assert "without allowEscalation" in message
    assert scene.policy() == {}

    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{grants: [{entry % 'true'}]}}}}")
    scene.ready("IAMBinding/viewers")
    assert scene.policy() == {"roles/run.admin": ["group:ops@example.com"]}


ATTACKS = (
    "appengine.debugger",
    "cloudbuild.tokenAccessor",
    "container.developer",
    "dataform.editor",
    "iam.serviceAccountDeleter",
    "osconfig.osPolicyAssignmentAdmin",
    "resourcemanager.projectMover",
    "secretmanager.secretVersionAdder",
    "serviceusage.apiKeysViewer",
    "storagetransfer.user",
    "workstations.user",
)
"""Roles with which their holder gains further permissions, in services besides Cloud Run."""


def test_roles_of_known_attacks_are_denied_with_a_reason(closed_scene: Scene) -> None:
    scene = closed_scene
    scene.apply(CLOSED)
    entry = '{roles: ["roles/*"], targetKinds: [Project], members: ["*"]}'
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{grants: [{entry}]}}}}")
    for role in ATTACKS:
        manifest = VIEWERS.replace("roles/viewer", f"roles/{role}")
        scene.apply(manifest.replace("name: viewers", f"name: {role.lower()}"))

    for role in ATTACKS:
        message = scene.fails(f"IAMBinding/{role.lower()}", "DeniedByGuardrail")
        assert "without allowEscalation, because its holder can " in message
    assert scene.policy() == {}


def test_attachment_needs_a_workload_guardrail(closed_scene: Scene) -> None:
    scene = closed_scene
    service = scene.cloud.deploy("services", scene.name, "checkout")
    scene.apply(CLOSED)
    others = '{namespaces: [$scene], kinds: [Service], locations: ["*"], names: ["pricing*"]}'
    scene.apply(CLOSED + f"  guardrails: {{workloads: [{others}]}}\n")
    scene.apply("""
kind: CloudRunIdentity
metadata: {name: checkout}
---
kind: IdentityAttachment
metadata: {name: checkout}
spec:
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
""")
    assert "guardrails.workloads" in scene.fails("IdentityAttachment/checkout", "DeniedByGuardrail")
    assert scene.cloud.runs_as(service) != scene.email("checkout")

    scene.apply(CLOSED + f"  guardrails: {{workloads: [{others.replace('pricing', 'check')}]}}\n")
    scene.ready("IdentityAttachment/checkout")
    assert scene.cloud.runs_as(service) == scene.email("checkout")


def test_public_members_are_denied_by_default(closed_scene: Scene) -> None:
    scene = closed_scene
    service = scene.cloud.deploy("services", scene.name, "checkout")
    scene.apply(CLOSED)
    scene.apply("""
kind: IAMBinding
metadata: {name: everybody}
spec:
  target: {kind: Service, location: europe-west1, name: checkout}
  role: roles/run.invoker
  members: [{principal: allUsers}, {principal: "group:callers@example.com"}]
""")
    assert "allUsers" in scene.fails("IAMBinding/everybody", "DeniedByGuardrail")
    becomes(lambda: scene.cloud.policy(service), {"roles/run.invoker": ["group:callers@example.com"]})
    eventually(
        lambda: scene.grants("IAMBinding/everybody"),
        lambda grants: (
            grants == {"allUsers": "Rejected DeniedByGuardrail", "group:callers@example.com": "Granted"}
        ),
    )
