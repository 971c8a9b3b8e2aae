import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target

PROJECT = Target(TargetKind.PROJECT, "acme")
SERVICE = Target(TargetKind.SERVICE, "acme", "europe-west1", "web")


@pytest.mark.parametrize(
    ("target", "full_name"),
    [
        (PROJECT, "//cloudresourcemanager.googleapis.com/projects/acme"),
        (
            Target(TargetKind.SERVICE_ACCOUNT, "acme", name="ci@acme.iam.gserviceaccount.com"),
            "//iam.googleapis.com/projects/acme/serviceAccounts/ci@acme.iam.gserviceaccount.com",
        ),
        (SERVICE, "//run.googleapis.com/projects/acme/locations/europe-west1/services/web"),
        (
            Target(TargetKind.JOB, "acme", "europe-west1", "web"),
            "//run.googleapis.com/projects/acme/locations/europe-west1/jobs/web",
        ),
        (
            Target(TargetKind.WORKER_POOL, "acme", "europe-west1", "web"),
            "//run.googleapis.com/projects/acme/locations/europe-west1/workerPools/web",
        ),
        (
            Target(TargetKind.SECRET, "acme", name="token"),
            "//secretmanager.googleapis.com/projects/acme/secrets/token",
        ),
    ],
)
def test_target_has_its_full_resource_name(target: Target, full_name: str) -> None:
    assert target.full_name == full_name
    assert target.full_name.endswith(target.resource)


def test_grant_is_shown_as_one_line() -> None:
    grant = Grant(SERVICE, "roles/run.invoker", "user:a@example.com", IAMCondition("office hours"))
    assert (
        str(grant) == "roles/run.invoker for user:a@example.com on Service europe-west1/web if office hours"
    )
    assert str(Grant(PROJECT, "roles/viewer", "allUsers")) == "roles/viewer for allUsers on Project acme"
