"""Attack in several steps: each of them looks harmless, or comes before another user's change."""

import json

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.stage import OPERATOR_NAMESPACE
from tests.e2e.tenants import ATTACH, ON_ACCOUNT, ON_PROJECT, RUN_AS, TO, Tenants

READS = ("Get", "List", "Test")
NOT_LISTED = ("DeniedByGuardrail", "guardrails.accounts")
OF_THE_THIEF = ("DependencyNotReady", "thief")
CLIENT = TO % "{principal: 'group:mallory@example.com'}"


def test_expanded_custom_role_is_not_granted_to_further_members(tenants: Tenants) -> None:
    scene, role = tenants.scene, f"{tenants.scene.project}/roles/widened"
    scene.cloud.create_role(scene.name, "widened", ["cloudsql.instances.connect"])
    name = tenants.apply("IAMBinding", ON_PROJECT % role, "widened")
    scene.ready(name, namespace=tenants.mallory)
    assert scene.policy()[role] == ["user:mallory@example.com"]

    scene.cloud.change_role(role, includedPermissions=["resourcemanager.projects.setIamPolicy"])
    two = "[{principal: 'user:mallory@example.com'}, {principal: 'user:mallet@example.com'}]"
    scene.patch(name, f"spec: {{members: {two}}}", namespace=tenants.mallory)

    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert "resourcemanager.projects.setIamPolicy" in message
    assert scene.policy()[role] == ["user:mallory@example.com"]
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert role not in scene.policy()


def test_forged_status_does_not_give_an_account(tenants: Tenants) -> None:
    scene, cloud = tenants.scene, tenants.cloud()
    powerful = scene.cloud.accounts(scene.name)["powerful"]
    name = tenants.apply("CloudRunIdentity", "{accountID: powerful, deletionPolicy: Delete}", "thief")
    scene.fails(name, "Conflict", saying="exists already", namespace=tenants.mallory)
    scene.cluster.forge_status(
        "CloudRunIdentity",
        "thief",
        tenants.mallory,
        {"email": powerful["email"], "uniqueID": powerful["uniqueId"], "origin": "Created"},
    )
    calls = scene.cloud.calls()
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)

    assert (scene.cloud.calls() - calls)["IAM/DeleteServiceAccount"] == 0
    assert tenants.cloud() == cloud


def test_forged_unique_id_does_not_undelete_an_unmanaged_account(tenants: Tenants) -> None:
    scene = tenants.scene
    email = scene.cloud.create_account(scene.name, "departed")
    unique_id = scene.cloud.accounts(scene.name)["departed"]["uniqueId"]
    scene.cloud.edit_account(email, "delete")
    calls = scene.cloud.calls()

    name = tenants.apply("CloudRunIdentity", "{accountID: departed, suspend: true}", "medium")
    scene.fails(name, "Suspended", namespace=tenants.mallory)
    scene.cluster.forge_status(
        "CloudRunIdentity", "medium", tenants.mallory, {"email": email, "uniqueID": unique_id}
    )
    scene.patch(name, "spec: {suspend: false}", namespace=tenants.mallory)
    scene.ready(name, namespace=tenants.mallory)

    assert scene.cloud.accounts(scene.name)["departed"]["uniqueId"] != unique_id
    assert (scene.cloud.calls() - calls)["IAM/UndeleteServiceAccount"] == 0
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


def test_forged_operation_does_not_read_another_project(tenants: Tenants) -> None:
    scene = tenants.scene
    attach = ATTACH % ("mallory-web", "{name: mallory}")
    name = tenants.apply("IdentityAttachment", attach, "web")
    scene.ready(name, namespace=tenants.mallory)
    calls = scene.cloud.calls()
    elsewhere = f"projects/{tenants.vault}/locations/europe-west1/operations/secret"
    scene.cluster.forge_status("IdentityAttachment", "web", tenants.mallory, {"operation": elsewhere})
    scene.patch(
        name,
        "metadata: {annotations: {cloudrun-identity.dev/reconcile-requested-at: now}}",
        namespace=tenants.mallory,
    )
    becomes(
        lambda: scene.status(name, namespace=tenants.mallory).get("lastHandledReconcileAt"),
        "now",
    )
    assert (scene.cloud.calls() - calls)["Operations/GetOperation"] == 0
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


