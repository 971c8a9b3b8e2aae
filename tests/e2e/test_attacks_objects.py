"""Attack with the objects themselves: their statuses, annotations, finalizers, sizes, texts and edits."""

import json
import subprocess

import pytest
from kubernetes.client import ApiException

from tests.e2e.eventually import becomes, eventually
from tests.e2e.tenants import ATTACH, ON_PROJECT, TO, Tenants

READS = ("Get", "List", "Test", "Query")
REFUSED_BINDING = ON_PROJECT % "roles/owner"
OWN_BINDING = TO % "{principal: 'group:mallory@example.com'}"
OWN_ATTACHMENT = ATTACH % ("mallory-web", "{name: mallory}")
ANNOTATED = "metadata: {annotations: %s}"
REQUESTED = "cloudrun-identity.dev/reconcile-requested-at"

FORGED_STATUSES = {
    "a binding: grants of others": (
        "IAMBinding",
        REFUSED_BINDING,
        "{grants: [{target: Project $scene, role: roles/run.invoker, member: 'user:ann@example.com', "
        "state: Granted}], target: Project $scene, role: roles/run.invoker}",
        "guardrails.grants",
    ),
    "a binding: another project": (
        "IAMBinding",
        REFUSED_BINDING,
        "{projectID: $vault}",
        "guardrails.grants",
    ),
    "an identity: an account of others": (
        "CloudRunIdentity",
        "{accountID: powerful, deletionPolicy: Delete, deletionProtection: None}",
        "{email: $powerful, uniqueID: '$powerful_id', origin: Created, projectID: $scene}",
        "exists already",
    ),
    "an identity: the account of another team": (
        "CloudRunIdentity",
        "{accountID: checkout, deletionPolicy: Delete, deletionProtection: None}",
        "{email: checkout@$scene.iam.gserviceaccount.com, origin: Created}",
        "another namespace",
    ),
    "a custom role: a role of others": (
        "CustomRole",
        "{roleID: opsHandmade, permissions: [run.jobs.get], adoption: Adopt, deletionPolicy: Delete}",
        "{name: projects/$scene/roles/opsHandmade, origin: Created, permissionCount: 1}",
        "does not list role opsHandmade",
    ),
    "an attachment: a workload of another team": (
        "IdentityAttachment",
        ATTACH.replace("{workload", "{deletionPolicy: Restore, workload", 1)
        % ("checkout", "{name: mallory}"),
        "{workload: Service europe-west1/checkout, previousServiceAccount: $powerful, "
        "currentServiceAccount: checkout@$scene.iam.gserviceaccount.com}",
        "guardrails.workloads",
    ),
    "a key: keys of others": (
        "IdentityKey",
        "{identityRef: {name: mallory}, secretName: stolen}",
        "{activeKeyID: $key, keys: [{id: $key, state: Active, createdTime: '2026-01-01T00:00:00Z'}]}",
        "guardrails.keys",
    ),
}
EDITS = {
    "a binding to another project": ("IAMBinding", OWN_BINDING, "{projectRef: {name: $vault}}"),
    "a binding to another target": (
        "IAMBinding",
        OWN_BINDING,
        "{target: {kind: Service, location: europe-west1, name: checkout}}",
    ),
    "an attachment to another workload": (
        "IdentityAttachment",
        OWN_ATTACHMENT,
        "{workload: {kind: Service, location: europe-west1, name: checkout}}",
    ),
    "an identity to another account": ("CloudRunIdentity", "{accountID: mallory-2}", "{accountID: powerful}"),
    "an identity to an account by its name": (
        "CloudRunIdentity",
        "{accountID: mallory-2}",
        "{accountID: null}",
    ),
    "an identity to another project": (
        "CloudRunIdentity",
        "{accountID: mallory-2}",
        "{projectRef: {name: $vault}}",
    ),
    "a role to another id": (
        "CustomRole",
        "{roleID: edited, permissions: [run.jobs.get]}",
        "{roleID: opsHandmade}",
    ),
}
FORGED_LINE = '{"level": "info", "event": "forged", "message": "forged"}'
TEXTS = {
    "line breaks": f"x\n{FORGED_LINE}\n",
    "a carriage return": f"x\r{FORGED_LINE}",
    "a line separator": f"x\u2028{FORGED_LINE}\u2029",
    "the end of a JSON string": f'x"}}\n{FORGED_LINE}',
    "control sequences of a terminal": "x\x1b[2J\x1b]0;forged\x07\x9b31m",
    "changes of direction": "x\u202eforged\u202c\u2066\u200b",
}
SHELL = {
    "quotes": "'; touch forged; '",
    "double quotes": '"; touch forged; "',
    "a substitution": "$(touch forged) `touch forged`",
    "line breaks": "true\ntouch forged\n",
    "another command": "true. To admit this, run: touch forged && kubectl patch managedproject x -p '{}'",
}


