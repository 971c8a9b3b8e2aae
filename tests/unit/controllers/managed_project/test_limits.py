from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import (
    GrantState,
    KeyState,
    LedgerKey,
    LedgerRole,
    LedgerUsage,
    Origin,
    RoleState,
    TargetKind,
)
from cloudrun_identity.controllers.managed_project.limits import limit_issues
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.shares import Budget
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger, entry_of
from tests.unit.controllers.cluster_state import FakeClusterState, project, record

HOME = Target(TargetKind.PROJECT, "payments-prod-1234")
SQL = Grant(HOME, "roles/cloudsql.client", "user:ann@example.com")
ROLE = LedgerRole(role_id="r", owner="shop/r", owner_uid="u", origin=Origin.CREATED, state=RoleState.PRESENT)
FIRST_COME: dict[str, Any] = {"sharing": "FirstCome"}


def issues(
    *ledgers: Ledger, emails: Iterable[str] = (), removals: Budget | None = None, **guardrails: Any
) -> list[str]:
    declared = project(guardrails={**project().spec.guardrails.to_dict(), **guardrails})
    cluster = FakeClusterState(declared)
    cluster.stored_ledgers = list(ledgers)
    return list(limit_issues(declared, cluster, tuple(emails), removals or Budget(100)))


def policy(grants: int, *, unmanaged: int = 0) -> Ledger:
    """Return the ledger of the project, with two thirds of the grants for one namespace."""
    namespaces = ("payments", "payments", "shop")
    members = [replace(SQL, member=f"user:u{number}@example.com") for number in range(grants)]
    entries = {
        grant: entry_of(grant, [f"IAMBinding/{namespaces[number % 3]}/b{number}/u"], GrantState.GRANTED)
        for number, grant in enumerate(members)
    }
    return Ledger.of(HOME, entries).replace(usage=LedgerUsage(principals=grants + unmanaged))


def account(number: int, namespace: str) -> Ledger:
    email = f"account-{number}@payments-prod-1234.iam.gserviceaccount.com"
    target = Target.service_account("payments-prod-1234", email)
    return Ledger.of(target).with_account(record(f"{namespace}/i{number}", email))


def test_full_policy_is_reported_with_the_grants_of_each_namespace() -> None:
    assert issues(policy(1200, unmanaged=149), **FIRST_COME) == []
    assert issues(policy(1200, unmanaged=150), **FIRST_COME) == [
        "Project payments-prod-1234 has 1350 of 1500 principals: "
        "800 of namespace payments, 400 of namespace shop, 150 unmanaged"
    ]


def test_exempted_principals_and_groups_are_reported() -> None:
    usage = LedgerUsage(principals=1490, exempted=80, groups=225)
    assert issues(Ledger.of(HOME).replace(usage=usage), **FIRST_COME) == [
        "Project payments-prod-1234 has 225 of 250 groups and domains",
        "Project payments-prod-1234 has 1490 of 1500 principals: 1410 unmanaged, "
        "80 exempted from audit logging",
    ]


def test_grants_that_are_absent_do_not_count() -> None:
    entries = {
        replace(SQL, member=f"user:r{number}@example.com"): entry_of(
            SQL, ["IAMBinding/shop/b/u"], GrantState.REJECTED
        )
        for number in range(100)
    }
    assert issues(Ledger.of(HOME, entries).replace(usage=LedgerUsage(principals=1300))) == []


def test_namespace_that_uses_its_share_of_a_policy_is_reported() -> None:
    assert issues(policy(900)) == []
    assert issues(policy(1125)) == [
        "Project payments-prod-1234 has 1125 of 1500 principals (a share is 750): "
        "750 of namespace payments, 375 of namespace shop"
    ]


def test_custom_roles_are_reported_by_namespace() -> None:
    roles = Ledger.of(HOME).replace(roles=tuple(ROLE.replace(role_id=f"r{each}") for each in range(270)))
    assert issues(roles) == ["payments-prod-1234 has 270 of 300 custom roles: 270 of namespace shop"]


def test_accounts_are_reported_by_namespace_with_unmanaged_ones() -> None:
    ledgers = [account(each, "payments") for each in range(40)] + [account(50, "shop")]
    others = [f"other-{each}@payments-prod-1234.iam.gserviceaccount.com" for each in range(19)]
    managed = [ledger.account.email for ledger in ledgers if ledger.account]
    assert issues(*ledgers, emails=others[:18]) == []
    assert issues(*ledgers, emails=[*managed, *others, "x-1@p.iam.gserviceaccount.com"]) == [
        "payments-prod-1234 has 61 of 100 service accounts (a share is 40): "
        "40 of namespace payments, 1 of namespace shop, 20 unmanaged"
    ]


def test_removals_are_reported_by_namespace() -> None:
    used = Budget(5, {"shop": 3}, namespaces=frozenset({"shop", "payments"}))
    assert issues(removals=Budget(5, {"shop": 2}, namespaces=used.namespaces)) == []
    assert issues(removals=used) == [
        "payments-prod-1234 has 3 of 5 removals of unmanaged members in the last hour (a share is 2): "
        "3 of namespace shop"
    ]


@pytest.mark.parametrize(("keys", "reported"), [(8, False), (9, True)])
def test_keys_of_an_account_are_reported(keys: int, reported: bool) -> None:
    ring = KeyRing().with_records(
        LedgerKey(
            id=f"k{each}",
            owner="shop/key",
            state=KeyState.ACTIVE,
            created_time=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for each in range(keys)
    )
    found = issues(account(1, "shop").with_key_ring(ring))
    assert bool(found) is reported
    assert not found or found[0].endswith("has 9 of 10 keys: 9 of namespace shop")
