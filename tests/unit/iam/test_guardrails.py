"""Test which entry of `guardrails.grants` admits a grant, and the refusal without one."""

from dataclasses import replace
from typing import Any

import pytest

from cloudrun_identity.iam.admission import Admitted, DeclaredIdentity, Denied
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import IAMCondition
from cloudrun_identity.iam.guardrail_entries import invalid_entries
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.proposals import patch_command
from tests.unit.iam.guardrail_requests import (
    FLOW_RUNNER,
    LEGACY_EMAIL,
    OWN_ACCOUNT,
    POOL,
    PROJECT,
    PUBLIC,
    RUNNER,
    RUNNER_EMAIL,
    SERVICE,
    TYPEWIDE,
    decided,
    entry,
    guardrail_facts,
    is_admitted,
    project,
    reason,
    request,
)
from tests.unit.iam.patches import patched


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
@pytest.mark.parametrize("member", [RUNNER, f"serviceAccount:{RUNNER_EMAIL}"])
def test_entry_admits_the_roles_that_it_lists(role: str, member: str | DeclaredIdentity) -> None:
    assert is_admitted(request(role, member=member), project(FLOW_RUNNER))


@pytest.mark.parametrize("role", ["roles/run.admin", "roles/iam.serviceAccountUser"])
def test_escalating_role_requires_allow_escalation(role: str) -> None:
    assert not is_admitted(request(role), project(FLOW_RUNNER | {"allowEscalation": False}))


def test_refusal_names_the_grant_and_proposes_an_admitting_entry() -> None:
    denied = decided(request("roles/run.admin"), project())
    assert reason(denied) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner in namespace flows; an entry for it needs "
        "allowEscalation, because its holder can run any command as a job's identity, can grant any role to "
        "any principal (run.jobs.runWithOverrides, run.jobs.setIamPolicy, run.services.setIamPolicy and 1 "
        "more)"
    )
    assert isinstance(denied, Denied)
    assert patch_command(denied.proposals) == (
        "kubectl patch managedproject payments-prod --type=json -p "
        """'[{"op":"test","path":"/metadata/generation","value":3},"""
        """{"op":"add","path":"/spec/guardrails/grants","value":[]},"""
        """{"op":"add","path":"/spec/guardrails/grants/-","value":{"roles":["roles/run.admin"],"""
        """"targetKinds":["Project"],"members":["identity:flows/prefect-runner"],"namespaces":["flows"],"""
        """"allowEscalation":true}}]'"""
    )


def test_refusal_for_escalation_names_permissions_and_reasons() -> None:
    managed_project = project(FLOW_RUNNER | {"allowEscalation": False})
    assert reason(decided(request("roles/run.admin"), managed_project)) == (
        "guardrails.grants of ManagedProject payments-prod does not admit roles/run.admin on Project "
        "payments-prod-1234 for identity:flows/prefect-runner in namespace flows, without allowEscalation, "
        "because its holder can run any command as a job's identity, can grant any role to any principal "
        "(run.jobs.runWithOverrides, run.jobs.setIamPolicy, run.services.setIamPolicy and 1 more)"
    )


def test_refusal_has_everything_that_is_lacking_on_a_workload() -> None:
    invoked = replace(request("roles/run.invoker", SERVICE), exclusive=True, claim=True)
    managed_project = project(names=("flows", "shop"))
    both = guardrail_facts("flows", "shop")
    denied = decide(invoked, managed_project, both)
    assert "guardrails.workloads" in reason(denied)
    assert "guardrails.grants" in reason(denied)
    assert isinstance(denied, Denied)
    assert decide(invoked, patched(managed_project, denied), both) == Admitted()


def test_refusals_that_differ_in_members_become_one_entry() -> None:
    denials = [decided(request(member=member), project()) for member in ("user:a@x.com", "user:b@x.com")]
    proposals = [each for denied in denials if isinstance(denied, Denied) for each in denied.proposals]
    command = patch_command(proposals)
    assert command.count("/spec/guardrails/grants/-") == 1
    assert '"members":["user:a@x.com","user:b@x.com"]' in command


def test_entry_without_target_kinds_admits_nothing_and_is_named() -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"}
    decision = decided(request("roles/run.admin"), project(entry(), incomplete))
    assert decision == Denied(
        "spec.guardrails.grants[1] of ManagedProject payments-prod has no targetKinds and admits nothing; "
        "add targetKinds: [Project] to it",
        invalid_entry=True,
    )
    assert list(map(str, invalid_entries(project(entry(), incomplete)))) == [
        "spec.guardrails.grants[1] has no targetKinds and admits nothing"
    ]


def test_entry_without_namespaces_needs_a_project_of_one_namespace() -> None:
    assert is_admitted(request(), project(entry()))
    shared = project(entry(), names=("flows", "shop"))
    assert decided(request(), shared) == Denied(
        "spec.guardrails.grants[0] of ManagedProject payments-prod has no namespaces and admits nothing; "
        "add the namespaces that it is for to it",
        invalid_entry=True,
    )
    assert is_admitted(request(), project(entry(namespaces=["*"]), names=("flows", "shop")))