def strip(tenants: Tenants, name: str) -> None:
    """Delete a suspended object, which waits, and remove its finalizer by hand."""
    scene, mallory = tenants.scene, tenants.mallory
    scene.patch(name, "spec: {suspend: true}", namespace=mallory)
    scene.fails(name, "Suspended", namespace=mallory)
    scene.delete(name, namespace=mallory)
    scene.patch(name, "metadata: {finalizers: null}", namespace=mallory)
    scene.wait_until_deleted(name, namespace=mallory)


@pytest.mark.parametrize("title", FORGED_STATUSES)
def test_forged_status_of_a_refused_object_changes_nothing(tenants: Tenants, title: str) -> None:
    scene, (kind, spec, status, refusal) = tenants.scene, FORGED_STATUSES[title]
    account = scene.account("mallory")
    key = scene.cloud.create_key(account)
    unique_id = scene.cloud.accounts(scene.name)["powerful"]["uniqueId"]
    cloud, keys, before = tenants.cloud(), scene.cloud.keys(account), len(scene.cloud.log())
    name = tenants.apply(kind, spec, "forged-1")
    reason = "Conflict" if "accountID" in spec else "DeniedByGuardrail"
    scene.fails(name, reason, saying=refusal, namespace=tenants.mallory)

    forged = tenants.parsed(status.replace("$key", key).replace("$powerful_id", unique_id))
    scene.cluster.forge_status(kind, "forged-1", tenants.mallory, forged)
    scene.patch(name, ANNOTATED % f"{{{REQUESTED}: now}}", namespace=tenants.mallory)
    becomes(lambda: scene.status(name, namespace=tenants.mallory).get("lastHandledReconcileAt"), "now")
    ready = scene.condition(name, "Ready", namespace=tenants.mallory)
    assert ready is None or ready["status"] == "False"
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)

    assert tenants.cloud() == cloud
    assert scene.cloud.keys(account) == keys
    asked = [call["rpc"] for call in scene.cloud.log()[before:] if tenants.mallory in call["reason"]]
    assert [rpc for rpc in asked if not rpc.rpartition("/")[2].startswith(READS)] == []


@pytest.mark.parametrize("title", EDITS)
def test_edit_to_something_of_others_is_refused_by_the_api_server(tenants: Tenants, title: str) -> None:
    kind, spec, edit = EDITS[title]
    name = tenants.apply(kind, spec, "edited")
    # Until the operator has added its finalizer, a deletion does not wait for the cleanup.
    eventually(lambda: tenants.scene.condition(name, "Ready", namespace=tenants.mallory), bool)
    with pytest.raises(ApiException) as raised:
        tenants.scene.patch(name, f"spec: {tenants.text(edit)}", namespace=tenants.mallory)
    assert raised.value.status == 422
    assert "is immutable" in str(raised.value.body)
    tenants.scene.delete(name, namespace=tenants.mallory)
    tenants.scene.wait_until_deleted(name, namespace=tenants.mallory)


@pytest.mark.parametrize("kind", ["IAMBinding", "CloudRunIdentity", "IdentityAttachment", "CustomRole"])
def test_annotations_permit_nothing_that_was_refused(tenants: Tenants, kind: str) -> None:
    """`force-delete` is for an own identity in use, `release-orphans` for a ManagedProject."""
    scene, cloud = tenants.scene, tenants.cloud()
    spec, refusal = {
        "IAMBinding": (REFUSED_BINDING, "guardrails.grants"),
        "CloudRunIdentity": ("{accountID: checkout, deletionPolicy: Delete}", "another namespace"),
        "IdentityAttachment": (ATTACH % ("checkout", "{name: mallory}"), "guardrails.workloads"),
        "CustomRole": (
            "{roleID: opsHandmade, permissions: [run.jobs.get], adoption: Adopt}",
            "does not list role opsHandmade",
        ),
    }[kind]
    manifest = tenants.manifest(kind, spec, "annotated")
    manifest["metadata"]["annotations"] = {
        "cloudrun-identity.dev/force-delete": "true",
        "cloudrun-identity.dev/release-orphans": "*",
        REQUESTED: "x" * 100_000,
    }
    scene.apply(json.dumps(manifest).replace("$", "$$"))
    name = f"{kind}/annotated"
    reason = "Conflict" if kind == "CloudRunIdentity" else "DeniedByGuardrail"
    scene.fails(name, reason, saying=refusal, namespace=tenants.mallory)
    assert len(scene.status(name, namespace=tenants.mallory)["lastHandledReconcileAt"]) <= 256
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert tenants.cloud() == cloud


