"""E-mails of service accounts."""

import pytest

from cloudrun_identity.gcp.service_accounts import expected_email, project_id_of_email


@pytest.mark.parametrize(
    ("project_id", "email"),
    [
        ("shop-1234", "checkout@shop-1234.iam.gserviceaccount.com"),
        ("example.com:shop", "checkout@shop.example.com.iam.gserviceaccount.com"),
    ],
)
def test_email_and_project_id_convert_into_each_other(project_id: str, email: str) -> None:
    assert expected_email(project_id, "checkout") == email
    assert project_id_of_email(email) == project_id


@pytest.mark.parametrize(
    "email",
    [
        "42-compute@developer.gserviceaccount.com",
        "shop-1234@appspot.gserviceaccount.com",
        "ann@example.com",
    ],
)
def test_email_without_a_project_id_is_empty(email: str) -> None:
    assert project_id_of_email(email) == ""
