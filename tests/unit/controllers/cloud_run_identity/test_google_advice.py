"""Advice from Google's evidence, and LeastPrivilege with and without it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionStatus,
    GoogleRecommendations,
    Recommendation,
    RecommendationSource,
)
from cloudrun_identity.controllers.cloud_run_identity.advisory_conditions import least_privilege
from cloudrun_identity.controllers.cloud_run_identity.google_advice import (
    Evidence,
    evidence,
    google_recommendations,
)
from cloudrun_identity.iam.google_findings import (
    FindingSource,
    FindingState,
    LateralMovement,
    PermissionUsage,
    ProjectFindings,
    RoleRecommendation,
    Unreadable,
    UnusedAccount,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant

NOW = datetime(2026, 11, 29, tzinfo=UTC)
EMAIL = "checkout@shop-1234.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
ACCOUNT = Target.service_account("shop-1234", EMAIL)
REQUESTED = [
    RequestedGrant("spec.roles[1]", Target.project("shop-1234"), "roles/run.viewer", GrantMember(MEMBER))
]
NAME = "projects/1/locations/global/recommenders/google.iam.policy.Recommender/recommendations/1"
REMOVE = RoleRecommendation(NAME, '"1"', FindingState.ACTIVE, MEMBER, "roles/run.viewer")
USAGE = PermissionUsage(MEMBER, "roles/run.viewer", ("run.services.get",), (), 40)


def identity(*before: Recommendation) -> CloudRunIdentity:
    found = CloudRunIdentity.model_validate(
        {"metadata": {"name": "checkout"}, "spec": {"projectRef": {"name": "shop"}}}
    )
    status = found.status.model_copy(update={"recommendations": before})
    return found.model_copy(update={"status": status})


def shown(findings: ProjectFindings | None, *, asked: bool = True) -> Evidence:
    report = GoogleRecommendations.REPORT if asked else GoogleRecommendations.IGNORE
    return evidence(report, findings, ACCOUNT, "111", REQUESTED)


def advice(findings: ProjectFindings, *before: Recommendation) -> list[Recommendation]:
    return list(google_recommendations(identity(*before), ACCOUNT, shown(findings), REQUESTED))


def test_unused_role_names_its_field_and_its_recommendation() -> None:
    [found] = advice(ProjectFindings(NOW, (REMOVE,), (replace(USAGE, used=()),)))
    assert (found.kind, found.source) == ("UnusedRole", RecommendationSource.RECOMMENDER)
    assert (found.role, found.name, found.since) == ("roles/run.viewer", NAME, NOW)
    assert found.text.startswith("spec.roles[1]: roles/run.viewer on project shop-1234 was not used")


def test_unused_role_that_is_not_declared_has_a_command() -> None:
    [found] = advice(ProjectFindings(NOW, (replace(REMOVE, role="roles/editor"),)))
    assert f"gcloud projects remove-iam-policy-binding shop-1234 --member={MEMBER}" in found.text


def test_conditional_grant_is_not_the_unconditional_one_of_its_role() -> None:
    [found] = advice(ProjectFindings(NOW, (replace(REMOVE, condition="x in [1, 2]"),)))
    assert found.text.startswith("roles/run.viewer on project shop-1234 if x in [1, 2]")
    assert "--role=roles/run.viewer --condition='^~^expression=x in [1, 2]~title=TITLE'" in found.text


def test_smaller_roles_are_named() -> None:
    smaller = replace(REMOVE, replace_by=("roles/run.invoker",))
    [found] = advice(ProjectFindings(NOW, (smaller,), (USAGE,)))
    assert (found.kind, found.replace_by) == ("ExcessPermissions", ("roles/run.invoker",))
    assert "1 of 40 permissions used" in found.text


def test_custom_role_lists_what_was_used() -> None:
    [found] = advice(ProjectFindings(NOW, (replace(REMOVE, is_customizable=True),), (USAGE,)))
    assert "instead: a CustomRole with run.services.get" in found.text


def test_recommendation_keeps_the_time_at_which_it_was_first_read() -> None:
    findings = ProjectFindings(NOW, (REMOVE,))
    before = advice(findings)
    [found] = advice(replace(findings, read_at=NOW + timedelta(days=1)), *before)
    assert found.since == NOW


def test_entries_stay_until_the_first_read_after_a_start() -> None:
    before = advice(ProjectFindings(NOW, (REMOVE,)))
    rule = Recommendation(kind="BasicRole", text="…", source=RecommendationSource.OPERATOR)
    kept = google_recommendations(identity(*before, rule), ACCOUNT, shown(None), REQUESTED)
    assert list(kept) == before
    ignored = google_recommendations(identity(*before), ACCOUNT, shown(None, asked=False), REQUESTED)
    assert ignored == ()


def test_entries_of_an_unreadable_source_stay() -> None:
    before = advice(ProjectFindings(NOW, (REMOVE,)))
    unreadable = (Unreadable(FindingSource.ROLES, "denied"),)
    assert advice(ProjectFindings(NOW, unreadable=unreadable), *before) == before
    unreadable = (Unreadable(FindingSource.UNUSED_ACCOUNTS, "denied"),)
    assert advice(ProjectFindings(NOW, unreadable=unreadable), *before) == []


def test_unused_account_is_the_one_with_the_same_unique_id() -> None:
    unused = UnusedAccount(EMAIL, "111", NOW - timedelta(days=200))
    [found] = advice(ProjectFindings(NOW, unused_accounts=(unused,)))
    assert (found.kind, "since 2026-05-13" in found.text) == ("UnusedAccount", True)
    assert not advice(ProjectFindings(NOW, unused_accounts=(replace(unused, unique_id="222"),)))


def test_account_of_another_project_is_named() -> None:
    movement = LateralMovement("deploy@other.iam.gserviceaccount.com", "roles/editor", frozenset({EMAIL}))
    [found] = advice(ProjectFindings(NOW, lateral_movements=(movement,)))
    assert found.kind == "LateralMovement"
    assert "deploy@other.iam.gserviceaccount.com" in found.text


def test_findings_about_other_accounts_are_not_shown() -> None:
    assert not advice(ProjectFindings(NOW, (replace(REMOVE, member="serviceAccount:other@x.y"),)))


@pytest.mark.parametrize(
    ("evidence", "status", "reason", "says"),
    [
        (
            shown(None, asked=False),
            ConditionStatus.TRUE,
            "NoAdvice",
            "spec.recommendations",
        ),
        (shown(None), ConditionStatus.UNKNOWN, "NoEvidence", "no use of the roles"),
        (shown(ProjectFindings(NOW)), ConditionStatus.UNKNOWN, "NoEvidence", "no use of the roles"),
        (
            shown(ProjectFindings(NOW, unreadable=(Unreadable(FindingSource.ROLES, "denied"),))),
            ConditionStatus.UNKNOWN,
            "NotObserved",
            "google.iam.policy.Recommender: denied",
        ),
        (shown(ProjectFindings(NOW, usage=(USAGE,))), ConditionStatus.TRUE, "NoAdvice", "Google's evidence"),
    ],
)
def test_least_privilege_without_advice_names_its_evidence(
    evidence: Evidence, status: ConditionStatus, reason: str, says: str
) -> None:
    finding = least_privilege((), evidence, "shop")
    assert (finding.status, finding.reason) == (status, reason)
    assert says in finding.message


def test_least_privilege_distinguishes_rules_from_evidence() -> None:
    rule = Recommendation(kind="BasicRole", text="…", source=RecommendationSource.OPERATOR)
    findings = ProjectFindings(NOW, (REMOVE,))
    finding = least_privilege((*advice(findings), rule), shown(findings), "shop")
    assert finding.message == (
        "UnusedRole (Google's evidence); BasicRole (rules of this operator): see status.recommendations"
    )
