"""Attack what guardrails give to another team: accounts, roles, grants and keys. Paste what refusals propose.

Mallory has full rights in a namespace that shares the project. Each attack states what the operator may ask
Google Cloud, and what Mallory reads.
"""

import pytest
from kubernetes.client import ApiException

from tests.e2e.eventually import eventually
from tests.e2e.tenants import (
    ATTACH,
    ON_ACCOUNT,
    READING_A_ROLE,
    RUN_AS,
    Attempt,
    Tenants,
)

AUDITOR = "user:auditor@example.com"
VIEWER = "roles/run.viewer"
BINDING = (
    "{target: {kind: Project}, role: roles/run.viewer, existingGrants: %s, "
    "members: [{principal: 'user:auditor@example.com'}]}"
)
"""A role that an entry for every namespace admits, without `claim`."""

ADOPTING = "{roleID: %s, permissions: [run.jobs.get], adoption: Adopt}"

ATTACKS = {
    "adopt an account that is meant for another team": Attempt(
        "{accountID: legacy, adoption: Adopt, tokenCreators: [{principal: 'user:mallory@example.com'}]}",
        "guardrails.adoptableAccounts of ManagedProject $scene does not list $legacy for namespace $mallory",
        "CloudRunIdentity",
        may_call=(READING_A_ROLE,),
    ),
    "grant on an account that is meant for another team": Attempt(
        ON_ACCOUNT % "$legacy",
        "guardrails.accounts of ManagedProject $scene does not list $legacy for namespace $mallory",
        may_call=(READING_A_ROLE,),
    ),
    "run as an account that is meant for another team": Attempt(
        RUN_AS % "$legacy",
        "guardrails.accounts of ManagedProject $scene does not list $legacy for namespace $mallory",
        "IdentityAttachment",
    ),
    "adopt a role that is meant for another team": Attempt(
        ADOPTING % "opsHandmade",
        "guardrails.adoptableRoles of ManagedProject $scene does not list role opsHandmade for namespace",
        "CustomRole",
    ),
    "adopt a role that no entry lists": Attempt(
        ADOPTING % "harmless", "does not list role harmless", "CustomRole"
    ),
    "claim a grant without an entry that permits it": Attempt(
        BINDING % "Claim",
        "without claim, because spec.existingGrants is Claim",
        may_call=(READING_A_ROLE,),
    ),
    "claim a grant by observing it": Attempt(
        (BINDING % "Claim").replace("{target", "{managementPolicy: Observe, target"),
        "without claim",
        may_call=(READING_A_ROLE,),
    ),
    "make keys where no entry permits them": Attempt(
        "{identityRef: {name: mallory}, secretName: stolen}", "guardrails.keys", "IdentityKey"
    ),
}


@pytest.mark.parametrize("attempt", ATTACKS.values(), ids=ATTACKS)
def test_attack_is_refused_without_calls_to_google(tenants: Tenants, attempt: Attempt) -> None:
    tenants.refuse(attempt)


@pytest.mark.parametrize(
    "edit",
    ["{existingGrants: Claim}", "{existingGrants: Claim, members: [{principal: 'user:other@example.com'}]}"],
    ids=["and deleted", "and emptied"],
)
def test_binding_that_is_edited_to_claim_leaves_grants_of_others(tenants: Tenants, edit: str) -> None:
    scene = tenants.scene
    scene.cloud.add(scene.project, VIEWER, AUDITOR)
    name = tenants.apply("IAMBinding", BINDING % "Keep", "claimant")
    scene.ready(name, namespace=tenants.mallory)
    before = len(scene.cloud.log())

    scene.patch(name, f"spec: {edit}", namespace=tenants.mallory)
    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert "without claim" in message
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)

    assert scene.policy()[VIEWER] == [AUDITOR]
    written = [call for call in scene.cloud.log()[before:] if call["rpc"].endswith("/SetIamPolicy")]
    assert not [call for call in written if tenants.mallory in call["reason"]]
    scene.cloud.remove(scene.project, VIEWER, AUDITOR)


