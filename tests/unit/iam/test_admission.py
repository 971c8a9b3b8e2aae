from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import CloudRunIdentity, ManagedProject, TargetKind, WorkloadAdmission
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    Denied,
    GuardrailFacts,
    admits_namespace,
    admitted_namespaces,
    may_adopt,
    may_be_called,
    may_make_keys,
    may_name_account,
    may_use_project,
    may_use_workload,
)
from cloudrun_identity.iam.grants import Target

CHECKOUT = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "checkout")


def project(namespaces: dict[str, Any] | None = None, **guardrails: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "metadata": {"name": "payments-prod"},
            "spec": {"namespaces": namespaces or {}, "guardrails": guardrails},
        }
    )


def admitting(*namespaces: str, credential_accounts: frozenset[str] = frozenset()) -> GuardrailFacts:
    return GuardrailFacts(frozenset(namespaces), credential_accounts=credential_accounts)


def reason(decision: Decision) -> str:
    assert isinstance(decision, Denied)
    return decision.reason


def test_project_admits_no_namespace_by_default() -> None:
    assert not admits_namespace(project(), "payments", {"team": "payments"})


def test_names_and_selector_are_a_union() -> None:
    managed_project = project({"names": ["payments"], "selector": {"matchLabels": {"team": "shop"}}})
    assert admitted_namespaces(
        managed_project, {"payments": {}, "shop": {"team": "shop"}, "other": {"team": "other"}, "bare": {}}
    ) == {"payments", "shop"}


def test_empty_selector_selects_nothing() -> None:
    assert not admits_namespace(project({"selector": {}}), "payments", {"team": "payments"})


def test_namespace_name_is_not_a_pattern() -> None:
    assert not admits_namespace(project({"names": ["pay*"]}), "payments", {})


@pytest.mark.parametrize(
    ("requirement", "selected"),
    [
        ({"key": "tier", "operator": "In", "values": ["gold", "silver"]}, {"gold", "silver"}),
        ({"key": "tier", "operator": "NotIn", "values": ["gold"]}, {"silver", "unlabelled"}),
        ({"key": "tier", "operator": "Exists"}, {"gold", "silver"}),
        ({"key": "tier", "operator": "DoesNotExist"}, {"unlabelled"}),
    ],
)
def test_selector_has_the_operators_of_kubernetes(requirement: dict[str, Any], selected: set[str]) -> None:
    managed_project = project({"selector": {"matchExpressions": [requirement]}})
    labels: dict[str, dict[str, str]] = {
        "gold": {"tier": "gold"},
        "silver": {"tier": "silver"},
        "unlabelled": {},
    }
    assert admitted_namespaces(managed_project, labels) == selected


