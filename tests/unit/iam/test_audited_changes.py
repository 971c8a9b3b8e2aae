from datetime import UTC, datetime

import pytest

from cloudrun_identity.iam.audited_changes import (
    BindingDelta,
    Cause,
    DeltaAction,
    client_name,
)
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("google-cloud-sdk gcloud/501.0.0 command/gcloud.run.deploy,gzip(gfe)", "gcloud"),
        ("Terraform/1.9 (+https://www.terraform.io) terraform-provider-google/6.0", "Terraform"),
        ("apitools Python/3.11.8 gsutil/5.30 (linux) google-cloud-sdk/483.0.0", "gsutil"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64),gzip(gfe)", "browser"),
        ("cnrm/1.155 (gke)", "cnrm"),
        ("", ""),
        ("(odd)", ""),
    ],
)
def test_program_is_found_in_the_user_agent(user_agent: str, name: str) -> None:
    assert client_name(user_agent) == name


def test_anonymous_cause_names_neither_caller_nor_program() -> None:
    cause = Cause("SetIamPolicy", NOON, "user:dana@example.com", "gcloud/1").anonymous()
    assert cause.described("removed") == "removed at 2026-11-03T12:00:00Z"


def test_delta_concerns_the_grant_with_its_condition() -> None:
    delta = BindingDelta(DeltaAction.REMOVE, "roles/viewer", "user:Ann@example.com", "for a day")
    grant = Grant(Target.project("a"), "roles/viewer", "user:ann@example.com", IAMCondition("for a day"))
    assert delta.concerns(grant)
    assert not delta.concerns(Grant(grant.target, grant.role, grant.member))