def test_accounts_of_the_operator_keep_their_grants(tenants: Tenants) -> None:
    """The entry even permits claims; the grants are released by deletion and by an edit."""
    scene, member = tenants.scene, f"serviceAccount:{tenants.scene.email('credential')}"
    project = scene.get(f"ManagedProject/{scene.name}")
    assert project is not None
    before = project["spec"]["guardrails"]["grants"]
    entry = {
        "roles": [VIEWER, "roles/cloudsql.client"],
        "targetKinds": ["Project"],
        "members": ["*"],
        "namespaces": [tenants.mallory],
        "claim": True,
    }
    admitting = {"spec": {"guardrails": {"grants": [*before, entry]}}}
    scene.cluster.patch("ManagedProject", scene.name, "", admitting)
    scene.cloud.add(scene.project, VIEWER, member)
    scene.cloud.add(scene.project, VIEWER, AUDITOR)
    both = f"[{{principal: '{member}'}}, {{principal: '{AUDITOR}'}}]"
    spec = f"{{target: {{kind: Project}}, role: %s, existingGrants: Claim, members: {both}}}"
    existing = tenants.apply("IAMBinding", spec % VIEWER, "existing")
    own = tenants.apply("IAMBinding", spec % "roles/cloudsql.client", "own")
    for name in (existing, own):
        scene.ready(name, namespace=tenants.mallory)

    scene.patch(own, f"spec: {{members: [{{principal: '{AUDITOR}'}}]}}", namespace=tenants.mallory)
    scene.ready(own, namespace=tenants.mallory)
    for name in (existing, own):
        scene.delete(name, namespace=tenants.mallory)
        scene.wait_until_deleted(name, namespace=tenants.mallory)

    assert scene.policy()[VIEWER] == [member]
    assert scene.policy()["roles/cloudsql.client"] == [member]
    for role in (VIEWER, "roles/cloudsql.client"):
        scene.cloud.remove(scene.project, role, member)
    scene.cluster.patch("ManagedProject", scene.name, "", {"spec": {"guardrails": {"grants": before}}})


def test_role_of_an_operator_account_is_not_adopted_though_listed(tenants: Tenants) -> None:
    scene, role = tenants.scene, f"{tenants.scene.project}/roles/operators"
    scene.cloud.create_role(scene.name, "operators", ["run.jobs.get", "run.jobs.list"])
    scene.cloud.add(scene.project, role, f"serviceAccount:{scene.email('credential')}")
    listed = f"[{{roleID: 'operators', namespaces: ['{tenants.mallory}']}}]"
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableRoles: {listed}}}}}")
    before = scene.cloud.role(role)

    name = tenants.apply("CustomRole", ADOPTING % "operators", "operators")
    message = scene.fails(name, "DeniedByGuardrail", saying="the operator acts as", namespace=tenants.mallory)
    assert scene.email("credential") in message
    assert "kubectl patch" not in message
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert scene.cloud.role(role) == before


def test_adopted_role_is_left_when_its_object_is_deleted(tenants: Tenants) -> None:
    scene, role = tenants.scene, f"{tenants.scene.project}/roles/inherited"
    scene.cloud.create_role(scene.name, "inherited", ["run.jobs.get"])
    listed = f"[{{roleID: 'inherited', namespaces: ['{tenants.mallory}']}}]"
    scene.patch(f"ManagedProject/{scene.name}", f"spec: {{guardrails: {{adoptableRoles: {listed}}}}}")
    name = tenants.apply("CustomRole", ADOPTING % "inherited", "inherited")
    scene.ready(name, namespace=tenants.mallory)
    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    found = scene.cloud.role(role)
    assert found is not None
    assert not found.get("deleted")


def test_replaced_account_is_not_taken_over_without_an_entry(tenants: Tenants) -> None:
    scene = tenants.scene
    name = tenants.apply("CloudRunIdentity", "{accountID: replaced}", "replaced")
    scene.ready(name, namespace=tenants.mallory)
    scene.cloud.edit_account(scene.email("replaced"), "delete")
    scene.cloud.create_account(scene.name, "replaced", "made by the platform team")
    account, calls = scene.account("replaced"), tenants.calls_for()

    takeover = "{whenReplaced: Regrant, tokenCreators: [{principal: 'user:mallory@example.com'}]}"
    scene.patch(name, f"spec: {takeover}", namespace=tenants.mallory)
    message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
    assert "spec.whenReplaced: guardrails.adoptableAccounts" in message
    assert scene.cloud.policy(account) == {}

    scene.delete(name, namespace=tenants.mallory)
    scene.wait_until_deleted(name, namespace=tenants.mallory)
    assert "replaced" in scene.cloud.accounts(scene.name)
    asked = tenants.calls_for() - calls
    assert not [rpc for rpc in asked if rpc.startswith(("IAM/Set", "IAM/Delete", "IAM/Patch", "IAM/Enable"))]


