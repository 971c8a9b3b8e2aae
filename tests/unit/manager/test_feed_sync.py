"""The sync of each kind of subject: a constant number of calls, and the objects that it concerns."""

from types import SimpleNamespace

import pytest

from cloudrun_identity.api import ManagedProject, TargetKind
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.ratelimit import Priority
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.audited_changes import (
    AccountChange,
    PolicyChange,
    ProjectChange,
    RoleChange,
    Subject,
    WorkloadChange,
)
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.manager.feed_sync import FeedSync
from cloudrun_identity.reconcile.cluster_state import ObjectKey, account_key, identity_key, role_key

SHOP = "shop-1234"
EMAIL = f"checkout@{SHOP}.iam.gserviceaccount.com"
CHECKOUT = identity_key("payments", "checkout")
KEY = ObjectKey("IdentityKey", "payments", "checkout")
ATTACHMENT = ObjectKey("IdentityAttachment", "payments", "web")
BINDING = ObjectKey("IAMBinding", "payments", "viewers")
IN_BANK = ObjectKey("IAMBinding", "bank", "viewers")
ROLE = ObjectKey("CustomRole", "payments", "reader")
WEB = Target(TargetKind.SERVICE, SHOP, "europe-west1", "web")
PROJECT = ManagedProject.model_validate({"metadata": {"name": "shop"}, "spec": {"projectID": SHOP}})