def test_forged_history_does_not_attach_a_powerful_account(tenants: Tenants) -> None:
    scene = tenants.scene
    scene.cloud.deploy_as(tenants.service, "")
    scene.patch(f"ManagedProject/{scene.name}", "spec: {guardrails: {restoreToDefaultAccount: true}}")
    spec = ATTACH.replace("workload:", "deletionPolicy: Restore, workload:")
    name = tenants.apply("IdentityAttachment", spec % ("mallory-web", "{name: mallory}"), "past")
    scene.ready(name, namespace=tenants.mallory)
    forged = {"previousServiceAccount": scene.email("powerful")}
    scene.cluster.forge_status("IdentityAttachment", "past", tenants.mallory, forged)

    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert scene.cloud.runs_as(tenants.service) == tenants.text("$default")


def test_forged_history_does_not_attach_the_default_account(tenants: Tenants) -> None:
    scene = tenants.scene
    scene.cloud.deploy_as(tenants.service, scene.email("mallory"))
    spec = ATTACH.replace("workload:", "deletionPolicy: Restore, workload:")
    name = tenants.apply("IdentityAttachment", spec % ("mallory-web", "{name: mallory}"), "never-moved")
    scene.ready(name, namespace=tenants.mallory)
    moved = {"serviceAccount": scene.email("mallory"), "generation": 1, "time": "2026-01-01T00:00:00Z"}
    forged = {"previousServiceAccount": "", "lastReassignment": moved}
    scene.cluster.forge_status("IdentityAttachment", "never-moved", tenants.mallory, forged)

    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert scene.cloud.runs_as(tenants.service) == scene.email("mallory")


@pytest.mark.parametrize(
    ("kind", "spec", "refusal"),
    [
        ("IAMBinding", ON_ACCOUNT % "$powerful", NOT_LISTED),
        ("IAMBinding", ON_ACCOUNT.replace("email: %s", "identityRef: {name: thief}"), OF_THE_THIEF),
        ("IAMBinding", TO % "{identityRef: {name: thief}}", OF_THE_THIEF),
        ("IdentityAttachment", ATTACH % ("mallory-web", "{name: thief}"), OF_THE_THIEF),
        ("IdentityAttachment", RUN_AS % "$powerful", NOT_LISTED),
    ],
    ids=["target by e-mail", "target", "member", "attachment", "attachment by e-mail"],
)
def test_declaring_an_account_of_others_gives_no_use_of_it(
    tenants: Tenants, kind: str, spec: str, refusal: tuple[str, str]
) -> None:
    scene, cloud, (reason, saying) = tenants.scene, tenants.cloud(), refusal
    thief = tenants.apply("CloudRunIdentity", "{accountID: powerful}", "thief")
    scene.fails(thief, "Conflict", saying="exists already", namespace=tenants.mallory)
    name = tenants.apply(kind, spec, "use")
    scene.fails(name, reason, saying=saying, namespace=tenants.mallory)
    for each in (name, thief):
        scene.delete(each, namespace=tenants.mallory)
        scene.wait_until_deleted(each, namespace=tenants.mallory)
    assert tenants.cloud() == cloud