ADVISED = """
kind: ManagedProject
metadata: {name: %s}
spec:
  projectID: %s
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [%s, %s]}
"""
WANTED = {
    "CustomRole": "{roleID: stepper, permissions: [run.jobs.runWithOverrides, run.jobs.get]}",
    "IAMBinding": (
        "{target: {kind: Project}, role: roles/run.admin, authority: Exclusive, existingGrants: Claim, "
        "members: [{principal: 'user:ann@example.com'}, {principal: \"group:o'hara@example.com\"}], "
        "condition: {title: hours, expression: \"request.time.getHours() < 18 && 'a' != 'b'\"}}"
    ),
    "IdentityAttachment": ATTACH % ("web", "{name: runner}"),
    "CloudRunIdentity": (
        "{accountID: legacy-pay, adoption: Adopt, roles: [{role: roles/run.admin}, {role: roles/viewer}], "
        "tokenCreators: [{principal: 'user:ann@example.com'}], existingGrants: Claim}"
    ),
    "IdentityKey": "{identityRef: {name: runner}, secretName: delivered}",
}


def test_patch_of_a_refusal_admits_the_object_when_pasted(tenants: Tenants) -> None:
    """One paste is enough for each object, whatever it lacks: entries, flags, accounts, roles or keys."""
    scene, project = tenants.scene, f"{tenants.vault}-a"
    scene.cloud.deploy("services", project, "web")
    scene.cloud.create_account(project, "legacy-pay")
    scene.apply(ADVISED % (project, project, tenants.mallory, scene.name))
    scene.ready(f"ManagedProject/{project}")
    runner = tenants.apply(
        "CloudRunIdentity", f"{{projectRef: {{name: {project}}}, accountID: runner}}", "runner"
    )
    scene.ready(runner, namespace=tenants.mallory)

    for kind, spec in WANTED.items():
        name = tenants.apply(kind, spec.replace("{", f"{{projectRef: {{name: {project}}}, ", 1), "wanted")
        message = scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory)
        scene.run_proposed(message)
        scene.ready(name, namespace=tenants.mallory)
        assert ("this permits privilege escalation" in message) is ("run.jobs" in spec or "run.admin" in spec)

    scene.register_projects([project])


def test_patch_that_was_overtaken_by_an_edit_is_refused(tenants: Tenants) -> None:
    scene, project = tenants.scene, f"{tenants.vault}-o"
    scene.cloud.add(f"projects/{project}", VIEWER, AUDITOR)
    scene.apply(ADVISED % (project, project, tenants.mallory, scene.name))
    name = tenants.apply(
        "IAMBinding", (BINDING % "Keep").replace("{", f"{{projectRef: {{name: {project}}}, ", 1)
    )
    message = scene.fails(name, "DeniedByGuardrail", saying="kubectl", namespace=tenants.mallory)
    mine = [{"roles": [VIEWER], "targetKinds": ["Project"], "members": ["group:a@b.c"], "namespaces": ["x"]}]
    scene.cluster.patch("ManagedProject", project, "", {"spec": {"guardrails": {"grants": mine}}})

    with pytest.raises(ApiException):
        scene.run_proposed(message)
    kept = scene.get(f"ManagedProject/{project}")
    assert kept is not None
    assert kept["spec"]["guardrails"]["grants"] == mine

    fresh = scene.fails(name, "DeniedByGuardrail", saying="/grants/-", namespace=tenants.mallory)
    newest = eventually(
        lambda: scene.fails(name, "DeniedByGuardrail", namespace=tenants.mallory),
        lambda message: "metadata/generation" not in message,
    )
    assert fresh
    scene.run_proposed(newest)
    scene.ready(name, namespace=tenants.mallory)
    scene.register_projects([project])