class Parts:
    """The cache, the syncers and the clients, with a log of what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.enqueued: list[tuple[ObjectKey, Priority]] = []
        self.fails = False
        self.declared = {
            ("CloudRunIdentity", "shop/checkout"): (CHECKOUT,),
            ("CustomRole", "shop/reader"): (ROLE,),
            ("IdentityAttachment", "shop/Service europe-west1/web"): (ATTACHMENT,),
        }
        self.referring = {
            CHECKOUT: (KEY, BINDING),
            account_key(EMAIL): (ATTACHMENT,),
            role_key(f"projects/{SHOP}/roles/reader"): (BINDING,),
            role_key("organizations/7/roles/reader"): (BINDING, IN_BANK),
        }
        self.inventory = self.keys = self.custom_roles = self.roles = self
        self.feed = FeedSync(self, self, self, lambda *each: self.enqueued.append(each))  # type: ignore[arg-type]

    # The cache.

    def project_on(self, project_id: str) -> ManagedProject | None:
        return PROJECT if project_id == SHOP else None

    def stored(self, key: ObjectKey) -> object:
        name = {"bank": "bank"}.get(key.namespace, "shop")
        return SimpleNamespace(raw={"spec": {"projectRef": {"name": name}}})

    def project(self, name: str) -> ManagedProject | None:
        spec = {"projectID": f"{name}-1234"}
        return ManagedProject.model_validate({"metadata": {"name": name}, "spec": spec})

    def identities(self) -> dict[str, DeclaredIdentity]:
        return {EMAIL: DeclaredIdentity("payments", "checkout")}

    def declarers(self, kind: type, declares: str) -> tuple[ObjectKey, ...]:
        return self.declared.get((kind.__name__, declares), ())

    def referrers(self, key: ObjectKey) -> tuple[ObjectKey, ...]:
        return self.referring.get(key, ())

    def ledgers(self, project_id: str) -> list[object]:
        account = SimpleNamespace(unique_id="123", email=EMAIL)
        return [SimpleNamespace(account=None), SimpleNamespace(account=account)]

    # The syncers.

    def concerns(self, target: Target) -> bool:
        return target in (Target.project(SHOP), WEB)

    async def resync_target(self, target: Target) -> frozenset[Owner]:
        self.calls.append(f"sync {target}")
        return frozenset({Owner("IAMBinding", "payments", "viewers", "uid-1")})

    # The clients.

    def invalidate_account(self, project_id: str, email: str) -> None:
        self.calls.append(f"invalidate {email}")

    def invalidate_workload(self, workload: object) -> None:
        self.calls.append("invalidate workload")

    def invalidate(self, project_id: str, role_id: str) -> None:
        self.calls.append(f"invalidate {role_id}")

    def forget(self, first: str, second: str) -> None:
        self.calls.append(f"forget {first} {second}")

    async def service_account(self, project_id: str, email: str, max_age: float) -> None:
        self.calls.append(f"read {email}")
        if self.fails:
            raise GoogleError(Fault.UNAVAILABLE, "GetServiceAccount", "no")

    async def workload(self, workload: object, max_age: float) -> None:
        self.calls.append("read workload")


async def synced(subject: Subject, parts: Parts | None = None) -> tuple[list[str], set[ObjectKey]]:
    parts = parts or Parts()
    await parts.feed.sync(subject)
    assert {priority for _, priority in parts.enqueued} <= {Priority.RESYNC}
    return parts.calls, {key for key, _ in parts.enqueued}


async def test_policy_is_synced_alone_and_objects_with_drift_are_reconciled() -> None:
    assert await synced(PolicyChange(Target.project(SHOP))) == ([f"sync Project {SHOP}"], {BINDING})


async def test_policy_without_grants_is_not_read() -> None:
    assert await synced(PolicyChange(Target.secret(SHOP, "stripe"))) == ([], set())


@pytest.mark.parametrize("change", [AccountChange(SHOP, EMAIL, "123"), AccountChange(SHOP, "", "123")])
async def test_account_is_read_once_by_email_or_unique_id(change: AccountChange) -> None:
    calls, enqueued = await synced(change)
    assert calls == [f"invalidate {EMAIL}", f"read {EMAIL}"]
    assert enqueued == {CHECKOUT, KEY, ATTACHMENT}


async def test_account_that_cannot_be_read_is_left_to_its_reconcile() -> None:
    parts = Parts()
    parts.fails = True
    assert CHECKOUT in (await synced(AccountChange(SHOP, EMAIL), parts))[1]


async def test_unmanaged_account_is_not_read() -> None:
    stranger = f"stranger@{SHOP}.iam.gserviceaccount.com"
    assert await synced(AccountChange(SHOP, stranger)) == ([], set())


async def test_changed_key_makes_the_keys_be_listed_again() -> None:
    calls, enqueued = await synced(AccountChange(SHOP, EMAIL, "123", of_keys=True))
    assert calls == [f"forget {SHOP} {EMAIL}", f"forget {SHOP} 123"]
    assert enqueued == {CHECKOUT, KEY}


async def test_changed_role_concerns_its_object_and_its_grants() -> None:
    role = f"projects/{SHOP}/roles/reader"
    calls, enqueued = await synced(RoleChange(SHOP, role))
    assert calls == ["invalidate reader", f"forget {role} {SHOP}"]
    assert enqueued == {ROLE, BINDING}


async def test_changed_role_of_an_organization_is_read_again_in_each_project() -> None:
    role = "organizations/7/roles/reader"
    calls, enqueued = await synced(RoleChange("", role))
    assert sorted(calls) == [f"forget {role} bank-1234", f"forget {role} {SHOP}"]
    assert enqueued == {BINDING, IN_BANK}


async def test_unmanaged_role_and_workload_are_not_remembered() -> None:
    role = f"projects/{SHOP}/roles/other"
    assert await synced(RoleChange(SHOP, role)) == ([f"forget {role} {SHOP}"], set())
    other = Target(TargetKind.SERVICE, SHOP, "europe-west1", "other")
    assert await synced(WorkloadChange(other)) == ([], set())


async def test_changed_workload_concerns_its_attachment_and_its_policy() -> None:
    calls, enqueued = await synced(WorkloadChange(WEB))
    assert calls == ["invalidate workload", "read workload", "sync Service europe-west1/web"]
    assert enqueued == {ATTACHMENT, BINDING}


async def test_changed_project_is_read_now() -> None:
    parts = Parts()
    await parts.feed.sync(ProjectChange(SHOP))
    assert parts.enqueued == [(ObjectKey("ManagedProject", "", "shop"), Priority.EDIT)]
