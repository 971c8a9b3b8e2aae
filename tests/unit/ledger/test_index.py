from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import (
    Abandonment,
    KeyState,
    LedgerAccount,
    LedgerKey,
    LedgerKeyAttempt,
    TargetKind,
)
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.ledger.index import LedgerIndex
from cloudrun_identity.ledger.keys import KeyRing
from cloudrun_identity.ledger.model import Ledger, entry_of

PROJECT = Target(TargetKind.PROJECT, "acme")
OTHER = Target(TargetKind.PROJECT, "other")
EMAIL = "checkout@acme.iam.gserviceaccount.com"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "acme", name=EMAIL)
RECORD = LedgerAccount(email=EMAIL, owner="payments/checkout", owner_uid="uid-1")
WEB = "IAMBinding/payments/web"


def ledger(target: Target, *owners: str) -> Ledger:
    grant = Grant(target, "roles/run.invoker", "user:ann@example.com")
    return Ledger.of(target, {grant: entry_of(grant, owners)} if owners else {})


@pytest.fixture
def index() -> LedgerIndex:
    return LedgerIndex()


def test_entries_are_found_by_owner_key_without_uid(index: LedgerIndex) -> None:
    index.change(Ledger.of(PROJECT), ledger(PROJECT, f"{WEB}/uid-1"))
    index.change(Ledger.of(OTHER), ledger(OTHER, f"{WEB}/uid-2"))
    assert index.held_by(WEB) == {PROJECT, OTHER}
    index.change(ledger(PROJECT, f"{WEB}/uid-1"), ledger(PROJECT, f"{WEB}/uid-2"))
    assert index.held_by(WEB) == {PROJECT, OTHER}
    index.change(ledger(PROJECT, f"{WEB}/uid-2"), Ledger.of(PROJECT))
    assert index.held_by(WEB) == {OTHER}
    assert index.held_by("IAMBinding/payments/nobody") == frozenset()


def test_targets_of_a_project_are_those_with_entries(index: LedgerIndex) -> None:
    index.change(Ledger.of(PROJECT), ledger(PROJECT, f"{WEB}/uid-1"))
    index.change(Ledger.of(ACCOUNT), Ledger.of(ACCOUNT).with_account(RECORD))
    assert index.targets("acme") == {PROJECT}
    index.change(ledger(PROJECT, f"{WEB}/uid-1"), Ledger.of(PROJECT))
    assert index.targets("acme") == frozenset()
    assert not index._by_project, "the project is dropped from the index"


def test_abandoned_account_has_no_owner(index: LedgerIndex) -> None:
    why = Abandonment(reason="in use", time=datetime(2026, 3, 1, tzinfo=UTC))
    left = RECORD.replace(owner="", abandoned=why)
    owned, abandoned = Ledger.of(ACCOUNT).with_account(RECORD), Ledger.of(ACCOUNT).with_account(left)
    index.change(Ledger.of(ACCOUNT), owned)
    index.change(owned, abandoned)
    assert index.account_of("payments/checkout") is None
    assert index.owner_of(EMAIL) is None
    index.change(abandoned, owned)
    assert index.account_of("payments/checkout") == RECORD


def test_account_is_found_by_owner_and_by_email_in_any_case(index: LedgerIndex) -> None:
    index.change(Ledger.of(ACCOUNT), Ledger.of(ACCOUNT).with_account(RECORD))
    assert index.account_of("payments/checkout") == RECORD
    assert index.account_home("payments/checkout") == ACCOUNT
    assert index.owner_of(EMAIL.upper()) == RECORD
    index.change(Ledger.of(ACCOUNT).with_account(RECORD), Ledger.of(ACCOUNT))
    assert index.account_of("payments/checkout") is None
    assert index.account_home("payments/checkout") is None
    assert index.owner_of(EMAIL) is None


def test_updated_record_replaces_the_former_one(index: LedgerIndex) -> None:
    complete = RECORD.replace(unique_id="111")
    index.change(Ledger.of(ACCOUNT), Ledger.of(ACCOUNT).with_account(RECORD))
    index.change(Ledger.of(ACCOUNT).with_account(RECORD), Ledger.of(ACCOUNT).with_account(complete))
    assert index.account_of("payments/checkout") == complete
    assert index.owner_of(EMAIL) == complete


def test_record_moved_to_another_account_survives_the_old_ledger(index: LedgerIndex) -> None:
    moved = RECORD.replace(email="checkout@acme.example.iam.gserviceaccount.com")
    home = Target(TargetKind.SERVICE_ACCOUNT, "acme", name=moved.email)
    index.change(Ledger.of(ACCOUNT), Ledger.of(ACCOUNT).with_account(RECORD))
    index.change(Ledger.of(home), Ledger.of(home).with_account(moved))
    index.change(Ledger.of(ACCOUNT).with_account(RECORD), Ledger.of(ACCOUNT))
    assert index.account_of("payments/checkout") == moved
    assert index.account_home("payments/checkout") == home
    assert index.owner_of(EMAIL) is None


ledgers = st.builds(
    lambda target, owners, account: ledger(target, *owners).with_account(
        RECORD if account and target == ACCOUNT else None
    ),
    st.sampled_from([PROJECT, OTHER, ACCOUNT]),
    st.sets(st.sampled_from([f"{WEB}/uid-1", f"{WEB}/uid-2", "IAMBinding/shop/api/uid-3"])),
    st.booleans(),
)


@given(st.lists(ledgers, max_size=10))
def test_index_agrees_with_a_scan_of_all_ledgers(changes: list[Ledger]) -> None:
    index, current = LedgerIndex(), dict[Target, Ledger]()
    for changed in changes:
        index.change(current.get(changed.target, Ledger.of(changed.target)), changed)
        current[changed.target] = changed
    for owner_key in (WEB, "IAMBinding/shop/api"):
        assert index.held_by(owner_key) == {
            each.target for each in current.values() if owner_key in each.owner_keys
        }
    for project in ("acme", "other"):
        held = {each.target for each in current.values() if each.entries}
        assert index.targets(project) == {target for target in held if target.project_id == project}
    recorded = current.get(ACCOUNT, Ledger.of(ACCOUNT)).account
    assert index.account_of("payments/checkout") == index.owner_of(EMAIL) == recorded


def test_account_with_keys_is_found_by_the_identity_key(index: LedgerIndex) -> None:
    noon = datetime(2026, 3, 1, tzinfo=UTC)
    attempted = Ledger.of(ACCOUNT).with_key_ring(
        KeyRing(attempt=LedgerKeyAttempt(owner="payments/ci", time=noon, known=()))
    )
    made = KeyRing(
        {"k": LedgerKey(id="k", owner="payments/checkout", state=KeyState.ACTIVE, created_time=noon)}
    )

    index.change(Ledger.of(ACCOUNT), attempted)
    assert index.key_home("payments/ci") == ACCOUNT
    index.change(attempted, Ledger.of(ACCOUNT).with_key_ring(made))

    assert (index.key_home("payments/ci"), index.key_home("payments/checkout")) == (None, ACCOUNT)
