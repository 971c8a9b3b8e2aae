"""Names of targets in the forms of other tools."""

import pytest

from cloudrun_identity.api import TargetKind
from cloudrun_identity.converting.target_names import target_named
from cloudrun_identity.iam.grants import Target
from tests.target_resources import DATA_KINDS, resource_of


# No other tool has the generic kind.
@pytest.mark.parametrize("kind", [kind for kind in DATA_KINDS if kind is not TargetKind.RESOURCE], ids=str)
def test_every_kind_is_read_from_its_resource_name(kind: TargetKind) -> None:
    target = resource_of(kind, "acme-shop")
    assert target_named(kind, target.resource, "acme-shop") == target
    assert target_named(kind, target.full_name, "acme-shop") == target


@pytest.mark.parametrize(
    ("kind", "text", "target"),
    [
        (TargetKind.PROJECT, "projects/acme-data", Target.project("acme-data")),
        (TargetKind.PROJECT, "acme-data", Target.project("acme-data")),
        (
            TargetKind.SERVICE_ACCOUNT,
            "etl@acme-data.iam.gserviceaccount.com",
            Target.service_account("acme-data", "etl@acme-data.iam.gserviceaccount.com"),
        ),
        (
            TargetKind.SERVICE,
            "v1/projects/acme-data/locations/us-east1/services/web",
            Target(TargetKind.SERVICE, "acme-data", "us-east1", "web"),
        ),
        (TargetKind.SERVICE, "web", Target(TargetKind.SERVICE, "acme-shop", "europe-west1", "web")),
        (
            TargetKind.STORAGE_BUCKET,
            "b/exports",
            Target(TargetKind.STORAGE_BUCKET, "acme-shop", "", "exports"),
        ),
        (
            TargetKind.KMS_CRYPTO_KEY,
            "acme-data/global/tokens/signing",
            Target(TargetKind.KMS_CRYPTO_KEY, "acme-data", "global", "signing", "tokens"),
        ),
        (
            TargetKind.KMS_KEY_RING,
            "global/tokens",
            Target(TargetKind.KMS_KEY_RING, "acme-shop", "global", "tokens"),
        ),
    ],
    ids=str,
)
def test_short_names_are_completed(kind: TargetKind, text: str, target: Target) -> None:
    assert target_named(kind, text, "acme-shop", "europe-west1") == target


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (TargetKind.SERVICE, "web", "the location of the service is unknown"),
        (TargetKind.SPANNER_DATABASE, "bookings", "the parent of the Spanner database is unknown"),
        (TargetKind.SECRET, "a/b/c", "'a/b/c' is not the name of a secret"),
    ],
)
def test_incomplete_names_are_refused(kind: TargetKind, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_named(kind, text, "acme-shop")


def test_name_without_project_is_refused() -> None:
    with pytest.raises(ValueError, match="the project of the bucket is unknown"):
        target_named(TargetKind.STORAGE_BUCKET, "b/exports")
