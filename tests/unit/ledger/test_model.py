from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, AccountLoss
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.key_records import KeyAttempt, KeyRing
from cloudrun_identity.ledger.model import AccountRecord, Ledger, LedgerEntry
from tests.unit.iam.strategies import ACCOUNT, MEMBERS, ROLES, TARGET

GRANT, SHARED = Grant(TARGET, ROLES[0], ACCOUNT), Grant(TARGET, ROLES[0], MEMBERS[1])
ONE, OTHER = "IAMBinding/payments/one/uid-1", "IAMBinding/payments/other/uid-2"
RECORD = AccountRecord("checkout@payments-prod-1234.iam.gserviceaccount.com", "payments/checkout", "uid-3")


def test_a_ledger_is_empty_without_holdings_and_account() -> None:
    assert Ledger(TARGET).is_empty
    assert not Ledger(TARGET, entries={GRANT: LedgerEntry(frozenset({ONE}))}).is_empty
    assert not Ledger(TARGET).with_account(RECORD).is_empty
    assert Ledger(TARGET).with_account(RECORD).with_account(None).is_empty


def test_another_account_has_none_of_the_keys() -> None:
    ring = KeyRing(attempt=KeyAttempt("payments/checkout", datetime(2030, 1, 2, tzinfo=UTC), frozenset()))
    keyed = Ledger(TARGET).with_account(replace(RECORD, unique_id="111")).with_keys(ring)
    assert not keyed.with_account(None).is_empty
    assert keyed.with_account(replace(RECORD, unique_id="111", disabled=True)).keys == ring
    assert keyed.with_account(replace(RECORD, unique_id="112")).keys == KeyRing()


def test_another_account_record_leaves_the_holdings() -> None:
    ledger = Ledger(TARGET, entries={GRANT: LedgerEntry(frozenset({ONE}))})
    assert ledger.with_account(RECORD).entries == ledger.entries


def test_another_account_has_a_policy_of_its_own() -> None:
    held = {GRANT: LedgerEntry(frozenset({ONE}))}
    ours = Ledger(TARGET, entries=held).with_account(replace(RECORD, unique_id="111"))
    assert (ours.target_uid, ours.entries) == ("111", held)
    assert ours.with_account(replace(RECORD, unique_id="")).entries == held, "it is not known yet"
    assert ours.with_account(None).target_uid == "111", "others may hold grants on it"
    other = ours.with_account(replace(RECORD, unique_id="222"))
    assert (other.target_uid, other.entries) == ("222", {})


@pytest.mark.parametrize(
    ("fields", "steady"),
    [
        ({"unique_id": "111"}, True),
        ({}, False),
        ({"unique_id": "111", "intent": AccountIntent.UNDELETE}, False),
        ({"unique_id": "111", "lost": AccountLoss.REPLACED}, False),
    ],
)
def test_dependants_may_go_with_an_account_that_is_there(fields: dict[str, Any], steady: bool) -> None:
    assert replace(RECORD, **fields).is_steady is steady


def test_a_predecessor_holds_for_its_successor() -> None:
    ledger = Ledger(
        TARGET, entries={GRANT: LedgerEntry(frozenset({ONE})), SHARED: LedgerEntry(frozenset({ONE, OTHER}))}
    )
    assert ledger.owner_keys == {"IAMBinding/payments/one", "IAMBinding/payments/other"}
    assert ledger.held_by("IAMBinding/payments/one") == {GRANT, SHARED}
    assert ledger.held_by("IAMBinding/payments/other") == {SHARED}
    assert ledger.held_by("CloudRunIdentity/payments/one") == frozenset()