def test_stripped_finalizer_does_not_hide_a_grant(tenants: Tenants) -> None:
    """The ledger keeps what was granted. An object of the same name releases it."""
    scene, role = tenants.scene, "roles/cloudsql.client"
    name = tenants.apply("IAMBinding", OWN_BINDING, "stripped")
    scene.ready(name, namespace=tenants.mallory)
    strip(tenants, name)

    ledger = str(scene.ledger(f"//cloudresourcemanager.googleapis.com/{scene.project}"))
    assert f"IAMBinding/{tenants.mallory}/stripped" in ledger
    reported = f"granted for IAMBinding {tenants.mallory}/stripped, which is deleted"
    project = f"ManagedProject/{scene.name}"
    scene.patch(project, ANNOTATED % f"{{{REQUESTED}: stripped}}")
    becomes(lambda: reported in str(scene.status(project).get("orphans")), expected=True)

    tenants.apply("IAMBinding", OWN_BINDING.replace("mallory@", "mallet@"), "stripped")
    scene.ready(name, namespace=tenants.mallory)
    becomes(lambda: scene.policy()[role], expected=["group:mallet@example.com"])
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


def test_stripped_finalizer_of_a_refused_object_changes_nothing(tenants: Tenants) -> None:
    scene, cloud = tenants.scene, tenants.cloud()
    name = tenants.apply("CloudRunIdentity", "{accountID: checkout, deletionPolicy: Delete}", "stripped")
    scene.fails(name, "Conflict", saying="another namespace", namespace=tenants.mallory)
    strip(tenants, name)
    scene.patch("CloudRunIdentity/checkout", ANNOTATED % f"{{{REQUESTED}: after}}")
    becomes(lambda: scene.status("CloudRunIdentity/checkout").get("lastHandledReconcileAt"), "after")
    assert tenants.cloud() == cloud


def test_refusal_of_the_largest_object_fits_into_its_status(tenants: Tenants) -> None:
    subject = "principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p/subject/"
    count = 400
    members = ", ".join(f"{{principal: '{subject}{number}{'x' * 400}'}}" for number in range(count))
    scene = tenants.scene
    name = tenants.apply(
        "IAMBinding", f"{{target: {{kind: Project}}, role: roles/owner, members: [{members}]}}", "largest"
    )
    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert len(message) <= 32_768
    assert f"and {count - 5} more" in message
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)


@pytest.mark.parametrize("title", TEXTS)
def test_text_of_a_tenant_forges_no_line_of_the_log(tenants: Tenants, title: str) -> None:
    scene, text = tenants.scene, json.dumps(TEXTS[title])
    condition = f"{{title: {text}, description: {text}, expression: {text}}}"
    spec = f"{REFUSED_BINDING[:-1]}, condition: {condition}}}".replace("roles/owner", "roles/run.admin")
    texts = f"description: {text}"
    applied = {
        "IAMBinding": spec,
        "CustomRole": f"{{roleID: logged, title: {text}, {texts}, permissions: [storage.objects.get]}}",
        "CloudRunIdentity": f"{{accountID: powerful, adoption: Adopt, displayName: {text}, {texts}}}",
    }
    for kind, each in applied.items():
        manifest = tenants.manifest(kind, each.replace("$", "$$"), "logged")
        manifest["metadata"]["annotations"] = {REQUESTED: TEXTS[title]}
        scene.cluster.apply({"apiVersion": "cloudrun-identity.dev/v1alpha1", **manifest})
        name = f"{kind}/logged"
        message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
        assert message.isprintable(), "no invisible or control character"
        scene.delete(name, namespace=tenants.mallory)
        scene.wait_until_deleted(name, namespace=tenants.mallory)
    lines = list(scene.stage.logs())
    assert lines
    assert [line for line in lines if line.get("event") == "forged" or line.get("message") == "forged"] == []


@pytest.mark.parametrize("title", SHELL)
def test_proposed_command_does_not_run_what_a_tenant_wrote(tenants: Tenants, title: str) -> None:
    """An administrator pastes the command of a refusal, with texts of the tenant in it, into a shell."""
    scene, expression = tenants.scene, SHELL[title]
    spec = (ON_PROJECT % "roles/run.admin")[:-1]
    condition = f", condition: {{title: t, expression: {json.dumps(expression).replace('$', '$$')}}}}}"
    name = tenants.apply("IAMBinding", spec + condition, "shell")
    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert message.isprintable()
    assert f"under the condition {json.dumps(expression)} in namespace" in message
    command = message.partition(". To admit this (this permits privilege escalation)")[2].partition(": ")[2]
    shell = f"set -eu\ntouch() {{ exit 9; }}\nkubectl() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    ran = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    verb, kind, project, json_type, flag, patch, _ = ran.stdout.split("\0")
    assert (verb, kind, project, json_type, flag) == (
        "patch",
        "managedproject",
        scene.name,
        "--type=json",
        "-p",
    )
    [entry] = [each["value"] for each in json.loads(patch) if "grants" in each["path"]]
    assert entry["conditions"] == [expression]
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
