"""Remedies for errors of Google Cloud."""

from collections.abc import Mapping

import pytest

from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.reconcile.advice import advised

IAM = "google.iam.admin.v1.IAM"
PAGE = "https://console.cloud.google.com/iam-admin/quotas"


def failed(
    fault: Fault,
    method: str = f"{IAM}/GetRole",
    resource: str = "",
    *,
    metadata: Mapping[str, str] | None = None,
    reason: str = "",
) -> str:
    return advised(GoogleError(fault, method, "No.", resource=resource, metadata=metadata, reason=reason))


def test_full_project_is_named_with_where_to_request_a_higher_quota() -> None:
    message = failed(Fault.QUOTA_EXCEEDED, f"{IAM}/CreateServiceAccount", "projects/acme-shop")

    assert message == (
        "No; project acme-shop has the maximum number of service accounts: delete those that are not in use, "
        f"or request a higher quota at {PAGE}?project=acme-shop"
    )


def test_limit_of_custom_roles_cannot_be_raised() -> None:
    message = failed(Fault.QUOTA_EXCEEDED, f"{IAM}/CreateRole", "projects/acme-shop")

    assert "project acme-shop has the maximum number of custom roles" in message
    assert PAGE not in message


def test_limit_of_keys_names_the_account() -> None:
    account = "projects/acme-shop/serviceAccounts/1234"
    message = failed(Fault.QUOTA_EXCEEDED, f"{IAM}/CreateServiceAccountKey", account)

    assert message == "No; delete keys of 1234 that are not in use"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "No."),
        (
            {"quota_limit": "WritesPerMinute", "quota_limit_value": "600", "consumer": "projects/42"},
            "No; the operator retries it; if it lasts, request a higher quota (WritesPerMinute is 600) at "
            f"{PAGE}?project=42",
        ),
    ],
)
def test_exhausted_rate_is_named(metadata: dict[str, str], expected: str) -> None:
    assert failed(Fault.QUOTA_EXCEEDED, metadata=metadata, reason="RATE_LIMIT_EXCEEDED") == expected


def test_perimeter_violation_is_reported_with_the_entry_of_the_audit_log() -> None:
    message = failed(Fault.PERIMETER_VIOLATION, resource="projects/acme-shop", metadata={"uid": "VQQ"})

    assert "VPC Service Controls" in message
    query = 'protoPayload.metadata.vpcServiceControlsUniqueId="VQQ"'
    assert f"gcloud logging read '{query}' --project=acme-shop" in message


def test_missing_location_is_named_with_the_field_to_correct() -> None:
    message = failed(Fault.LOCATION_NOT_FOUND, metadata={"location": "europe-west11"})

    assert "europe-west11" in message
    assert "correct the location in the spec" in message


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.UNAVAILABLE, Fault.PERMISSION_DENIED])
def test_message_of_another_error_is_left_as_it_is(fault: Fault) -> None:
    assert failed(fault) == "No."
