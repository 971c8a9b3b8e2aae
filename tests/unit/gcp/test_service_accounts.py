import pytest

from cloudrun_identity.gcp.service_accounts import expected_email, project_of


@pytest.mark.parametrize(
    ("project_id", "email"),
    [
        ("shop-1234", "checkout@shop-1234.iam.gserviceaccount.com"),
        ("example.com:shop", "checkout@shop.example.com.iam.gserviceaccount.com"),
    ],
)
def test_an_accounts_email_is_foreseen(project_id: str, email: str) -> None:
    assert expected_email(project_id, "checkout") == email
    assert project_of(email) == project_id


@pytest.mark.parametrize(
    "email",
    [
        "42-compute@developer.gserviceaccount.com",
        "shop-1234@appspot.gserviceaccount.com",
        "ann@example.com",
    ],
)
def test_some_emails_tell_no_project(email: str) -> None:
    assert project_of(email) == ""