def test_selector_requires_all_requirements() -> None:
    selector = {"matchLabels": {"team": "shop"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
    managed_project = project({"selector": selector})
    assert admits_namespace(managed_project, "a", {"team": "shop", "tier": "gold"})
    assert not admits_namespace(managed_project, "a", {"team": "shop"})
    assert not admits_namespace(managed_project, "a", {"tier": "gold"})


def test_denied_namespace_names_the_field_that_admits_it() -> None:
    assert may_use_project(project(), "payments", admitting("payments")) == Admitted()
    assert reason(may_use_project(project(), "shop", admitting("payments"))) == (
        "ManagedProject payments-prod does not admit namespace shop; add shop to its spec.namespaces.names"
    )


def test_only_namespace_may_use_any_workload_while_unset() -> None:
    assert may_use_workload(project(), "payments", CHECKOUT, admitting("payments")) == Admitted()


def test_second_namespace_is_denied_workloads_while_unset() -> None:
    both = admitting("payments", "shop")
    assert reason(may_use_workload(project(), "payments", CHECKOUT, both)) == (
        "guardrails.workloads of ManagedProject payments-prod (unset while 2 namespaces are admitted) does "
        "not admit Service europe-west1/checkout for namespace payments; add an entry such as {namespaces: "
        "[payments], kinds: [Service], locations: [europe-west1], names: [checkout]}"
    )
    assert isinstance(may_use_workload(project(), "shop", CHECKOUT, both), Denied)


def test_workload_entry_matches_namespace_kind_location_and_name() -> None:
    entry = {
        "namespaces": ["payments"],
        "kinds": ["Service"],
        "locations": ["europe-*"],
        "names": ["check*"],
    }
    managed_project, both = project(workloads=[entry]), admitting("payments", "shop")
    assert may_use_workload(managed_project, "payments", CHECKOUT, both) == Admitted()
    for namespace, workload in [
        ("shop", CHECKOUT),
        ("payments", Target(TargetKind.JOB, "payments-prod-1234", "europe-west1", "checkout")),
        ("payments", Target(TargetKind.SERVICE, "payments-prod-1234", "us-east1", "checkout")),
        ("payments", Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "pricing")),
    ]:
        assert isinstance(may_use_workload(managed_project, namespace, workload, both), Denied)


def test_workload_entry_without_namespaces_admits_all_admitted() -> None:
    managed_project = project(workloads=[{"names": ["checkout"]}])
    assert may_use_workload(managed_project, "shop", CHECKOUT, admitting("payments", "shop")) == Admitted()
    assert isinstance(
        may_use_workload(managed_project, "other", CHECKOUT, admitting("payments", "shop")), Denied
    )


workloads = st.builds(
    Target,
    st.sampled_from([TargetKind.SERVICE, TargetKind.JOB, TargetKind.WORKER_POOL]),
    st.just("payments-prod-1234"),
    st.sampled_from(["europe-west1", "us-east1"]),
    st.sampled_from(["checkout", "on", "null", "x1"]),
)


@given(workloads, st.sampled_from(["payments", "yes", "007"]))
def test_proposed_entry_admits_the_workload(workload: Target, namespace: str) -> None:
    guardrail_facts = admitting(namespace, "other")
    refusal = reason(may_use_workload(project(), namespace, workload, guardrail_facts))
    proposed = yaml.safe_load(refusal[refusal.index("{") : refusal.rindex("}") + 1])
    WorkloadAdmission.model_validate(proposed)
    assert may_use_workload(project(workloads=[proposed]), namespace, workload, guardrail_facts) == Admitted()


@pytest.mark.parametrize(("ask", "field"), [(may_name_account, "accounts"), (may_adopt, "adoptableAccounts")])
def test_listed_accounts_compare_case_insensitively(ask: Any, field: str) -> None:
    managed_project = project(None, **{field: ["Legacy@payments-prod-1234.iam.gserviceaccount.com"]})
    assert (
        ask(managed_project, "legacy@payments-prod-1234.iam.gserviceaccount.com", admitting()) == Admitted()
    )
    assert reason(ask(managed_project, "other@payments-prod-1234.iam.gserviceaccount.com", admitting())) == (
        f"guardrails.{field} of ManagedProject payments-prod does not list "
        "other@payments-prod-1234.iam.gserviceaccount.com; add it there"
    )


@pytest.mark.parametrize(("ask", "field"), [(may_name_account, "accounts"), (may_adopt, "adoptableAccounts")])
@pytest.mark.parametrize(
    "email",
    [
        "42-compute@developer.gserviceaccount.com",
        "payments-prod-1234@appspot.gserviceaccount.com",
        "CRI@ops.iam.gserviceaccount.com",
    ],
)
def test_default_and_credential_accounts_are_denied_if_listed(ask: Any, field: str, email: str) -> None:
    guardrail_facts = admitting(credential_accounts=frozenset({"cri@ops.iam.gserviceaccount.com"}))
    assert email in reason(ask(project(None, **{field: [email]}), email, guardrail_facts))


def named(account_id: str, **spec: Any) -> CloudRunIdentity:
    return CloudRunIdentity.model_validate(
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"projectRef": {"name": "p"}, "accountID": account_id, **spec},
        }
    )


@pytest.mark.parametrize(
    ("naming", "identity", "field"),
    [
        ({}, named("anything"), ""),
        ({"accountIDPattern": "cri-*"}, named("cri-web"), ""),
        ({"accountIDPattern": "cri-*"}, named("web-cri-"), "spec.accountID"),
        ({"accountIDPattern": "cri.*"}, named("cri-web"), "spec.accountID"),
        ({"requireDisplayName": True}, named("web-12"), "spec.displayName"),
        ({"requireDisplayName": True}, named("web-12", displayName="Web"), ""),
        ({"requireDescription": True}, named("web-12", displayName="Web"), "spec.description"),
        ({"requireDescription": True}, named("web-12", description="The shop"), ""),
    ],
)
def test_naming_rules_apply_to_the_identity(
    naming: dict[str, Any], identity: CloudRunIdentity, field: str
) -> None:
    decision = may_be_called(project(naming=naming), identity)
    if field:
        assert reason(decision).startswith(f"{field}: ")
        assert "guardrails.naming of ManagedProject payments-prod requires" in reason(decision)
    else:
        assert decision == Admitted()


def test_keys_require_permission_and_an_admitted_namespace() -> None:
    managed_project = {"names": ["shop"]}
    denied = reason(may_make_keys(project(managed_project), "shop", admitting("shop")))
    assert denied.startswith("guardrails.keys of ManagedProject payments-prod is Denied")
    assert "Workload Identity" in denied
    allowed = project(managed_project, keys="Allowed")
    assert may_make_keys(allowed, "shop", admitting("shop")) == Admitted()
    assert "does not admit namespace web" in reason(may_make_keys(allowed, "web", admitting("shop")))
