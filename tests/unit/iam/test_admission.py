from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import CloudRunIdentity, ManagedProject, TargetKind
from cloudrun_identity.iam.admission import (
    Admitted,
    Decision,
    Denied,
    GuardrailFacts,
    are_workloads_ambiguous,
    may_adopt,
    may_adopt_role,
    may_be_called,
    may_have_role_id,
    may_make_keys,
    may_name_account,
    may_use_project,
    may_use_workload,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.guardrail_entries import invalid_entries
from cloudrun_identity.iam.namespace_selection import admits_namespace, admitted_namespaces
from tests.unit.iam.patches import patched

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
        "ManagedProject payments-prod does not admit namespace shop in spec.namespaces"
    )


@pytest.mark.parametrize(
    "namespaces", [None, {"names": ["payments"]}, {"selector": {"matchLabels": {"a": "b"}}}]
)
def test_admission_of_a_namespace_completes_entries_without_namespaces(
    namespaces: dict[str, Any] | None,
) -> None:
    guardrails: dict[str, Any] = {
        "grants": [{"roles": ["roles/viewer"], "targetKinds": ["Project"], "members": ["*"]}],
        "workloads": [{"names": ["checkout"]}],
        "accounts": [{"email": LEGACY}],
        "customRoles": {"permissions": ["run.*"]},
        "keys": "Allowed",
    }
    before = project(namespaces, **guardrails)
    denied = may_use_project(before, "shop", admitting("payments"))
    assert isinstance(denied, Denied)
    after = patched(before, denied)
    assert "shop" in after.spec.namespaces.names
    if namespaces and "names" in namespaces:
        assert invalid_entries(before) == invalid_entries(after) == ()
        assert may_make_keys(after, "payments", admitting("payments", "shop")) == Admitted()
        assert isinstance(may_make_keys(after, "shop", admitting("payments", "shop")), Denied)


def test_only_namespace_may_use_any_workload_while_unset() -> None:
    assert may_use_workload(project(), "payments", CHECKOUT, admitting("payments")) == Admitted()


def test_second_namespace_is_denied_workloads_while_unset() -> None:
    both = admitting("payments", "shop")
    assert reason(may_use_workload(project(), "payments", CHECKOUT, both)) == (
        "guardrails.workloads of ManagedProject payments-prod (unset while 2 namespaces are admitted) does "
        "not admit Service europe-west1/checkout for namespace payments"
    )
    assert isinstance(may_use_workload(project(), "shop", CHECKOUT, both), Denied)


def test_holder_of_a_workload_keeps_it_when_a_second_namespace_is_admitted() -> None:
    facts = GuardrailFacts(
        frozenset({"payments", "mallory"}),
        holders_of=lambda held: frozenset({"payments"} if held == CHECKOUT else ()),
    )
    managed_project = project({"names": ["payments", "mallory"]})
    assert isinstance(may_use_workload(managed_project, "payments", CHECKOUT, facts), Admitted)
    assert "does not admit" in reason(may_use_workload(managed_project, "mallory", CHECKOUT, facts))
    other = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "other")
    assert "unset while 2 namespaces" in reason(may_use_workload(managed_project, "payments", other, facts))


def test_holder_of_a_workload_loses_it_to_entries_and_to_its_exclusion() -> None:
    facts = GuardrailFacts(
        frozenset({"payments", "shop"}), holders_of=lambda _: frozenset({"payments", "gone"})
    )
    listed = project({"names": ["payments", "shop"]}, workloads=[{"namespaces": ["shop"], "names": ["*"]}])
    assert isinstance(may_use_workload(listed, "payments", CHECKOUT, facts), Denied)
    assert isinstance(may_use_workload(project(), "gone", CHECKOUT, facts), Denied)


