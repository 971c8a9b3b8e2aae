"""The condition Degraded of a project."""

import pytest

from cloudrun_identity.api import ConditionStatus, MissingPermission
from cloudrun_identity.controllers.managed_project.audit import NOT_LOOKED, WorkloadAudit
from cloudrun_identity.controllers.managed_project.degradation import degradation, missing_permissions
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.permissions import FEATURES, LAST_USE
from cloudrun_identity.reconcile.conditions import Finding
from tests.unit.controllers.cluster_state import project

OPERATOR = "operator@acme-ops.iam.gserviceaccount.com"


def found(*permissions: str, audit: WorkloadAudit = NOT_LOOKED, operator: str = OPERATOR) -> Finding:
    missing = [MissingPermission(permission=each, feature="accounts") for each in permissions]
    return degradation(project(), missing, operator, audit)


def disabled() -> WorkloadAudit:
    metadata = {"service": "run.googleapis.com", "consumer": "projects/42"}
    error = GoogleError(Fault.API_DISABLED, "google.Run/ListServices", "Not used before.", metadata=metadata)
    return WorkloadAudit(unreadable=(("Services in europe-west1", error), ("Jobs in europe-west1", error)))


def test_project_that_lacks_nothing_is_not_degraded() -> None:
    assert found().status is ConditionStatus.FALSE
    assert found().reason == "AsExpected"


def test_permissions_over_accounts_may_be_granted_on_single_accounts() -> None:
    assert found("iam.serviceAccounts.actAs").status is ConditionStatus.FALSE


def test_missing_permissions_are_named_with_operator_and_command() -> None:
    condition = found("run.jobs.get", "iam.serviceAccounts.create")

    assert (condition.status, condition.reason) == (ConditionStatus.TRUE, "MissingPermissions")
    assert condition.message.startswith(
        f"The operator (serviceAccount:{OPERATOR}) lacks 2 permissions in project payments-prod-1234"
    )
    assert "--add-permissions=iam.serviceAccounts.create,run.jobs.get" in condition.message


@pytest.mark.parametrize("permissions", [("resourcemanager.projects.setIamPolicy",), ("run.jobs.get",)])
def test_command_is_left_to_check_where_it_depends_on_more(permissions: tuple[str, ...]) -> None:
    condition = found(*permissions, operator="" if permissions == ("run.jobs.get",) else OPERATOR)

    assert "run `cloudrun-identity check`" in condition.message


def test_disabled_cloud_run_is_named_once_with_the_command() -> None:
    condition = found("run.jobs.get", audit=disabled())

    assert (condition.status, condition.reason) == (ConditionStatus.TRUE, "ApiDisabled")
    command = "gcloud services enable run.googleapis.com --project=42"
    assert condition.message.count(command) == 1
    assert "lacks 1 permission" in condition.message


def test_permissions_to_read_last_uses_are_needed_where_they_are_reported() -> None:
    def missing(last_use: str) -> set[str]:
        found = missing_permissions(frozenset(), project(lastUse=last_use))
        return {each.permission for each in found if each.feature == LAST_USE}

    assert missing("Ignore") == set()
    assert missing("Report") == {*FEATURES[LAST_USE]}
