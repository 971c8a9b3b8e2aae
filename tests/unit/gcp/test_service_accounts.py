import pytest

from cloudrun_identity.gcp.service_accounts import expected_email


@pytest.mark.parametrize(
    ("project_id", "email"),
    [
        ("shop-1234", "checkout@shop-1234.iam.gserviceaccount.com"),
        ("example.com:shop", "checkout@shop.example.com.iam.gserviceaccount.com"),
    ],
)
def test_an_accounts_email_is_foreseen(project_id: str, email: str) -> None:
    assert expected_email(project_id, "checkout") == email
