from typing import Any

from cloudrun_identity.api import ManagedProject, TargetKind
from cloudrun_identity.iam.admission import DeclaredIdentity, GuardrailFacts
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.shared_limits import (
    accounts_budget,
    namespaces_on,
    namespaces_with_removals,
    roles_budget,
)

TEAMS = frozenset({"payments", "shop", "mallory"})
PROJECT = Target.project("payments-prod-1234")
WEB = Target(TargetKind.SERVICE, "payments-prod-1234", "europe-west1", "web")
EMAIL = "checkout@payments-prod-1234.iam.gserviceaccount.com"
FACTS = GuardrailFacts(TEAMS, {EMAIL: DeclaredIdentity("payments", "checkout")})


def project(**guardrails: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {
            "metadata": {"name": "payments-prod"},
            "spec": {"namespaces": {"names": sorted(TEAMS)}, "guardrails": guardrails},
        }
    )


def entry(*namespaces: str, **fields: Any) -> dict[str, Any]:
    return {
        "roles": ["roles/*"],
        "targetKinds": ["Project"],
        "members": ["*"],
        "namespaces": list(namespaces),
        **fields,
    }


def test_share_of_removals_is_for_namespaces_that_may_be_exclusive() -> None:
    listed = project(grants=[entry("shop", exclusive=True), entry("mallory"), entry("pay*", exclusive=True)])
    assert namespaces_with_removals(listed, TEAMS) == {"shop", "payments"}


def test_share_of_a_policy_is_for_namespaces_that_may_grant_on_it() -> None:
    listed = project(
        grants=[entry("shop"), entry("mallory", targetKinds=["Service"], names=["web"])],
        workloads=[{"namespaces": ["payments"], "names": ["web"]}],
    )
    assert namespaces_on(listed, PROJECT, FACTS) == {"shop"}
    assert namespaces_on(listed, WEB, FACTS) == {"mallory", "payments"}


def test_policy_of_an_identity_is_for_its_namespace() -> None:
    account = Target.service_account("payments-prod-1234", EMAIL)
    listed = project(grants=[entry("*", targetKinds=["ServiceAccount"])])
    assert namespaces_on(listed, account, FACTS) == {"payments"}


def test_share_of_roles_is_for_namespaces_that_may_define_them() -> None:
    listed = project(customRoles={"permissions": ["run.*"], "namespaces": ["shop"]})
    assert roles_budget(listed, TEAMS, {}).namespaces == {"shop"}
    assert roles_budget(project(), TEAMS, {}).namespaces == frozenset()


def test_share_of_accounts_is_for_every_admitted_namespace() -> None:
    budget = accounts_budget(project(maxAccounts=30), TEAMS, {"shop": 9}, 3)
    assert (budget.share, budget.room_for("shop")) == (9, 0)


def test_quota_that_google_may_have_raised_ends_the_shares() -> None:
    budget = accounts_budget(project(), TEAMS, {"shop": 40, "payments": 33})
    assert (budget.admits("shop"), budget.admits("mallory")) == (False, True)
    beyond = accounts_budget(project(), TEAMS, {"shop": 40}, 60)
    assert beyond.admits("shop"), "Google Cloud decides"
    assert not accounts_budget(project(maxAccounts=100), TEAMS, {"shop": 40}, 60).admits("shop")


def test_no_share_is_set_aside_where_the_first_comes_first() -> None:
    listed = project(sharing="FirstCome", grants=[entry("*", exclusive=True)])
    assert namespaces_with_removals(listed, TEAMS) == frozenset()
    assert namespaces_on(listed, PROJECT, FACTS) == frozenset()
    assert accounts_budget(listed, TEAMS, {"shop": 99}).room_for("shop") == 1