def test_workloads_are_ambiguous_for_several_namespaces_without_entries() -> None:
    listed = project(workloads=[{"namespaces": ["shop"], "names": ["*"]}])
    assert not are_workloads_ambiguous(project(), frozenset({"payments"}))
    assert are_workloads_ambiguous(project(), frozenset({"payments", "shop"}))
    assert not are_workloads_ambiguous(listed, frozenset({"payments", "shop"}))


def test_role_id_matches_the_pattern_of_the_naming_rules() -> None:
    named = project(naming={"roleIDPattern": "pay_*"})
    assert isinstance(may_have_role_id(named, "pay_runner"), Admitted)
    assert isinstance(may_have_role_id(project(), "anything"), Admitted)
    assert "spec.roleID: runner does not match pay_*" in reason(may_have_role_id(named, "runner"))


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


def test_workload_entry_for_every_namespace_admits_all_admitted() -> None:
    managed_project, both = (
        project(workloads=[{"names": ["checkout"], "namespaces": ["*"]}]),
        ("payments", "shop"),
    )
    assert may_use_workload(managed_project, "shop", CHECKOUT, admitting(*both)) == Admitted()
    assert isinstance(may_use_workload(managed_project, "other", CHECKOUT, admitting(*both)), Denied)


def test_workload_entry_without_namespaces_admits_none_of_several() -> None:
    managed_project = project({"names": ["payments", "shop"]}, workloads=[{"names": ["checkout"]}])
    decision = may_use_workload(managed_project, "shop", CHECKOUT, admitting("payments", "shop"))
    assert isinstance(decision, Denied)
    assert decision.invalid_entry
    assert "spec.guardrails.workloads[0] of ManagedProject payments-prod has no namespaces" in decision.reason


workloads = st.builds(
    Target,
    st.sampled_from([TargetKind.SERVICE, TargetKind.JOB, TargetKind.WORKER_POOL]),
    st.just("payments-prod-1234"),
    st.sampled_from(["europe-west1", "us-east1"]),
    st.sampled_from(["checkout", "on", "null", "x1"]),
)


@given(workloads, st.sampled_from(["payments", "yes", "007"]))
def test_proposed_patch_admits_the_workload(workload: Target, namespace: str) -> None:
    guardrail_facts = admitting(namespace, "other")
    denied = may_use_workload(project(), namespace, workload, guardrail_facts)
    assert isinstance(denied, Denied)
    assert may_use_workload(patched(project(), denied), namespace, workload, guardrail_facts) == Admitted()


LEGACY = "legacy@payments-prod-1234.iam.gserviceaccount.com"
LISTS = [(may_name_account, "accounts"), (may_adopt, "adoptableAccounts")]


@pytest.mark.parametrize(("ask", "field"), LISTS)
@pytest.mark.parametrize(
    ("pattern", "email", "admits"),
    [
        (LEGACY, LEGACY, True),
        ("Legacy@payments-prod-1234.iam.gserviceaccount.com", LEGACY, True),
        ("legacy*@payments-prod-1234.iam.gserviceaccount.com", LEGACY, True),
        ("*", LEGACY, True),
        ("other@*", LEGACY, False),
        ("*", "service-42@gcp-sa-pubsub.iam.gserviceaccount.com", False),
        ("service-42@gcp-sa-pubsub.iam.gserviceaccount.com",) * 2 + (True,),
    ],
)
def test_account_entry_matches_its_pattern_and_namespaces(
    ask: Any, field: str, pattern: str, email: str, admits: bool
) -> None:
    listing = project(None, **{field: [{"email": pattern, "namespaces": ["payments"]}]})
    assert isinstance(ask(listing, "payments", email, admitting()), Admitted) is admits
    assert isinstance(ask(listing, "mallory", email, admitting()), Denied)


@pytest.mark.parametrize(("ask", "field"), LISTS)
def test_denied_account_is_named_with_an_admitting_entry(ask: Any, field: str) -> None:
    denied = ask(project(), "payments", LEGACY, admitting())
    assert reason(denied) == (
        f"guardrails.{field} of ManagedProject payments-prod does not list {LEGACY} for namespace payments"
    )
    assert ask(patched(project(), denied), "payments", LEGACY, admitting()) == Admitted()


