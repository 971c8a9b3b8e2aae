from typing import Any

import pytest

from cloudrun_identity.api import AccountLoss, CloudRunIdentity, Origin, TargetKind
from cloudrun_identity.controllers.account_tools import AccountSeen
from cloudrun_identity.controllers.cloud_run_identity import (
    TOKEN_CREATOR,
    USER,
    AccountWant,
    CloudRunIdentityController,
)
from cloudrun_identity.controllers.gate import Passed
from cloudrun_identity.controllers.grants import Holder, Nobody
from cloudrun_identity.controllers.world import identity_key, project_key
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.ledger import AccountRecord

from .world import EMAIL, FakeWorld, identity, project, record

NONE: Any = None
CONTROLLER = CloudRunIdentityController(NONE, NONE)
ACCOUNT = ServiceAccount("payments-prod-1234", EMAIL, "111", "Checkout", "pays")


def want(obj: CloudRunIdentity, *accounts: AccountRecord, observe: bool = False) -> AccountWant:
    lent = project()
    wanted = CONTROLLER.desired(obj, Passed(lent, observe), FakeWorld(lent, obj, accounts=accounts))
    assert isinstance(wanted, AccountWant)
    return wanted


def changes(obj: CloudRunIdentity, seen: ServiceAccount | None, *accounts: AccountRecord) -> list[str]:
    return [str(change) for change in CONTROLLER.diff(want(obj, *accounts), AccountSeen(seen))]


def test_the_email_is_the_recorded_one_or_the_expected_one() -> None:
    assert want(identity()).email == EMAIL
    told = "checkout@payments-prod-1234.example.iam.gserviceaccount.com"
    assert want(identity(), record(email=told)).email == told


def test_rivals_declare_the_same_account_of_the_same_project() -> None:
    assert CONTROLLER.declares(identity()) == CONTROLLER.declares(identity(accountID="checkout"))
    assert CONTROLLER.declares(identity()) != CONTROLLER.declares(identity(accountID="pricing"))


def test_it_refers_to_its_project_and_to_its_users() -> None:
    obj = identity(
        users=[{"identityRef": {"name": "ci"}}],
        tokenCreators=[{"cloudRunServiceAgentOf": {"projectRef": {"name": "run-prod"}}}],
    )
    assert CONTROLLER.references(obj) == {
        project_key("payments-prod"),
        project_key("run-prod"),
        identity_key("payments", "ci"),
    }


@pytest.mark.parametrize(
    ("accounts", "seen", "expected"),
    [
        ([], None, ["account: absent → created"]),
        ([], ACCOUNT, ["account: exists already → adopted"]),
        ([record(unique_id="")], ACCOUNT, ["account: absent → created"]),
        ([record()], None, ["account: deleted → present"]),
        ([record(unique_id="222")], ACCOUNT, ["unique ID: 111 → 222"]),
        ([record()], ACCOUNT, []),
    ],
)
def test_the_difference_is_told_by_the_record(
    accounts: list[AccountRecord], seen: ServiceAccount | None, expected: list[str]
) -> None:
    assert changes(identity(), seen, *accounts) == expected


def test_a_fresh_account_that_is_not_seen_is_no_difference() -> None:
    assert CONTROLLER.diff(want(identity(), record()), AccountSeen(None, lagging=True)) == ()


def test_what_is_declared_differs_and_what_is_not_is_left() -> None:
    obj = identity(displayName="Pays", description="", disabled=True)
    assert changes(obj, ACCOUNT, record()) == [
        "displayName: Checkout → Pays",
        "description: pays → unset",
        "disabled: false → true",
    ]


def test_roles_are_wished_for_on_the_project_once_the_account_is_steady() -> None:
    obj = identity(roles=[{"role": "roles/cloudsql.client"}])
    world = FakeWorld(project(), obj, accounts=[record()])
    (wish,) = CONTROLLER.wishes(want(obj, record()), world)
    assert (wish.path, wish.target, wish.role) == (
        "spec.roles[0]",
        Target(TargetKind.PROJECT, "payments-prod-1234"),
        "roles/cloudsql.client",
    )
    assert wish.holder == Holder(f"serviceAccount:{EMAIL}", "111", DeclaredIdentity("payments", "checkout"))
    (early,) = CONTROLLER.wishes(want(obj), FakeWorld(project(), obj))
    assert isinstance(early.holder, Nobody)
    gone = record(lost=AccountLoss.REPLACED)
    (held,) = CONTROLLER.wishes(want(obj, gone), FakeWorld(project(), obj, accounts=[gone]))
    assert isinstance(held.holder, Nobody), "somebody else's account gets nothing"


def test_users_are_wished_for_on_the_account() -> None:
    obj = identity(
        users=[{"principal": "group:ops@example.com"}], tokenCreators=[{"principal": "user:ann@example.com"}]
    )
    users, creators = CONTROLLER.wishes(want(obj, record()), FakeWorld(project(), obj, accounts=[record()]))
    assert (
        users.target
        == creators.target
        == Target(TargetKind.SERVICE_ACCOUNT, "payments-prod-1234", name=EMAIL)
    )
    assert (users.path, users.role, users.holder) == ("spec.users[0]", USER, Holder("group:ops@example.com"))
    assert (creators.path, creators.role) == ("spec.tokenCreators[0]", TOKEN_CREATOR)
    assert users.owner == DeclaredIdentity("payments", "checkout")


def test_the_status_mirrors_a_steady_account_alone() -> None:
    steady = record(origin=Origin.CREATED)
    fields = CONTROLLER.summarize(want(identity(), steady), AccountSeen(ACCOUNT)).fields
    assert fields["email"] == EMAIL
    assert fields["unique_id"] == "111"
    assert fields["member"] == f"serviceAccount:{EMAIL}"
    assert fields["name"] == f"projects/payments-prod-1234/serviceAccounts/{EMAIL}"
    assert fields["origin"] is Origin.CREATED
    assert CONTROLLER.summarize(want(identity(), record(unique_id="")), AccountSeen(ACCOUNT)).fields == {}