@pytest.mark.parametrize(
    ("kind", "spec", "account_id"),
    [
        ("IAMBinding", ON_ACCOUNT.replace("email: %s", "identityRef: {name: swapped-a}"), "swapped-a"),
        ("IdentityAttachment", ATTACH % ("mallory-web", "{name: swapped-b}"), "swapped-b"),
    ],
    ids=["target", "attachment"],
)
def test_account_recreated_by_others_is_not_used_by_reference(
    tenants: Tenants, kind: str, spec: str, account_id: str
) -> None:
    """Mallory's account is deleted, and the platform team creates one with the same e-mail."""
    scene = tenants.scene
    identity = tenants.apply("CloudRunIdentity", f"{{accountID: {account_id}}}", account_id)
    scene.ready(identity, namespace=tenants.mallory)
    scene.cloud.edit_account(scene.email(account_id), "delete")
    scene.cloud.create_account(scene.name, account_id, "made by the platform team")
    cloud = tenants.cloud()

    name = tenants.apply(kind, spec, "swapped-use")  # before the operator looks at the account again
    message = scene.fails(name, "DependencyNotReady", namespace=tenants.mallory)
    assert "was deleted and created again by another client" in message
    assert tenants.cloud() == cloud
    for each in (name, identity):
        scene.delete(each, namespace=tenants.mallory)
        scene.wait_until_deleted(each, namespace=tenants.mallory)
    assert tenants.cloud() == cloud


def test_ledger_in_a_tenant_namespace_is_ignored(tenants: Tenants) -> None:
    scene, cloud = tenants.scene, tenants.cloud()
    [genuine] = [
        ledger
        for ledger in scene.cluster.all("PolicyLedger", OPERATOR_NAMESPACE)
        if ledger["spec"]["target"].get("name") == scene.email("mallory")
    ]
    spec = json.loads(json.dumps(genuine["spec"]).replace("mallory@", "powerful@"))
    spec["account"]["owner"] = f"{tenants.mallory}/heir"
    scene.cluster.create(
        {
            "apiVersion": genuine["apiVersion"],
            "kind": "PolicyLedger",
            "metadata": {
                "name": genuine["metadata"]["name"].replace("mallory", "powerful"),
                "namespace": tenants.mallory,
            },
            "spec": spec,
        }
    )

    name = tenants.apply("CloudRunIdentity", "{accountID: powerful, deletionPolicy: Delete}", "heir")
    assert "exists already" in scene.fails(name, "Conflict", namespace=tenants.mallory)
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert tenants.cloud() == cloud


def test_second_managed_project_delegates_nothing(tenants: Tenants) -> None:
    scene, before = tenants.scene, len(tenants.scene.cloud.log())
    second = f"{tenants.vault}-2"
    scene.apply(f"""
kind: ManagedProject
metadata: {{name: {second}}}
spec:
  projectID: {tenants.vault}
  driftInterval: 1h
  namespaces: {{names: [{tenants.mallory}]}}
  guardrails: {{grants: [{{roles: ["*"], targetKinds: [Project], members: ["*"], allowEscalation: true}}]}}
""")
    assert f"ManagedProject {tenants.vault}" in scene.fails(f"ManagedProject/{second}", "Conflict")

    spec = "{projectRef: {name: %s}, target: {kind: Project}, role: roles/run.admin, members: [%s]}"
    name = tenants.apply("IAMBinding", spec % (second, "{principal: 'user:mallory@example.com'}"), "second")
    scene.fails(name, "DependencyNotReady", saying=f"ManagedProject {second}", namespace=tenants.mallory)

    reasons = {call["reason"] for call in scene.cloud.log()[before:]}
    assert not {each for each in reasons if f"/{second}@" in each or f"/{tenants.mallory}/" in each}
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    scene.delete_and_wait(f"ManagedProject/{second}")


