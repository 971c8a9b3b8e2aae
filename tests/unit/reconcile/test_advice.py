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


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.UNAVAILABLE])
def test_message_of_another_error_is_left_as_it_is(fault: Fault) -> None:
    assert failed(fault) == "No."


CALLER = "operator@acme-ops.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{CALLER}"


def denied(message: str, resource: str = "projects/acme-shop", **metadata: str) -> str:
    error = GoogleError(
        Fault.PERMISSION_DENIED, f"{IAM}/CreateServiceAccount", message, resource=resource, metadata=metadata
    )
    error.caller, error.project_id = CALLER, "acme-shop"
    return advised(error)


@pytest.mark.parametrize(
    ("message", "metadata"),
    [
        ("Permission 'iam.serviceAccounts.create' denied on resource (or it may not exist).", {}),
        ("The caller does not have permission.", {"permission": "iam.serviceAccounts.create"}),
    ],
)
def test_denied_permission_is_reported_with_who_where_and_command(
    message: str, metadata: dict[str, str]
) -> None:
    advice = denied(message, **metadata)

    assert f"; the operator ({MEMBER}) lacks iam.serviceAccounts.create in project acme-shop; run: " in advice
    assert advice.endswith(
        "(gcloud iam roles create cloudrunIdentityOperator --project=acme-shop --title=cloudrun-identity "
        "--permissions=iam.serviceAccounts.create || gcloud iam roles update cloudrunIdentityOperator "
        "--project=acme-shop --add-permissions=iam.serviceAccounts.create) && gcloud projects "
        f"add-iam-policy-binding acme-shop --member={MEMBER} "
        "--role=projects/acme-shop/roles/cloudrunIdentityOperator --condition=None"
    )


@pytest.mark.parametrize(
    ("permission", "role"),
    [
        ("iam.serviceAccounts.setIamPolicy", "roles/iam.serviceAccountAdmin"),
        ("iam.serviceAccountKeys.create", "roles/iam.serviceAccountKeyAdmin"),
    ],
)
def test_permission_over_an_account_is_granted_on_that_account(permission: str, role: str) -> None:
    account = "web@acme-shop.iam.gserviceaccount.com"
    resource = f"projects/acme-shop/serviceAccounts/{account}"
    advice = denied(f"Permission '{permission}' denied on resource (or it may not exist).", resource)

    assert f"lacks {permission} on {account}" in advice
    assert advice.endswith(
        f"gcloud iam service-accounts add-iam-policy-binding {account} --member={MEMBER} --role={role} "
        "--project=acme-shop"
    )


def test_account_that_cloud_run_may_not_act_as_is_named() -> None:
    account = "web@acme-data.iam.gserviceaccount.com"
    advice = denied(
        f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist).",
        "",
    )

    assert f"lacks iam.serviceAccounts.actAs on {account}" in advice
    assert f"add-iam-policy-binding {account} --member={MEMBER} --role=roles/iam.serviceAccountUser" in advice


def test_permission_to_change_a_project_is_not_granted_without_condition() -> None:
    advice = denied("Permission 'resourcemanager.projects.setIamPolicy' denied on resource 'acme-shop'.")

    assert "add-iam-policy-binding" not in advice
    assert advice.endswith(
        "run `cloudrun-identity check`, which prints the commands that grant what is missing"
    )


def test_what_another_principal_lacks_is_not_said_of_the_operator() -> None:
    """Cloud Run refuses a deployment for what its service agent lacks."""
    advice = denied(
        "Google Cloud Run Service Agent does not have permission to get access tokens. Please give "
        "service-42@serverless-robot-prod.iam.gserviceaccount.com permission "
        "iam.serviceAccounts.getAccessToken on the service account."
    )

    assert "lacks iam.serviceAccounts" not in advice
    assert f"the operator ({MEMBER}) made the call in project acme-shop" in advice
