"""Permissions that `guardrails.customRoles` admits in a custom role."""

import pytest

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.admission import Admitted, Denied, GuardrailFacts
from cloudrun_identity.iam.role_permissions import may_define

FACTS = GuardrailFacts(frozenset({"payments"}))


def project(**custom_roles: object) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "kind": "ManagedProject",
            "metadata": {"name": "payments-prod"},
            "spec": {"guardrails": {"customRoles": custom_roles}},
        }
    )


def test_no_permission_is_admitted_by_default() -> None:
    decision = may_define(project(), "payments", ["run.jobs.run"], FACTS)

    assert decision == Denied(
        "guardrails.customRoles of ManagedProject payments-prod does not admit run.jobs.run in a custom "
        "role; set it to {permissions: [run.jobs.run]}"
    )


def test_every_permission_must_match_a_pattern() -> None:
    assert may_define(project(permissions=["run.jobs.*"]), "payments", ["run.jobs.run"], FACTS) == Admitted()
    decision = may_define(
        project(permissions=["run.jobs.*"]), "payments", ["run.jobs.run", "run.services.get"], FACTS
    )
    assert isinstance(decision, Denied)
    assert "does not admit run.services.get in a custom role" in decision.reason
    assert "set it to {permissions: [run.jobs.*, run.services.get]}" in decision.reason


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
