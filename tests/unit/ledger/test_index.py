from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import Abandonment, KeyState, TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.key_records import KeyAttempt, KeyRecord, KeyRing
from cloudrun_identity.ledger.index import LedgerIndex
from cloudrun_identity.ledger.model import AccountRecord, Ledger, LedgerEntry

PROJECT = Target(TargetKind.PROJECT, "acme")
OTHER = Target(TargetKind.PROJECT, "other")
EMAIL = "checkout@acme.iam.gserviceaccount.com"
ACCOUNT = Target(TargetKind.SERVICE_ACCOUNT, "acme", name=EMAIL)
RECORD = AccountRecord(EMAIL, "payments/checkout", "uid-1")
WEB = "IAMBinding/payments/web"


def entry(*owners: str) -> LedgerEntry:
    return LedgerEntry(frozenset(owners))


def ledger(target: Target, *owners: str) -> Ledger:
    grant = Grant(target, "roles/run.invoker", "user:ann@example.com")
    return Ledger(target, entries={grant: entry(*owners)} if owners else {})


@pytest.fixture
def index() -> LedgerIndex:
    return LedgerIndex()


def test_claimants_are_found_by_their_seat_whatever_their_uid(index: LedgerIndex) -> None:
    index.change(Ledger(PROJECT), ledger(PROJECT, f"{WEB}/uid-1"))
    index.change(Ledger(OTHER), ledger(OTHER, f"{WEB}/uid-2"))
    assert index.held_by(WEB) == {PROJECT, OTHER}
    index.change(ledger(PROJECT, f"{WEB}/uid-1"), ledger(PROJECT, f"{WEB}/uid-2"))
    assert index.held_by(WEB) == {PROJECT, OTHER}
    index.change(ledger(PROJECT, f"{WEB}/uid-2"), Ledger(PROJECT))
    assert index.held_by(WEB) == {OTHER}
    assert index.held_by("IAMBinding/payments/nobody") == frozenset()


def test_a_project_lists_the_targets_on_which_something_is_held(index: LedgerIndex) -> None:
    index.change(Ledger(PROJECT), ledger(PROJECT, f"{WEB}/uid-1"))
    index.change(Ledger(ACCOUNT), Ledger(ACCOUNT).with_account(RECORD))
    assert index.targets("acme") == {PROJECT}
    index.change(ledger(PROJECT, f"{WEB}/uid-1"), Ledger(PROJECT))
    assert index.targets("acme") == frozenset()
    assert not index._by_project, "nor is the project remembered"


def test_an_account_that_was_left_behind_is_nobodys(index: LedgerIndex) -> None:
    why = Abandonment(reason="in use", time=datetime(2026, 3, 1, tzinfo=UTC))
    left = replace(RECORD, owner="", abandoned=why)
    owned, abandoned = Ledger(ACCOUNT).with_account(RECORD), Ledger(ACCOUNT).with_account(left)
    index.change(Ledger(ACCOUNT), owned)
    index.change(owned, abandoned)
    assert index.account_of("payments/checkout") is None
    assert index.owner_of(EMAIL) is None
    index.change(abandoned, owned)
    assert index.account_of("payments/checkout") == RECORD


def test_an_account_is_found_by_owner_and_by_email_in_any_case(index: LedgerIndex) -> None:
    index.change(Ledger(ACCOUNT), Ledger(ACCOUNT).with_account(RECORD))
    assert index.account_of("payments/checkout") == RECORD
    assert index.account_home("payments/checkout") == ACCOUNT
    assert index.owner_of(EMAIL.upper()) == RECORD
    index.change(Ledger(ACCOUNT).with_account(RECORD), Ledger(ACCOUNT))
    assert index.account_of("payments/checkout") is None
    assert index.account_home("payments/checkout") is None
    assert index.owner_of(EMAIL) is None


def test_a_completed_record_replaces_the_one_before(index: LedgerIndex) -> None:
    complete = replace(RECORD, unique_id="111")
    index.change(Ledger(ACCOUNT), Ledger(ACCOUNT).with_account(RECORD))
    index.change(Ledger(ACCOUNT).with_account(RECORD), Ledger(ACCOUNT).with_account(complete))
    assert index.account_of("payments/checkout") == complete
    assert index.owner_of(EMAIL) == complete


def test_a_record_that_moves_to_another_account_is_not_lost_with_the_old_one(index: LedgerIndex) -> None:
    told = replace(RECORD, email="checkout@acme.example.iam.gserviceaccount.com")
    home = Target(TargetKind.SERVICE_ACCOUNT, "acme", name=told.email)
    index.change(Ledger(ACCOUNT), Ledger(ACCOUNT).with_account(RECORD))
    index.change(Ledger(home), Ledger(home).with_account(told))
    index.change(Ledger(ACCOUNT).with_account(RECORD), Ledger(ACCOUNT))
    assert index.account_of("payments/checkout") == told
    assert index.account_home("payments/checkout") == home
    assert index.owner_of(EMAIL) is None


ledgers = st.builds(
    lambda target, owners, account: replace(
        ledger(target, *owners), account=RECORD if account and target == ACCOUNT else None
    ),
    st.sampled_from([PROJECT, OTHER, ACCOUNT]),
    st.sets(st.sampled_from([f"{WEB}/uid-1", f"{WEB}/uid-2", "IAMBinding/shop/api/uid-3"])),
    st.booleans(),
)


@given(st.lists(ledgers, max_size=10))
def test_the_index_says_what_a_look_through_all_ledgers_would(changes: list[Ledger]) -> None:
    index, current = LedgerIndex(), dict[Target, Ledger]()
    for changed in changes:
        index.change(current.get(changed.target, Ledger(changed.target)), changed)
        current[changed.target] = changed
    for owner_key in (WEB, "IAMBinding/shop/api"):
        assert index.held_by(owner_key) == {
            each.target for each in current.values() if owner_key in each.owner_keys
        }
    for project in ("acme", "other"):
        held = {each.target for each in current.values() if each.entries}
        assert index.targets(project) == {target for target in held if target.project_id == project}
    recorded = current.get(ACCOUNT, Ledger(ACCOUNT)).account
    assert index.account_of("payments/checkout") == index.owner_of(EMAIL) == recorded


def test_the_account_of_an_objects_keys_is_found_by_the_object(index: LedgerIndex) -> None:
    noon = datetime(2026, 3, 1, tzinfo=UTC)
    attempted = Ledger(ACCOUNT).with_keys(KeyRing(attempt=KeyAttempt("payments/ci", noon, frozenset())))
    made = KeyRing({"k": KeyRecord("k", "payments/checkout", KeyState.ACTIVE, noon)})

    index.change(Ledger(ACCOUNT), attempted)
    assert index.key_home("payments/ci") == ACCOUNT
    index.change(attempted, Ledger(ACCOUNT).with_keys(made))

    assert (index.key_home("payments/ci"), index.key_home("payments/checkout")) == (None, ACCOUNT)
