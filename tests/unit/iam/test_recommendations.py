"""What is advised for which grant."""

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.recommendations import AdviceKind, DeclaredGrant, advise

PROJECT = Target(TargetKind.PROJECT, "acme")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "acme", name="checkout@acme.iam.gserviceaccount.com")
JOB = Target(TargetKind.JOB, "acme", "europe-west1", "nightly")
DEFAULT = "42-compute@developer.gserviceaccount.com"
MEMBER = "serviceAccount:checkout@acme.iam.gserviceaccount.com"


def given(
    role: str, *permissions: str, target: Target = PROJECT, member: str = MEMBER, known: bool = True
) -> DeclaredGrant:
    return DeclaredGrant("spec.roles[0]", target, role, member, frozenset(permissions) if known else None)


@pytest.mark.parametrize(
    ("grant", "kinds"),
    [
        (given("roles/editor", "run.services.get", "iam.roles.create"), [AdviceKind.BASIC_ROLE]),
        (given("roles/viewer", known=False), [AdviceKind.BASIC_ROLE]),
        (
            given("roles/iam.serviceAccountUser", "iam.serviceAccounts.actAs"),
            [AdviceKind.PROJECT_WIDE_IDENTITIES],
        ),
        (
            given("roles/iam.serviceAccountTokenCreator", "iam.serviceAccounts.getAccessToken"),
            [AdviceKind.PROJECT_WIDE_IDENTITIES],
        ),
        (given("roles/iam.serviceAccountUser", "iam.serviceAccounts.actAs", target=ACCOUNT), []),
        (
            given("projects/acme/roles/deployer", "iam.serviceAccounts.actAs", "run.services.update"),
            [AdviceKind.ESCALATION],
        ),
        (
            given("roles/run.jobsExecutorWithOverrides", "run.jobs.run", "run.jobs.runWithOverrides"),
            [AdviceKind.RUN_WITH_OVERRIDES],
        ),
        (
            given("projects/acme/roles/any", "run.jobs.runWithOverrides", target=JOB),
            [AdviceKind.RUN_WITH_OVERRIDES],
        ),
        (given("projects/acme/roles/shell", "run.services.sshAccess"), [AdviceKind.SSH]),
        (
            given("roles/run.admin", "run.jobs.runWithOverrides", "run.services.setIamPolicy"),
            [AdviceKind.RUN_WITH_OVERRIDES, AdviceKind.ESCALATION],
        ),
        (
            given("roles/iam.serviceAccountUser", target=ACCOUNT, member=f"serviceAccount:{DEFAULT}"),
            [AdviceKind.DEFAULT_ACCOUNT],
        ),
        (
            given("roles/run.invoker", target=Target(TargetKind.SERVICE_ACCOUNT, "acme", name=DEFAULT)),
            [AdviceKind.DEFAULT_ACCOUNT],
        ),
        (
            given("roles/secretmanager.secretAccessor", "secretmanager.versions.access"),
            [AdviceKind.ESCALATION],
        ),
        (
            given(
                "roles/secretmanager.secretAccessor",
                "secretmanager.versions.access",
                target=Target(TargetKind.SECRET, "acme", name="stripe"),
            ),
            [],
        ),
        (given("roles/cloudsql.client", "cloudsql.instances.connect"), []),
        (given("projects/acme/roles/unread", known=False), []),
    ],
)
def test_advice_goes_by_what_a_role_holds_and_where(grant: DeclaredGrant, kinds: list[AdviceKind]) -> None:
    found = advise([grant])
    assert [advice.kind for advice in found] == kinds
    for advice in found:
        assert advice.text.startswith("spec.roles[0]: ")
        assert "; instead: " in advice.text
        assert len(advice.text) <= 512


def test_the_gravest_advice_comes_first_and_equal_advice_once() -> None:
    harmless = given("projects/acme/roles/shell", "run.services.sshAccess")
    found = advise([harmless, harmless, given("roles/owner")])
    assert [advice.kind for advice in found] == [AdviceKind.BASIC_ROLE, AdviceKind.SSH]


def test_a_long_list_of_permissions_is_cut_short() -> None:
    (advice,) = advise([given("projects/acme/roles/many", *(f"a{i}.b.setIamPolicy" for i in range(9)))])
    assert "and 6 more" in advice.text
    assert advice.text.count("can grant any role to any principal") == 1
