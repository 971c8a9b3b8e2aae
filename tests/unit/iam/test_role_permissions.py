"""Permissions that `guardrails.customRoles` admits in a custom role."""

import pytest

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.admission import Admitted, Denied, GuardrailFacts
from cloudrun_identity.iam.role_permissions import may_define
from tests.unit.iam.patches import patched

FACTS = GuardrailFacts(frozenset({"payments"}))


def project(**custom_roles: object) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "kind": "ManagedProject",
            "metadata": {"name": "payments-prod"},
            "spec": {
                "namespaces": {"names": ["payments"]},
                "guardrails": {"customRoles": custom_roles},
            },
        }
    )


def test_no_permission_is_admitted_by_default() -> None:
    decision = may_define(project(), "payments", ["run.jobs.run"], FACTS)

    assert isinstance(decision, Denied)
    assert decision.reason == (
        "guardrails.customRoles of ManagedProject payments-prod does not admit run.jobs.run in a custom role"
    )
    assert may_define(patched(project(), decision), "payments", ["run.jobs.run"], FACTS) == Admitted()


def test_every_permission_must_match_a_pattern() -> None:
    assert may_define(project(permissions=["run.jobs.*"]), "payments", ["run.jobs.run"], FACTS) == Admitted()
    decision = may_define(
        project(permissions=["run.jobs.*"]), "payments", ["run.jobs.run", "run.services.get"], FACTS
    )
    assert isinstance(decision, Denied)
    assert "does not admit run.services.get in a custom role" in decision.reason
    after = patched(project(permissions=["run.jobs.*"]), decision).spec.guardrails.custom_roles
    assert after.permissions == ("run.jobs.*", "run.services.get")


def test_refusal_has_permissions_escalation_and_namespaces_at_once() -> None:
    before = project(permissions=["run.jobs.*"], namespaces=["shop"])
    wanted = ["run.services.get", "iam.serviceAccounts.actAs"]
    decision = may_define(before, "payments", wanted, FACTS)
    assert isinstance(decision, Denied)
    for part in ("of namespace payments", "run.services.get", "without allowEscalation"):
        assert part in decision.reason
    assert may_define(patched(before, decision), "payments", wanted, FACTS) == Admitted()


def test_custom_roles_without_namespaces_are_for_one_namespace_only() -> None:
    project_of_two = project(permissions=["run.*"]).to_dict()
    project_of_two["spec"]["namespaces"] = {"names": ["payments", "shop"]}
    decision = may_define(ManagedProject.model_validate(project_of_two), "payments", ["run.jobs.run"], FACTS)
    assert isinstance(decision, Denied)
    assert decision.invalid_entry
    assert "spec.guardrails.customRoles of ManagedProject payments-prod has no namespaces" in decision.reason


@pytest.mark.parametrize(
    "permission", ["iam.serviceAccounts.actAs", "run.services.setIamPolicy", "run.jobs.runWithOverrides"]
)
def test_escalating_permission_requires_allow_escalation(permission: str) -> None:
    denied = may_define(project(permissions=["*"]), "payments", [permission], FACTS)
    assert isinstance(denied, Denied)
    assert f"does not admit {permission} in a custom role without allowEscalation, because" in denied.reason

    allowed = may_define(project(permissions=["*"], allowEscalation=True), "payments", [permission], FACTS)
    assert allowed == Admitted()


def test_namespace_that_is_not_admitted_may_define_no_role() -> None:
    decision = may_define(project(permissions=["*"]), "shop", ["run.jobs.run"], FACTS)

    assert isinstance(decision, Denied)
    assert "does not admit namespace shop" in decision.reason
