"""The CloudRunIdentity controller: resolving an identity, and its status."""

from typing import Any

from cloudrun_identity.api import CloudRunIdentity, IdentityDeletionPolicy, LedgerAccount, Origin
from cloudrun_identity.controllers.cloud_run_identity.account import AccountSeen
from cloudrun_identity.controllers.cloud_run_identity.controller import (
    CloudRunIdentityController,
    IdentitySeen,
    IdentityWant,
)
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Admitted, Denied
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.cluster_state import EMAIL, FakeClusterState, admitted, identity, project, record

NONE: Any = None


class KnownRoles:
    """Roles of which one has been read."""

    def cached(self, role: str, project_id: str) -> frozenset[str] | None:
        return {f"projects/{project_id}/roles/shell": frozenset({"run.services.ssh"})}.get(role)


ROLES: Any = KnownRoles()
CONTROLLER = CloudRunIdentityController(NONE, NONE, NONE, ROLES)
ACCOUNT = ServiceAccount("payments-prod-1234", EMAIL, "111", "Checkout", "pays")


def resolved(obj: CloudRunIdentity, *accounts: LedgerAccount, **spec: Any) -> IdentityWant | Blocked:
    delegated = project(**spec)
    cluster = FakeClusterState(delegated, obj, accounts=accounts)
    return CONTROLLER.resolve(obj, Allowed(delegated, observe=False), cluster)


def want(obj: CloudRunIdentity, *accounts: LedgerAccount, **spec: Any) -> IdentityWant:
    wanted = resolved(obj, *accounts, **spec)
    assert isinstance(wanted, IdentityWant)
    return wanted


def summary(found: LedgerAccount | None) -> dict[str, Any]:
    accounts = (found,) if found else ()
    seen = IdentitySeen(AccountSeen(ACCOUNT, found))
    return dict(CONTROLLER.summarize(want(identity(), *accounts), seen).fields)


def test_email_is_the_recorded_or_the_expected_one() -> None:
    assert want(identity()).account.email == EMAIL
    email = "checkout@payments-prod-1234.example.iam.gserviceaccount.com"
    assert want(identity(), record(email=email)).account.email == email


def test_plans_show_the_account_by_its_email() -> None:
    assert CONTROLLER.describe(want(identity())) == f"ServiceAccount {EMAIL}"


def test_identities_of_one_account_declare_the_same() -> None:
    assert CONTROLLER.declares(identity()) == CONTROLLER.declares(identity(accountID="checkout"))
    assert CONTROLLER.declares(identity()) != CONTROLLER.declares(identity(accountID="pricing"))


def test_guardrails_decide_on_the_adoption() -> None:
    assert isinstance(want(identity()).account.adoption, Denied)
    adoptable = {"guardrails": {"adoptableAccounts": admitted([EMAIL])}}
    assert want(identity(), **adoptable).account.adoption == Admitted()


def test_account_that_a_former_object_left_is_a_conflict() -> None:
    assert isinstance(resolved(identity(accountID="pricing"), record()), Blocked)


def test_deletion_of_an_identity_without_an_account_has_no_plan() -> None:
    obj = identity()
    assert CONTROLLER.resolve_deletion(obj, FakeClusterState(project(), obj), abandon=False) is None


def test_deletion_policy_abandon_leaves_account_and_grants() -> None:
    obj = identity(deletionPolicy=IdentityDeletionPolicy.ABANDON)
    deleting = CONTROLLER.resolve_deletion(
        obj, FakeClusterState(project(), obj, accounts=[record()]), abandon=False
    )
    assert deleting
    assert deleting.account.deletion
    assert deleting.account.deletion.abandon
    assert CONTROLLER.abandons(obj)
    assert not CONTROLLER.abandons(identity())


def test_status_shows_a_settled_account() -> None:
    fields = summary(record(origin=Origin.CREATED))
    assert fields["email"] == EMAIL
    assert fields["unique_id"] == "111"
    assert fields["member"] == f"serviceAccount:{EMAIL}"
    assert fields["name"] == f"projects/payments-prod-1234/serviceAccounts/{EMAIL}"
    assert fields["origin"] is Origin.CREATED


def test_status_does_not_show_an_account_that_is_not_settled() -> None:
    assert summary(record(unique_id="")) == {}
    assert summary(None) == {}