@pytest.mark.parametrize(("ask", "field"), LISTS)
@pytest.mark.parametrize("stored", [LEGACY, {"email": LEGACY}], ids=["earlier version", "entry"])
def test_account_entry_without_namespaces_admits_only_for_one_namespace(
    ask: Any, field: str, stored: object
) -> None:
    alone = project({"names": ["payments"]}, **{field: [stored]})
    assert ask(alone, "payments", LEGACY, admitting()) == Admitted()
    for shared in ({"names": ["payments", "shop"]}, {"names": ["payments"], "selector": {}}, None):
        denied = ask(project(shared, **{field: [stored]}), "payments", LEGACY, admitting())
        assert denied.invalid_entry
        assert (
            f"spec.guardrails.{field}[0] of ManagedProject payments-prod has no namespaces" in denied.reason
        )


def test_adoptable_role_matches_its_pattern_and_namespaces() -> None:
    listing = project(adoptableRoles=[{"roleID": "ops*", "namespaces": ["payments"]}])
    assert may_adopt_role(listing, "payments", "opsHandmade") == Admitted()
    assert isinstance(may_adopt_role(listing, "payments", "other"), Denied)
    denied = may_adopt_role(listing, "mallory", "opsHandmade")
    assert reason(denied) == (
        "guardrails.adoptableRoles of ManagedProject payments-prod does not list role opsHandmade for "
        "namespace mallory"
    )
    assert isinstance(denied, Denied)
    assert may_adopt_role(patched(listing, denied), "mallory", "opsHandmade") == Admitted()


@pytest.mark.parametrize(("ask", "field"), LISTS)
@pytest.mark.parametrize(
    "email",
    [
        "42-compute@developer.gserviceaccount.com",
        "payments-prod-1234@appspot.gserviceaccount.com",
        "CRI@ops.iam.gserviceaccount.com",
    ],
)
def test_default_and_credential_accounts_are_denied_if_listed(ask: Any, field: str, email: str) -> None:
    facts = admitting(credential_accounts=frozenset({"cri@ops.iam.gserviceaccount.com"}))
    listing = project(None, **{field: [{"email": pattern, "namespaces": ["*"]} for pattern in (email, "*")]})
    denied = ask(listing, "payments", email, facts)
    assert email in reason(denied)
    assert denied.proposals == ()


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


def test_keys_require_permission_for_an_admitted_namespace() -> None:
    both, facts = {"names": ["shop", "web"]}, admitting("shop", "web")
    denied = may_make_keys(project(both), "shop", facts)
    assert reason(denied).startswith("guardrails.keys of ManagedProject payments-prod is Denied")
    assert "Workload Identity" in reason(denied)
    assert isinstance(denied, Denied)
    allowed = patched(project(both), denied)
    assert may_make_keys(allowed, "shop", facts) == Admitted()
    other = may_make_keys(allowed, "web", facts)
    assert "guardrails.keyNamespaces of ManagedProject payments-prod does not list namespace web" in reason(
        other
    )
    assert isinstance(other, Denied)
    assert may_make_keys(patched(allowed, other), "web", facts) == Admitted()
    assert "does not admit namespace x" in reason(may_make_keys(allowed, "x", facts))


def test_keys_without_namespaces_are_allowed_only_for_one_namespace() -> None:
    assert (
        may_make_keys(project({"names": ["shop"]}, keys="Allowed"), "shop", admitting("shop")) == Admitted()
    )
    denied = may_make_keys(project({"names": ["shop", "web"]}, keys="Allowed"), "shop", admitting("shop"))
    assert isinstance(denied, Denied)
    assert denied.invalid_entry
    assert "has no keyNamespaces and admits no keys" in denied.reason
