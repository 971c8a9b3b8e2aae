"""Which keys nobody declares, and what is said of them."""

from datetime import UTC, datetime

from cloudrun_identity.api import ConditionStatus, KeyState, LedgerKey, LedgerKeyAttempt
from cloudrun_identity.controllers.cloud_run_identity.key_audit import keys_audited, undeclared
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.ledger.keys import KeyRing

EMAIL = "checkout@acme.iam.gserviceaccount.com"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
OLD = ListedKey("old", datetime(2025, 3, 1, tzinfo=UTC))
NEW = ListedKey("new", NEW_YEAR)
LISTED = {"new": NEW, "old": OLD}


def ring(state: KeyState = KeyState.ACTIVE, attempt: LedgerKeyAttempt | None = None) -> KeyRing:
    return KeyRing(
        {"new": LedgerKey(id="new", owner="payments/checkout", state=state, created_time=NEW_YEAR)}, attempt
    )


def ids(known: KeyRing) -> list[str]:
    return [key.id for key in undeclared(LISTED, known)]


def test_keys_that_the_ledger_does_not_know_are_nobodys_the_oldest_first() -> None:
    assert ids(KeyRing()) == ["old", "new"]
    assert ids(ring()) == ["old"]


def test_a_key_that_is_not_ours_for_sure_is_nobodys() -> None:
    assert ids(ring(KeyState.UNCLEAR)) == ["old", "new"]


def test_what_appears_while_one_of_ours_is_made_may_be_that_one() -> None:
    attempt = LedgerKeyAttempt(owner="payments/checkout", time=NEW_YEAR, known=frozenset({"old"}))
    assert ids(KeyRing(attempt=attempt)) == ["old"]


def test_the_condition_names_the_oldest_key_and_how_to_be_rid_of_it() -> None:
    finding = keys_audited(undeclared(LISTED, KeyRing()), EMAIL)
    assert (finding.status, finding.reason) == (ConditionStatus.FALSE, "UnmanagedKeys")
    assert "2 user-managed keys" in finding.message
    assert "2025-03-01" in finding.message
    assert f"keys delete old --iam-account={EMAIL}" in finding.message


def test_without_such_keys_all_is_well_and_without_a_list_nothing_is_known() -> None:
    assert keys_audited((), EMAIL).status is ConditionStatus.TRUE
    denied = GoogleError(Fault.PERMISSION_DENIED, "IAM/ListServiceAccountKeys", "you may not")
    assert keys_audited(denied, EMAIL).status is ConditionStatus.UNKNOWN
