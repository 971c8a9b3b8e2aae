from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import (
    AccountIntent,
    AccountLoss,
    GrantState,
    LedgerAccount,
    LedgerAttachment,
    LedgerKeyAttempt,
)
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger, entry_of
from tests.unit.policy.strategies import ACCOUNT, MEMBERS, ROLES, TARGET

GRANT, SHARED = Grant(TARGET, ROLES[0], ACCOUNT), Grant(TARGET, ROLES[0], MEMBERS[1])
ONE, OTHER = "IAMBinding/payments/one/uid-1", "IAMBinding/payments/other/uid-2"
RECORD = LedgerAccount(
    email="checkout@payments-prod-1234.iam.gserviceaccount.com", owner="payments/checkout", owner_uid="uid-3"
)


def test_ledger_without_entries_and_records_is_empty() -> None:
    assert Ledger.of(TARGET).is_empty
    assert not Ledger.of(TARGET, {GRANT: entry_of(GRANT, [ONE])}).is_empty
    assert not Ledger.of(TARGET).with_account(RECORD).is_empty
    assert Ledger.of(TARGET).with_account(RECORD).with_account(None).is_empty


def test_keys_are_dropped_with_the_account() -> None:
    ring = KeyRing(
        attempt=LedgerKeyAttempt(owner="payments/checkout", time=datetime(2030, 1, 2, tzinfo=UTC), known=())
    )
    keyed = Ledger.of(TARGET).with_account(RECORD.replace(unique_id="111")).with_key_ring(ring)
    assert not keyed.with_account(None).is_empty
    assert keyed.with_account(RECORD.replace(unique_id="111", disabled=True)).key_ring == ring
    assert keyed.with_account(RECORD.replace(unique_id="112")).key_ring == KeyRing()


def test_account_record_keeps_the_entries() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry_of(GRANT, [ONE])})
    assert ledger.with_account(RECORD).entries == ledger.entries


def test_entries_are_dropped_with_the_account() -> None:
    entries = {GRANT: entry_of(GRANT, [ONE])}
    own = Ledger.of(TARGET, entries).with_account(RECORD.replace(unique_id="111"))
    assert (own.target_uid, own.entries) == ("111", entries)
    assert own.with_account(RECORD.replace(unique_id="")).entries == entries, "the new ID is not known yet"
    assert own.with_account(None).target_uid == "111", "other objects may have entries"
    other = own.with_account(RECORD.replace(unique_id="222"))
    assert (other.target_uid, other.entries) == ("222", {})


@pytest.mark.parametrize("loss", AccountLoss)
def test_no_entry_stays_granted_on_a_lost_account(loss: AccountLoss) -> None:
    entries = {
        GRANT: entry_of(GRANT, [ONE], GrantState.GRANTED, present_before=True),
        SHARED: entry_of(SHARED, [ONE], GrantState.RELEASING),
    }
    ledger = Ledger.of(TARGET, entries).with_account(RECORD.replace(unique_id="111", lost=loss))
    assert {grant: entry.state for grant, entry in ledger.entries.items()} == {
        GRANT: GrantState.PENDING,
        SHARED: GrantState.RELEASING,
    }
    assert ledger.entries[GRANT].present_before, "the policy returns with the account"
    assert (ledger.grant_counts.granted, ledger.grant_counts.pending) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "steady"),
    [
        ({"unique_id": "111"}, True),
        ({}, False),
        ({"unique_id": "111", "intent": AccountIntent.UNDELETE}, False),
        ({"unique_id": "111", "lost": AccountLoss.REPLACED}, False),
    ],
)
def test_account_is_steady_without_intent_and_loss(fields: dict[str, Any], steady: bool) -> None:
    assert RECORD.replace(**fields).is_steady is steady


def test_grants_are_found_by_owner_key_without_uid() -> None:
    ledger = Ledger.of(TARGET, {GRANT: entry_of(GRANT, [ONE]), SHARED: entry_of(SHARED, [ONE, OTHER])})
    assert ledger.owner_keys == {"IAMBinding/payments/one", "IAMBinding/payments/other"}
    assert ledger.held_by("IAMBinding/payments/one") == {GRANT, SHARED}
    assert ledger.held_by("IAMBinding/payments/other") == {SHARED}
    assert ledger.held_by("CloudRunIdentity/payments/one") == frozenset()


def test_namespaces_hold_a_target_by_grants_and_by_an_attachment() -> None:
    web = "IAMBinding/shop/web/uid-9"
    entries = {
        GRANT: entry_of(GRANT, [ONE], GrantState.GRANTED),
        SHARED: entry_of(SHARED, [web], GrantState.PENDING),
    }
    ledger = Ledger.of(TARGET, entries)
    assert ledger.namespaces == {"payments"}
    attachment = LedgerAttachment(owner="bank/web", owner_uid="u", workload_uid="w", service_account="a@b")
    assert ledger.replace(attachment=attachment).namespaces == {"payments", "bank"}


def test_owners_of_a_new_entry_are_in_one_order() -> None:
    owners = [f"IAMBinding/payments/{number}/uid" for number in range(9)]
    assert list(entry_of(GRANT, frozenset(owners)).owners) == owners