@pytest.mark.parametrize("lacking", [{"members": ["group:none@example.com"]}, {"allowEscalation": False}])
def test_entry_that_would_not_suffice_is_not_named_as_incomplete(lacking: dict[str, Any]) -> None:
    incomplete = {key: value for key, value in FLOW_RUNNER.items() if key != "targetKinds"} | lacking
    decision = decided(request("roles/run.admin"), project(incomplete))
    assert isinstance(decision, Denied)
    assert not decision.invalid_entry


def test_unreadable_role_counts_as_escalating() -> None:
    unread = replace(request(), permissions=None)
    assert "because the operator cannot read the permissions of the role" in reason(
        decided(unread, project(entry()))
    )
    assert is_admitted(unread, project(entry(allowEscalation=True)))


def test_one_entry_must_admit_all_of_a_grant() -> None:
    by_role = entry(members=["group:ops@example.com"])
    by_member = entry(roles=["roles/run.invoker"], members=["identities"])
    without_escalation = FLOW_RUNNER | {"allowEscalation": False}
    other_escalation = FLOW_RUNNER | {"roles": ["roles/owner"]}
    assert not is_admitted(request(), project(by_role, by_member))
    assert not is_admitted(request("roles/run.admin"), project(without_escalation, other_escalation))


@pytest.mark.parametrize(
    ("narrowed", "admits"),
    [
        ({}, True),
        ({"roles": ["roles/cloudsql.*"]}, True),
        ({"roles": ["roles/run.*"]}, False),
        ({"targetKinds": ["Service", "Secret"], "names": ["*"]}, False),
        ({"names": ["payments-*"]}, True),
        ({"names": ["shop-*"]}, False),
        ({"members": ["identity:flows/*"]}, True),
        ({"members": ["identities"]}, True),
        ({"members": ["identity:shop/*"]}, False),
        ({"members": [f"serviceAccount:{RUNNER_EMAIL}"]}, False),
        ({"members": ["serviceAccount:*"]}, False),
        ({"namespaces": ["flows", "shop"]}, True),
        ({"namespaces": ["shop"]}, False),
    ],
)
def test_entry_matches_role_target_member_and_namespace(narrowed: dict[str, Any], admits: bool) -> None:
    assert is_admitted(request(), project(entry(**narrowed))) is admits


def test_declared_identity_is_never_matched_by_its_email() -> None:
    by_email = entry(members=[f"serviceAccount:{RUNNER_EMAIL}", "serviceAccount:*"])
    assert not is_admitted(request(member=f"serviceAccount:{RUNNER_EMAIL}"), project(by_email))
    assert is_admitted(request(member=f"serviceAccount:{LEGACY_EMAIL}"), project(by_email))


def test_principal_with_the_text_of_an_identity_is_denied() -> None:
    assert not is_admitted(request(member="identity:flows/prefect-runner"), project(entry()))


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("projectOwner:payments-prod-1234", "holders of a basic role on a project; name the members"),
        (
            "projectEditor:payments-prod-1234",
            "holders of a basic role on a project; name the members",
        ),
        (
            "projectViewer:payments-prod-1234",
            "holders of a basic role on a project; name the members",
        ),
        ("deleted:user:a@example.com?uid=1", "restore the principal, or name another member"),
        ("someone", "must be of a documented form"),
    ],
)
def test_member_that_is_not_grantable_is_denied_with_the_reason(member: str, why: str) -> None:
    denied = reason(decided(request(member=member), project(entry(members=["*", member]))))
    assert member in denied
    assert why in denied


FLEET_WORKLOAD = "serviceAccount:p.hub.id.goog[jobs/prefect]"
ALL_WORKLOADS = "group:p.svc.id.goog:/allAuthenticatedUsers/"
WITH_BLANKS = f"{POOL}/attribute.team/Payments and Billing"


@pytest.mark.parametrize(
    ("member", "pattern", "admits"),
    [
        (FLEET_WORKLOAD, "*", True),
        (FLEET_WORKLOAD, "serviceAccount:p.hub.id.goog[jobs/*]", True),
        (FLEET_WORKLOAD, "serviceAccount:p.svc.id.goog[*]", False),
        (WITH_BLANKS, "*", True),
        (WITH_BLANKS, f"{POOL}/attribute.team/Payments *", True),
        (WITH_BLANKS, f"{POOL}/attribute.team/payments *", False),
        (ALL_WORKLOADS, ALL_WORKLOADS, True),
        (ALL_WORKLOADS, "*", False),
        (ALL_WORKLOADS, "group:*", False),
        (ALL_WORKLOADS, "group:p.svc.id.goog:/*", False),
        (ALL_WORKLOADS, ALL_WORKLOADS.lower(), False),
    ],
)
def test_members_of_pools_match_as_one_principal_or_as_many(member: str, pattern: str, admits: bool) -> None:
    assert is_admitted(request(member=member), project(entry(members=[pattern]))) is admits


def test_all_workloads_of_a_pool_never_act_as_an_account() -> None:
    requested = request("roles/iam.workloadIdentityUser", OWN_ACCOUNT, ALL_WORKLOADS)
    listed = entry(roles=["*"], targetKinds=["ServiceAccount"], members=[ALL_WORKLOADS], allowEscalation=True)
    assert "name each member" in reason(decided(requested, project(listed)))


