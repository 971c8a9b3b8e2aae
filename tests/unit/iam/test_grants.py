import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.resource_names import parse_target
from tests.target_resources import DATA_KINDS, resource_of

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


@pytest.mark.parametrize("kind", DATA_KINDS)
def test_text_of_a_target_is_parsed(kind: TargetKind) -> None:
    target = resource_of(kind, "acme")
    text = target.full_name if target.service else str(target).replace(" ", "/", 1)
    assert parse_target(text, "acme") == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bucket/exports", "starts with none of the kinds Secret, RegionalSecret, StorageBucket"),
        ("Service/europe-west1/web", "starts with none of the kinds"),
        ("StorageBucket", "must be StorageBucket/NAME"),
        ("CloudTasksQueue/mails", "must be CloudTasksQueue/LOCATION/NAME"),
        ("KMSCryptoKey/us/cards", "must be KMSCryptoKey/LOCATION/KEYRING/NAME"),
        ("SpannerDatabase//main", "must be SpannerDatabase/INSTANCE/NAME"),
    ],
)
def test_text_of_another_form_is_refused_with_the_form(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_target(text, "acme")


def test_grant_is_shown_as_one_line() -> None:
    grant = Grant(SERVICE, "roles/run.invoker", "user:a@example.com", IAMCondition("office hours"))
    assert (
        str(grant) == "roles/run.invoker for user:a@example.com on Service europe-west1/web if office hours"
    )
    assert str(Grant(PROJECT, "roles/viewer", "allUsers")) == "roles/viewer for allUsers on Project acme"