def test_namespace_admitted_by_label_gains_no_workload(tenants: Tenants) -> None:
    scene, project = tenants.scene, f"{tenants.vault}-w"
    workload = scene.cloud.deploy("services", project, "web")
    scene.cluster.label_namespace(scene.name, team="web")
    scene.apply(f"""
kind: ManagedProject
metadata: {{name: {project}}}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {{selector: {{matchLabels: {{team: web}}}}}}
---
kind: IAMBinding
metadata: {{name: callers}}
spec:
  projectRef: {{name: {project}}}
  target: {{kind: Service, location: europe-west1, name: web}}
  role: roles/run.invoker
  members: [{{principal: "group:callers@example.com"}}]
""")
    scene.ready("IAMBinding/callers")

    scene.cluster.label_namespace(tenants.mallory, team="web")
    spec = "{projectRef: {name: %s}, target: {kind: Service, location: europe-west1, name: web}, "
    rest = "role: roles/run.invoker, members: [{principal: 'user:mallory@example.com'}]}"
    name = tenants.apply("IAMBinding", spec % project + rest, "callers")
    both = "2 namespaces are admitted"
    scene.fails(name, "DeniedByGuardrail", saying=both, namespace=tenants.mallory)
    scene.ready("IAMBinding/callers")
    assert scene.cloud.policy(workload) == {"roles/run.invoker": ["group:callers@example.com"]}

    scene.cluster.label_namespace(tenants.mallory, team=None)
    scene.fails(name, "DeniedByGuardrail", saying="does not admit", namespace=tenants.mallory)
    scene.ready("IAMBinding/callers")
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


def test_excluded_namespace_retains_grants_and_gets_no_more(tenants: Tenants) -> None:
    scene, project = tenants.scene, f"ManagedProject/{tenants.scene.name}"
    name = tenants.apply("IAMBinding", CLIENT, "clients")
    scene.ready(name, namespace=tenants.mallory)
    cloud, calls = tenants.cloud(), scene.cloud.calls()

    scene.patch(project, f"spec: {{namespaces: {{names: [{scene.name}]}}}}")
    not_admitted = f"does not admit namespace {tenants.mallory}"
    scene.fails(name, "DeniedByGuardrail", saying=not_admitted, namespace=tenants.mallory)
    scene.patch(name, "spec: {members: [{principal: 'group:more@example.com'}]}", namespace=tenants.mallory)
    scene.fails(name, "DeniedByGuardrail", saying=not_admitted, namespace=tenants.mallory)
    assert tenants.cloud() == cloud
    writes = {each for each in scene.cloud.calls() - calls if not each.rpartition("/")[2].startswith(READS)}
    assert writes == set()

    scene.patch(project, f"spec: {{namespaces: {{names: [{scene.name}, {tenants.mallory}]}}}}")
    scene.ready(name, namespace=tenants.mallory)
    eventually(scene.policy, lambda policy: policy["roles/cloudsql.client"] == ["group:more@example.com"])
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


@pytest.mark.parametrize(
    ("brake", "reason", "may_call"),
    [
        ("suspend: true", "Suspended", ()),
        ("managementPolicy: Observe", "DriftDetected", READS),
    ],
    ids=["suspend", "Observe"],
)
def test_suspend_and_observe_of_a_project_apply_to_all_objects(
    tenants: Tenants, brake: str, reason: str, may_call: tuple[str, ...]
) -> None:
    scene, project = tenants.scene, f"ManagedProject/{tenants.scene.name}"
    scene.patch(project, f"spec: {{{brake}}}")
    if may_call:
        scene.ready(project)
    else:
        scene.fails(project, reason)
    cloud, name = tenants.cloud(), reason.lower()
    names = (f"IAMBinding/{name}", f"CloudRunIdentity/{name}")

    tenants.apply("IAMBinding", CLIENT, name)
    tenants.apply("CloudRunIdentity", "{accountID: braked-1}", name)
    for each in names:
        scene.fails(each, reason, namespace=tenants.mallory)

    assert tenants.cloud() == cloud
    called = tenants.calls_for(names[0])  # and for the identity, which has the same name
    assert [each for each in called if not each.rpartition("/")[2].startswith(may_call)] == []
    scene.patch(project, "spec: {suspend: false, managementPolicy: Manage}")
    for each in names:
        scene.ready(each, namespace=tenants.mallory)
        scene.delete(each, namespace=tenants.mallory)
        scene.wait_until_deleted(each, namespace=tenants.mallory)