def test_emails_match_case_insensitively() -> None:
    managed_project = project(entry(members=["group:*@Example.com"]))
    assert is_admitted(request(member="group:Ops@example.COM"), managed_project)


def test_namespace_that_is_not_admitted_gets_no_grant() -> None:
    managed_project = project(entry(namespaces=["flows", "shop"]))
    assert "does not admit namespace shop" in reason(decided(request(namespace="shop"), managed_project))


@pytest.mark.parametrize("pattern", ["*", "roles/*", "roles/view*"])
def test_basic_roles_match_only_literally(pattern: str) -> None:
    assert not is_admitted(request("roles/viewer"), project(entry(roles=[pattern])))
    assert is_admitted(request("roles/viewer"), project(entry(roles=[pattern, "roles/viewer"])))


def test_exclusive_grant_requires_an_exclusive_entry() -> None:
    exclusive = replace(request(), exclusive=True)
    assert "without exclusive" in reason(decided(exclusive, project(entry())))
    assert is_admitted(exclusive, project(entry(exclusive=True)))


def test_claim_of_existing_grants_requires_an_entry_with_claim() -> None:
    claiming = replace(request(), claim=True)
    assert "without claim, because spec.existingGrants is Claim" in reason(
        decided(claiming, project(entry()))
    )
    assert is_admitted(claiming, project(entry(claim=True)))


def test_default_grants_admit_no_claim() -> None:
    user = request("roles/iam.serviceAccountUser", OWN_ACCOUNT, "group:ops@example.com")
    assert not is_admitted(replace(user, claim=True), project())


def test_locations_of_an_entry_limit_its_workloads() -> None:
    public = entry(roles=["roles/run.invoker"], targetKinds=["Service"], members=["allUsers"])
    managed_project = project(public | {"locations": ["europe-*"]})
    assert is_admitted(request("roles/run.invoker", SERVICE, "allUsers"), managed_project)
    elsewhere = replace(SERVICE, location="us-central1")
    assert not is_admitted(request("roles/run.invoker", elsewhere, "allUsers"), managed_project)


@pytest.mark.parametrize(
    ("condition", "admits"),
    [
        (None, False),
        (IAMCondition("office hours", "", "request.time.getHours() < 18"), True),
        (IAMCondition("any title", "any text", "request.time.getHours() < 18"), True),
        (IAMCondition("office hours", "", "request.time.getHours() < 18 || true"), False),
    ],
)
def test_conditions_of_an_entry_compare_expressions_literally(
    condition: IAMCondition | None, admits: bool
) -> None:
    limited = project(entry(conditions=["request.time.getHours() < 18"]))
    conditional = replace(request(), condition=condition)
    assert is_admitted(conditional, limited) is admits
    assert is_admitted(conditional, project(entry()))


@pytest.mark.parametrize(
    ("member", "documented"),
    [
        (f"serviceAccount:{RUNNER_EMAIL}.", f"serviceAccount:{RUNNER_EMAIL}"),
        (f"serviceAccount:{RUNNER_EMAIL}\u200b", f"serviceAccount:{RUNNER_EMAIL}"),
        (f"user:{RUNNER_EMAIL}", f"serviceAccount:{RUNNER_EMAIL}"),
        (
            f"principal://iam.googleapis.com/projects/-/serviceAccounts/{RUNNER_EMAIL}",
            f"serviceAccount:{RUNNER_EMAIL}",
        ),
        ("principal://goog/subject/ann@example.com", "user:ann@example.com"),
        ("principalSet://goog/group/ops@example.com", "group:ops@example.com"),
        ("user:ann@example.com.", "user:ann@example.com"),
    ],
)
def test_second_way_to_write_an_identity_is_denied(member: str, documented: str) -> None:
    denied = decided(request(member=member), project(entry(members=["*", member])))
    assert reason(denied).endswith(f"; write it as {documented}")


@pytest.mark.parametrize("member", PUBLIC + TYPEWIDE)
def test_public_and_typewide_members_match_only_literally(member: str) -> None:
    invoked = request("roles/run.invoker", SERVICE, member)
    patterns = ["*", "all*", f"{POOL}*", "domain:*", f"*{member}"]
    wide = entry(roles=["roles/run.invoker"], targetKinds=["Service"], members=patterns)
    assert not is_admitted(invoked, project(wide))
    assert is_admitted(invoked, project(wide | {"members": [member]}))


@pytest.mark.parametrize(
    ("role", "admitted"),
    [
        ("projects/payments-prod-1234/roles/runner", True),
        ("projects/victim-1234/roles/runner", False),
        ("projects/payments-prod-1234x/roles/runner", False),
        ("organizations/42/roles/runner", True),
    ],
)
def test_custom_role_is_granted_only_in_its_own_project(role: str, admitted: bool) -> None:
    managed_project = project(entry(roles=["*"]))
    requested = GrantRequest("flows", PROJECT, role, "group:ops@example.com", frozenset())
    assert is_admitted(requested, managed_project) is admitted
