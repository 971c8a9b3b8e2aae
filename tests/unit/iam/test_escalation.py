import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.escalation import TABLE, Reach, escalating, reason_for

EVERYWHERE = [
    "resourcemanager.projects.setIamPolicy",
    "run.services.setIamPolicy",
    "iam.serviceAccounts.setIamPolicy",
    "iam.serviceAccounts.enable",
    "iam.serviceAccounts.undelete",
    "iam.serviceAccountKeys.create",
    "iam.serviceAccountKeys.upload",
    "iam.roles.create",
    "iam.roles.update",
    "iam.roles.undelete",
    "iam.googleapis.com/workloadIdentityPools.create",
    "iam.googleapis.com/workloadIdentityPoolProviders.update",
    "iam.workloadIdentityPoolProviders.create",
    "orgpolicy.policy.set",
    "iam.denypolicies.delete",
    "iam.googleapis.com/denypolicies.update",
    "iam.principalaccessboundarypolicies.bind",
    "iam.principalaccessboundarypolicies.unbind",
    "iam.principalaccessboundarypolicies.update",
    "resourcemanager.projects.createPolicyBinding",
    "resourcemanager.projects.deletePolicyBinding",
    "resourcemanager.tagValueBindings.create",
    "run.services.createTagBinding",
    "storage.hmacKeys.create",
    "apikeys.keys.create",
    "run.jobs.runWithOverrides",
    "run.services.sshRoot",
    "run.workerpools.sshRead",
    "container.pods.exec",
    "cloudbuild.builds.create",
    "cloudfunctions.functions.create",
    "cloudfunctions.functions.update",
    "dataflow.jobs.create",
    "composer.environments.create",
    "aiplatform.customJobs.create",
    "compute.instances.setMetadata",
    "compute.projects.setCommonInstanceMetadata",
]
ACTING_AS_AN_ACCOUNT = [
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.getAccessToken",
    "iam.serviceAccounts.getOpenIdToken",
    "iam.serviceAccounts.signBlob",
    "iam.serviceAccounts.signJwt",
    "iam.serviceAccounts.implicitDelegation",
]
PROJECT_WIDE = [
    "secretmanager.versions.access",
    "storage.objects.create",
    "storage.objects.update",
    "artifactregistry.repositories.uploadArtifacts",
]
HARMLESS = [
    "run.routes.invoke",
    "run.jobs.run",
    "run.services.get",
    "run.services.getIamPolicy",
    "run.services.listTagBindings",
    "cloudsql.instances.connect",
    "iam.serviceAccounts.get",
    "iam.serviceAccounts.list",
    "iam.roles.get",
    "iam.denypolicies.create",
    "iam.denypolicies.list",
    "iam.principalaccessboundarypolicies.get",
    "iam.policybindings.list",
    "resourcemanager.projects.searchPolicyBindings",
    "iam.googleapis.com/workloadIdentityPools.get",
    "storage.objects.get",
    "artifactregistry.repositories.downloadArtifacts",
    "secretmanager.versions.get",
    "compute.instances.get",
    "aiplatform.endpoints.predict",
    "logging.logEntries.create",
]

reaches = st.sampled_from(Reach)
permissions = st.frozensets(st.sampled_from(EVERYWHERE + ACTING_AS_AN_ACCOUNT + PROJECT_WIDE + HARMLESS))


@pytest.mark.parametrize("reach", Reach)
@pytest.mark.parametrize("permission", EVERYWHERE)
def test_permission_escalates_in_every_scope(permission: str, reach: Reach) -> None:
    assert escalating([permission], reach) == {permission}


@pytest.mark.parametrize("reach", Reach)
@pytest.mark.parametrize("permission", HARMLESS)
def test_harmless_permission_escalates_in_no_scope(permission: str, reach: Reach) -> None:
    assert not escalating([permission], reach)
    assert not reason_for(permission, reach)


@pytest.mark.parametrize("permission", ACTING_AS_AN_ACCOUNT)
def test_acting_as_own_identity_is_not_an_escalation(permission: str) -> None:
    assert [reach for reach in Reach if escalating([permission], reach)] == [Reach.PROJECT, Reach.RESOURCE]


@pytest.mark.parametrize("permission", PROJECT_WIDE)
def test_data_access_escalates_on_the_project_only(permission: str) -> None:
    assert [reach for reach in Reach if escalating([permission], reach)] == [Reach.PROJECT]


def test_reason_names_what_the_holder_can_do() -> None:
    assert reason_for("run.jobs.setIamPolicy") == "can grant any role to any principal"
    assert reason_for("iam.serviceAccounts.actAs") == "can act as service accounts"


def test_every_group_has_a_one_line_reason() -> None:
    assert all(group.reason.startswith("can ") and "\n" not in group.reason for group in TABLE)


@given(permissions, permissions, reaches)
def test_permissions_escalate_independently_of_each_other(
    some: frozenset[str], others: frozenset[str], reach: Reach
) -> None:
    assert escalating(some | others, reach) == escalating(some, reach) | escalating(others, reach)


@given(permissions, reaches)
def test_narrower_scope_never_escalates_more(granted: frozenset[str], reach: Reach) -> None:
    assert escalating(granted, reach) <= escalating(granted, Reach.PROJECT)
