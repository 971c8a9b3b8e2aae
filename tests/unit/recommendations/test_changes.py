"""Changes of declared objects, and what the guardrails say about them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.iam.expiry import until
from cloudrun_identity.iam.google_findings import (
    FindingState,
    PermissionUsage,
    ProjectFindings,
    RoleRecommendation,
)
from cloudrun_identity.iam.grants import IAMCondition
from cloudrun_identity.recommendations.changes import HeldGrant, applied, role_changes
from cloudrun_identity.recommendations.manifests import role_documents
from cloudrun_identity.recommendations.role_change import Changes

NOW = datetime(2026, 11, 29, tzinfo=UTC)
MEMBER = "serviceAccount:checkout@shop-1234.iam.gserviceaccount.com"
REMOVE = RoleRecommendation("r/1", '"1"', FindingState.ACTIVE, MEMBER, "roles/storage.admin")
SMALLER = replace(REMOVE, replace_by=("roles/storage.objectViewer",))
CUSTOM = replace(REMOVE, is_customizable=True)
USAGE = PermissionUsage(MEMBER, "roles/storage.admin", ("storage.objects.get",), (), 42)


def project(**guardrails: Any) -> dict[str, Any]:
    return {
        "kind": "ManagedProject",
        "metadata": {"name": "shop"},
        "spec": {
            "projectID": "shop-1234",
            "namespaces": {"names": ["payments"]},
            "guardrails": guardrails,
        },
    }


def identity(*roles: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "CloudRunIdentity",
        "metadata": {"name": "checkout", "namespace": "payments"},
        "spec": {"projectRef": {"name": "shop"}, "roles": list(roles)},
    }


def changes(*objects: dict[str, Any], found: RoleRecommendation, custom_roles: bool = False) -> Changes:
    findings = ProjectFindings(NOW, (found,), (USAGE,))
    return role_changes(Declared(objects), "shop-1234", findings, custom_roles=custom_roles)


STORAGE = {"role": "roles/storage.admin"}
RUN = {"role": "roles/run.viewer"}


def test_entry_of_the_role_is_changed() -> None:
    [change] = changes(project(), identity(RUN, STORAGE), found=SMALLER).roles
    assert (change.path, change.replace_by) == ("spec.roles[1]", ("roles/storage.objectViewer",))


def test_role_on_another_target_is_not_changed() -> None:
    on_bucket = {**STORAGE, "target": {"kind": "StorageBucket", "name": "receipts"}}
    assert not changes(project(), identity(on_bucket), found=REMOVE).roles


def test_refused_role_names_the_missing_entry() -> None:
    [change] = changes(project(), identity(STORAGE), found=SMALLER).roles
    [refusal] = change.refusals
    assert "roles/storage.objectViewer" in refusal.reason
    assert refusal.proposals


def test_admitted_role_has_no_refusal() -> None:
    admitted = {
        "roles": ["roles/storage.objectViewer"],
        "targetKinds": ["Project"],
        "members": ["identities"],
    }
    [change] = changes(project(grants=[admitted]), identity(STORAGE), found=SMALLER).roles
    assert change.refusals == ()


def test_custom_role_has_exactly_what_was_used() -> None:
    [change] = changes(project(), identity(STORAGE), found=CUSTOM).roles
    assert change.custom_role is not None
    assert change.custom_role.permissions == ("storage.objects.get",)
    reasons = " ".join(each.reason for each in change.refusals)
    assert "guardrails.customRoles" in reasons


def test_custom_roles_replace_predefined_ones_on_request() -> None:
    [change] = changes(project(), identity(STORAGE), found=SMALLER, custom_roles=True).roles
    assert (change.replace_by, change.custom_role is not None) == ((), True)


def test_name_of_another_custom_role_is_not_taken() -> None:
    other = {
        "kind": "CustomRole",
        "metadata": {"name": "checkout-admin-used", "namespace": "payments"},
        "spec": {"projectRef": {"name": "shop"}, "roleID": "other", "permissions": ["run.jobs.run"]},
    }
    [change] = changes(project(), identity(STORAGE), other, found=CUSTOM).roles
    assert change.custom_role is not None
    assert change.custom_role.name == "checkout-admin-used-2"


def test_undeclared_grant_and_one_of_a_binding_are_told_apart() -> None:
    binding = {
        "kind": "IAMBinding",
        "metadata": {"name": "storage", "namespace": "payments"},
        "spec": {
            "projectRef": {"name": "shop"},
            "target": {"kind": "Project"},
            "role": "roles/storage.admin",
            "members": [{"identityRef": {"name": "checkout"}}],
        },
    }
    [by_binding] = changes(project(), identity(RUN), binding, found=REMOVE).elsewhere
    assert by_binding.declared_by == "IAMBinding payments/storage"
    [undeclared] = changes(project(), identity(RUN), found=REMOVE).elsewhere
    assert undeclared.declared_by == ""


def test_claimed_recommendation_is_applied_once_its_grant_is_gone() -> None:
    claimed = replace(REMOVE, state=FindingState.CLAIMED)
    findings = ProjectFindings(NOW, (claimed,))
    held = HeldGrant(MEMBER, REMOVE.role, "")
    without, with_it = Declared([project(), identity(RUN)]), Declared([project(), identity(STORAGE)])
    assert applied(without, "shop-1234", findings, ()) == (claimed,)
    assert applied(without, "shop-1234", findings, [held._replace(condition="false")]) == (claimed,)
    assert applied(without, "shop-1234", findings, [held]) == ()
    assert applied(without, "shop-1234", ProjectFindings(NOW, (REMOVE,)), ()) == ()
    assert applied(with_it, "shop-1234", findings, ()) == ()
    assert applied(Declared([project()]), "shop-1234", findings, ()) == ()


def test_binding_declares_a_grant_with_its_custom_role_and_condition() -> None:
    role = {
        "kind": "CustomRole",
        "metadata": {"name": "reports", "namespace": "payments"},
        "spec": {"projectRef": {"name": "shop"}, "roleID": "reports", "permissions": ["run.jobs.run"]},
    }
    binding = {
        "kind": "IAMBinding",
        "metadata": {"name": "reports", "namespace": "payments"},
        "spec": {
            "projectRef": {"name": "shop"},
            "target": {"kind": "Project"},
            "customRoleRef": {"name": "reports"},
            "condition": {"title": "never", "expression": "false"},
            "members": [{"identityRef": {"name": "checkout"}}],
        },
    }
    found = replace(REMOVE, role="projects/shop-1234/roles/reports", condition="false")
    [by_binding] = changes(project(), identity(RUN), role, binding, found=found).elsewhere
    assert by_binding.declared_by == "IAMBinding payments/reports"
    [other] = changes(project(), identity(RUN), role, binding, found=replace(found, condition="")).elsewhere
    assert other.declared_by == ""


def test_role_in_use_is_kept_while_the_permissions_used_are_unknown() -> None:
    declared = Declared([project(), identity(STORAGE)])
    for usage in ((), (replace(USAGE, used=()),)):
        found = role_changes(declared, "shop-1234", ProjectFindings(NOW, (CUSTOM,), usage))
        assert found.roles == ()
        [kept] = found.elsewhere
        assert kept.declared_by == "CloudRunIdentity payments/checkout spec.roles[0]"
        assert kept.why == "the permissions used are not known"


def test_second_recommendation_about_an_entry_changes_nothing() -> None:
    declared = Declared([project(), identity(STORAGE, RUN)])
    for both in ((REMOVE, SMALLER), (SMALLER, REMOVE)):
        found = role_changes(declared, "shop-1234", ProjectFindings(NOW, both))
        [change] = found.roles
        assert (change.index, change.found) == (0, SMALLER)
        assert [each.found for each in found.elsewhere] == [REMOVE]


def test_custom_role_is_in_the_project_of_the_entry() -> None:
    other = {"kind": "ManagedProject", "metadata": {"name": "hub"}, "spec": {"projectID": "hub-1234"}}
    entry = {**STORAGE, "projectRef": {"name": "hub"}}
    declared = Declared([project(), other, identity(entry)])
    found = ProjectFindings(NOW, (CUSTOM,), (USAGE,))
    [change] = role_changes(declared, "hub-1234", found).roles
    [document] = role_documents([change], declared)
    assert document.obj["spec"]["projectRef"] == {"name": "hub"}


@pytest.mark.parametrize("condition", ["", "a || b"])
def test_temporary_grant_is_found_under_the_condition_in_the_policy(condition: str) -> None:
    entry: dict[str, Any] = {
        **STORAGE,
        "expiresAt": "2027-01-01T00:00:00Z",
        "expiryEnforcedBy": "OperatorAndGoogle",
    }
    declared = IAMCondition("limited", "", condition) if condition else None
    if condition:
        entry["condition"] = {"title": "limited", "expression": condition}
    in_policy = until(declared, datetime(2027, 1, 1, tzinfo=UTC)).expression
    found = changes(project(), identity(entry), found=replace(REMOVE, condition=in_policy))
    assert [each.path for each in found.roles] == ["spec.roles[0]"]
    assert not changes(project(), identity(STORAGE), found=replace(REMOVE, condition=in_policy)).roles
