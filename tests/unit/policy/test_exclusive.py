import pytest

from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.model import entry_of
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrants
from cloudrun_identity.policy.exclusive import conflicting, is_protected, may_be_exclusive
from tests.unit.policy.strategies import TARGET


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
def test_google_and_project_members_and_tombstones_are_protected(member: str) -> None:
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
        "an undocumented form",
    ],
)
def test_other_members_are_not_protected(member: str) -> None:
    assert not is_protected(member)


@pytest.mark.parametrize(
    "role", ["roles/owner", "roles/editor", "roles/viewer", "roles/run.serviceAgent", "roles/x.ServiceAgent"]
)
def test_role_that_a_project_depends_on_may_not_be_exclusive(role: str) -> None:
    assert not may_be_exclusive(role)


def test_other_roles_may_be_exclusive() -> None:
    assert may_be_exclusive("roles/run.invoker")


def test_reported_conflict_does_not_depend_on_the_order_of_a_set() -> None:
    owner = Owner("IAMBinding", "payments", "web", "uid")
    grants = [Grant(TARGET, f"roles/run.role{number}", "user:eve@example.com") for number in range(9)]
    desired = DesiredGrants(owner, exclusive=frozenset(grant.binding_key for grant in grants))
    entries = {grant: entry_of(grant, ["IAMBinding/payments/other/uid"]) for grant in grants}
    assert conflicting(TARGET, [desired], entries) == {owner.owner_key: grants[-1]}
