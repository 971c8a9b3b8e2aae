"""Advice on grants."""

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.recommendations import AdviceKind, DeclaredGrant, advise

PROJECT = Target(TargetKind.PROJECT, "acme")
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "acme", name="checkout@acme.iam.gserviceaccount.com")
JOB = Target(TargetKind.JOB, "acme", "europe-west1", "nightly")
DEFAULT = "42-compute@developer.gserviceaccount.com"
MEMBER = "serviceAccount:checkout@acme.iam.gserviceaccount.com"


def declared(
    role: str, *permissions: str, target: Target = PROJECT, member: str = MEMBER, known: bool = True
) -> DeclaredGrant:
    return DeclaredGrant("spec.roles[0]", target, role, member, frozenset(permissions) if known else None)


@pytest.mark.parametrize(
    ("grant", "kinds"),
    [
        (declared("roles/editor", "run.services.get", "iam.roles.create"), [AdviceKind.BASIC_ROLE]),
        (declared("roles/viewer", known=False), [AdviceKind.BASIC_ROLE]),
        (
            declared("roles/iam.serviceAccountUser", "iam.serviceAccounts.actAs"),
            [AdviceKind.PROJECT_WIDE_IDENTITIES],
        ),
        (
            declared("roles/iam.serviceAccountTokenCreator", "iam.serviceAccounts.getAccessToken"),
            [AdviceKind.PROJECT_WIDE_IDENTITIES],
        ),
        (declared("roles/iam.serviceAccountUser", "iam.serviceAccounts.actAs", target=ACCOUNT), []),
        (
            declared("projects/acme/roles/deployer", "iam.serviceAccounts.actAs", "run.services.update"),
            [AdviceKind.ESCALATION],
        ),
        (
            declared("roles/run.jobsExecutorWithOverrides", "run.jobs.run", "run.jobs.runWithOverrides"),
            [AdviceKind.RUN_WITH_OVERRIDES],
        ),
        (
            declared("projects/acme/roles/any", "run.jobs.runWithOverrides", target=JOB),
            [AdviceKind.RUN_WITH_OVERRIDES],
        ),
        (declared("projects/acme/roles/shell", "run.services.sshAccess"), [AdviceKind.SSH]),
        (
            declared("roles/run.admin", "run.jobs.runWithOverrides", "run.services.setIamPolicy"),
            [AdviceKind.RUN_WITH_OVERRIDES, AdviceKind.ESCALATION],
        ),
        (
            declared("roles/iam.serviceAccountUser", target=ACCOUNT, member=f"serviceAccount:{DEFAULT}"),
            [AdviceKind.DEFAULT_ACCOUNT],
        ),
        (
            declared("roles/run.invoker", target=Target(TargetKind.SERVICE_ACCOUNT, "acme", name=DEFAULT)),
            [AdviceKind.DEFAULT_ACCOUNT],
        ),
        (
            declared("roles/secretmanager.secretAccessor", "secretmanager.versions.access"),
            [AdviceKind.ESCALATION],
        ),
        (
            declared(
                "roles/secretmanager.secretAccessor",
                "secretmanager.versions.access",
                target=Target(TargetKind.SECRET, "acme", name="stripe"),
            ),
            [],
        ),
        (declared("roles/cloudsql.client", "cloudsql.instances.connect"), []),
        (declared("projects/acme/roles/unread", known=False), []),
    ],
)
def test_advice_depends_on_permissions_and_target(grant: DeclaredGrant, kinds: list[AdviceKind]) -> None:
    found = advise([grant])
    assert [advice.kind for advice in found] == kinds
    for advice in found:
        assert advice.text.startswith("spec.roles[0]: ")
        assert "; instead: " in advice.text
        assert len(advice.text) <= 512


def test_most_severe_advice_is_first_and_duplicates_are_removed() -> None:
    harmless = declared("projects/acme/roles/shell", "run.services.sshAccess")
    found = advise([harmless, harmless, declared("roles/owner")])
    assert [advice.kind for advice in found] == [AdviceKind.BASIC_ROLE, AdviceKind.SSH]


def test_long_list_of_permissions_is_shortened() -> None:
    (advice,) = advise([declared("projects/acme/roles/many", *(f"a{i}.b.setIamPolicy" for i in range(9)))])
    assert "and 6 more" in advice.text
    assert advice.text.count("can grant any role to any principal") == 1
