from typing import Any

import pytest

from cloudrun_identity.api import CloudRunIdentity, LedgerAccount, Origin
from cloudrun_identity.controllers.cloud_run_identity.account_dependencies import AccountSeen
from cloudrun_identity.controllers.cloud_run_identity.controller import (
    AccountWant,
    CloudRunIdentityController,
    IdentitySeen,
)
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.reconcile.preconditions import Allowed
from tests.unit.controllers.cluster_state import EMAIL, FakeWorld, identity, project, record

NONE: Any = None


class KnownRoles:
    """Roles of which one has been read."""

    def cached(self, role: str, project_id: str) -> frozenset[str] | None:
        return {f"projects/{project_id}/roles/shell": frozenset({"run.services.ssh"})}.get(role)


ROLES: Any = KnownRoles()
CONTROLLER = CloudRunIdentityController(NONE, NONE, NONE, ROLES)
ACCOUNT = ServiceAccount("payments-prod-1234", EMAIL, "111", "Checkout", "pays")


def want(obj: CloudRunIdentity, *accounts: LedgerAccount, observe: bool = False) -> AccountWant:
    delegated = project()
    wanted = CONTROLLER.resolve(
        obj, Allowed(delegated, observe), FakeWorld(delegated, obj, accounts=accounts)
    )
    assert isinstance(wanted, AccountWant)
    return wanted


def changes(obj: CloudRunIdentity, seen: ServiceAccount | None, *accounts: LedgerAccount) -> list[str]:
    return [str(change) for change in CONTROLLER.diff(want(obj, *accounts), IdentitySeen(AccountSeen(seen)))]


def test_the_email_is_the_recorded_one_or_the_expected_one() -> None:
    assert want(identity()).email == EMAIL
    told = "checkout@payments-prod-1234.example.iam.gserviceaccount.com"
    assert want(identity(), record(email=told)).email == told


def test_rivals_declare_the_same_account_of_the_same_project() -> None:
    assert CONTROLLER.declares(identity()) == CONTROLLER.declares(identity(accountID="checkout"))
    assert CONTROLLER.declares(identity()) != CONTROLLER.declares(identity(accountID="pricing"))


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
    accounts: list[LedgerAccount], seen: ServiceAccount | None, expected: list[str]
) -> None:
    assert changes(identity(), seen, *accounts) == expected


def test_a_fresh_account_that_is_not_seen_is_no_difference() -> None:
    assert CONTROLLER.diff(want(identity(), record()), IdentitySeen(AccountSeen(None, lagging=True))) == ()


def test_what_is_declared_differs_and_what_is_not_is_left() -> None:
    obj = identity(displayName="Pays", description="", disabled=True)
    assert changes(obj, ACCOUNT, record()) == [
        "displayName: Checkout → Pays",
        "description: pays → unset",
        "disabled: false → true",
    ]


def test_the_status_mirrors_a_steady_account_alone() -> None:
    steady = record(origin=Origin.CREATED)
    fields = CONTROLLER.summarize(want(identity(), steady), IdentitySeen(AccountSeen(ACCOUNT))).fields
    assert fields["email"] == EMAIL
    assert fields["unique_id"] == "111"
    assert fields["member"] == f"serviceAccount:{EMAIL}"
    assert fields["name"] == f"projects/payments-prod-1234/serviceAccounts/{EMAIL}"
    assert fields["origin"] is Origin.CREATED
    assert (
        CONTROLLER.summarize(
            want(identity(), record(unique_id="")), IdentitySeen(AccountSeen(ACCOUNT))
        ).fields
        == {}
    )
