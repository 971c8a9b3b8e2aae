import pytest

from cloudrun_identity.policy.exclusive import is_protected, may_be_exclusive


@pytest.mark.parametrize(
    "member",
    [
        "serviceAccount:service-42@serverless-robot-prod.iam.gserviceaccount.com",
        "serviceAccount:42@cloudservices.gserviceaccount.com",
        "projectOwner:shop",
        "projectEditor:shop",
        "projectViewer:shop",
        "deleted:serviceAccount:old@shop.iam.gserviceaccount.com?uid=1",
    ],
)
def test_google_its_project_members_and_tombstones_are_spared(member: str) -> None:
    assert is_protected(member)


@pytest.mark.parametrize(
    "member",
    [
        "user:eve@example.com",
        "group:ops@example.com",
        "serviceAccount:ci@shop.iam.gserviceaccount.com",
        "serviceAccount:service-42@shop.iam.gserviceaccount.com",
        "allUsers",
        "domain:example.com",
        "something nobody has heard of",
    ],
)
def test_nobody_else_is_spared(member: str) -> None:
    assert not is_protected(member)


@pytest.mark.parametrize(
    "role", ["roles/owner", "roles/editor", "roles/viewer", "roles/run.serviceAgent", "roles/x.ServiceAgent"]
)
def test_roles_that_a_project_depends_on_are_nobodys_alone(role: str) -> None:
    assert not may_be_exclusive(role)


def test_any_other_role_may_be_had_alone() -> None:
    assert may_be_exclusive("roles/run.invoker")
