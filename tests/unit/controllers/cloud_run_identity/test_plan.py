"""The plan for an account as a pure function: every state of record and account has its steps."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, AccountLoss, AccountText, LedgerAccount, Origin, Reason
from cloudrun_identity.controllers.cloud_run_identity.account import AccountSeen, AccountWant
from cloudrun_identity.controllers.cloud_run_identity.account_records import creating
from cloudrun_identity.controllers.cloud_run_identity.actions import (
    ForgetAccount,
    LeaveBehind,
    UndeleteAccount,
)
from cloudrun_identity.controllers.cloud_run_identity.plan import plan
from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from cloudrun_identity.iam.admission import Admitted, Decision, Denied
from cloudrun_identity.reconcile.outcomes import InSync, Paused, Refused, Waiting
from cloudrun_identity.reconcile.steps import Refuse, Wait
from tests.unit.controllers.cloud import PROJECT_ID
from tests.unit.controllers.cluster_state import EMAIL, identity, record

from .account_bench import NOON

ADMITTED = Admitted()
ACCOUNT = ServiceAccount(PROJECT_ID, EMAIL, "111", "Till", "sells")
REPLACEMENT = replace(ACCOUNT, unique_id="999")
SETTLED = record(origin=Origin.CREATED, unique_ids=("111",))
SENT = AccountText(display_name="Till", description="sells")


def want(decision: Decision = ADMITTED, **spec: Any) -> AccountWant:
    return AccountWant(identity(**spec), PROJECT_ID, EMAIL, decision)


def steps(seen: AccountSeen, now: datetime = NOON, **spec: Any) -> list[str]:
    """Return the steps by name; what waits or refuses with its reason."""
    return [
        f"{type(step).__name__} {step.reason}" if isinstance(step, Wait | Refuse) else type(step).__name__
        for step in plan(want(**spec), seen, now).steps
    ]


def in_creation(former: LedgerAccount | None = None) -> LedgerAccount:
    return creating(want(), former, NOON).replace(sent=SENT)


# Without a record


def test_missing_account_is_created() -> None:
    assert steps(AccountSeen(None)) == ["CreateAccount"]


def test_account_declared_as_disabled_is_created_and_disabled() -> None:
    found = plan(want(disabled=True), AccountSeen(None), NOON)
    assert [str(change) for change in found.changes] == [
        "account: absent → created",
        "disabled: false → true",
    ]


def test_existing_account_is_refused_without_adoption() -> None:
    found = plan(want(), AccountSeen(ACCOUNT), NOON)
    assert isinstance(found.forecast, Refused)
    assert found.forecast.reason is Reason.CONFLICT
    assert "set spec.adoption to Adopt" in found.forecast.message


def test_adoption_that_guardrails_deny_is_refused() -> None:
    found = plan(want(Denied("not listed"), adoption="Adopt"), AccountSeen(ACCOUNT), NOON)
    assert found.forecast == Refused(Reason.DENIED_BY_GUARDRAIL, "spec.adoption: not listed")


def test_adopted_account_is_updated_in_the_same_plan() -> None:
    seen = AccountSeen(replace(ACCOUNT, disabled=True))
    found = plan(want(adoption="Adopt", displayName="Counter"), seen, NOON)
    assert found.forecast == Paused(
        Reason.DRIFT_DETECTED,
        "account: exists already → adopted; displayName: Till → Counter; disabled: true → false",
    )


@pytest.mark.parametrize("account", [None, ACCOUNT])
def test_account_of_another_object_is_refused(account: ServiceAccount | None) -> None:
    seen = AccountSeen(account, owned_by="CloudRunIdentity payments/other's; delete that one first")
    assert steps(seen) == ["Refuse Conflict"]


def test_email_that_a_create_found_taken_is_waited_for() -> None:
    assert steps(AccountSeen(None, taken=True)) == ["Wait Updating"]


# A create whose effect is not certain


@pytest.mark.parametrize(
    ("seen", "seconds", "expected"),
    [
        (AccountSeen(None), 0, ["RetryCreate"]),
        (AccountSeen(None, followed=True), 0, ["Wait PropagationPending"]),
        (AccountSeen(None, followed=True), GRACE + 1, ["RetryCreate"]),
        (AccountSeen(ACCOUNT, good_reads=GOOD_READS - 1), 0, ["Wait PropagationPending"]),
        (AccountSeen(ACCOUNT, good_reads=GOOD_READS), 0, ["SettleAccount"]),
        (AccountSeen(ACCOUNT, good_reads=GOOD_READS, made="111"), 0, ["SettleAccount"]),
        (
            AccountSeen(REPLACEMENT, good_reads=GOOD_READS, made="111"),
            0,
            ["WithdrawCreate", "Refuse Conflict"],
        ),
        (
            AccountSeen(replace(ACCOUNT, description="theirs"), good_reads=GOOD_READS),
            0,
            ["WithdrawCreate", "Refuse Conflict"],
        ),
    ],
)
def test_recorded_create_is_seen_through(seen: AccountSeen, seconds: float, expected: list[str]) -> None:
    now = NOON + timedelta(seconds=seconds)
    assert steps(replace(seen, record=in_creation()), now) == expected


def test_waiting_create_reports_the_same_difference_until_it_is_settled() -> None:
    differences = {
        tuple(map(str, plan(want(), seen, NOON).changes))
        for seen in (
            AccountSeen(None),
            AccountSeen(None, in_creation(), followed=True),
            AccountSeen(ACCOUNT, in_creation(), good_reads=1),
            AccountSeen(ACCOUNT, in_creation(), good_reads=GOOD_READS),
        )
    }
    assert differences == {("account: absent → created",)}


def test_withdrawn_recreation_is_a_replacement() -> None:
    seen = AccountSeen(REPLACEMENT, in_creation(SETTLED), made="222")
    assert steps(seen) == ["WithdrawCreate", "RecordLoss", "Refuse Conflict"]
    assert steps(seen, whenReplaced="Regrant") == [
        "WithdrawCreate",
        "RecordLoss",
        "Wait PropagationPending",
    ]


# A settled account


@pytest.mark.parametrize(
    ("account", "spec", "expected"),
    [
        (ACCOUNT, {}, []),
        (ACCOUNT, {"displayName": "Till"}, []),
        (ACCOUNT, {"displayName": "Counter", "description": ""}, ["UpdateAccount"]),
        (ACCOUNT, {"disabled": True}, ["SwitchAccount"]),
        (ACCOUNT, {"disabled": True, "whenDisabled": "Report"}, ["SwitchAccount"]),
        (replace(ACCOUNT, disabled=True), {}, ["SwitchAccount"]),
        (replace(ACCOUNT, disabled=True), {"whenDisabled": "Report"}, ["Leave"]),
        (replace(ACCOUNT, disabled=True), {"disabled": True}, ["RecordSwitch"]),
    ],
)
def test_settled_account_is_kept_as_declared(
    account: ServiceAccount, spec: dict[str, Any], expected: list[str]
) -> None:
    assert steps(AccountSeen(account, SETTLED), **spec) == expected


def test_differences_are_shown_by_field() -> None:
    found = plan(
        want(displayName="Counter", description="", disabled=True), AccountSeen(ACCOUNT, SETTLED), NOON
    )
    assert [str(change) for change in found.changes] == [
        "displayName: Till → Counter",
        "description: sells → unset",
        "disabled: false → true",
    ]


# A deleted account


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["UndeleteAccount"]),
        ({"whenDeleted": "Recreate"}, ["RecreateAccount"]),
        ({"whenDeleted": "Recreate", "disabled": True}, ["RecreateAccount", "SwitchAccount"]),
        ({"whenDeleted": "Report"}, ["RecordLoss", "Leave"]),
    ],
)
def test_when_deleted_decides_on_a_deleted_account(spec: dict[str, Any], expected: list[str]) -> None:
    assert steps(AccountSeen(None, SETTLED), **spec) == expected


def test_reported_deletion_retains_the_grants() -> None:
    found = plan(want(whenDeleted="Report"), AccountSeen(None, SETTLED), NOON)
    assert found.retains_grants
    assert isinstance(found.forecast, Paused)
    assert "spec.whenDeleted: Report" in found.forecast.message


@pytest.mark.parametrize("spec", [{}, {"whenDeleted": "Recreate"}, {"whenDeleted": "Report"}])
def test_fresh_account_that_is_missing_is_waited_for(spec: dict[str, Any]) -> None:
    fresh = SETTLED.replace(appeared_time=NOON)
    assert steps(AccountSeen(None, fresh), **spec) == ["Wait PropagationPending"]
    assert steps(AccountSeen(None, fresh), NOON + timedelta(seconds=GRACE + 1), **spec) != [
        "Wait PropagationPending"
    ]


def test_undelete_without_a_known_reply_is_repeated_in_doubt() -> None:
    undeleting = SETTLED.replace(intent=AccountIntent.UNDELETE, appeared_time=NOON)
    (action,) = plan(want(), AccountSeen(None, undeleting), NOON).steps
    assert isinstance(action, UndeleteAccount)
    assert action.in_doubt
    assert steps(AccountSeen(None, undeleting, made="111")) == ["Wait PropagationPending"]
    (late,) = plan(want(), AccountSeen(None, undeleting), NOON + timedelta(seconds=GRACE + 1)).steps
    assert isinstance(late, UndeleteAccount)
    assert not late.in_doubt


def test_refused_undelete_is_a_conflict_with_the_message_of_google() -> None:
    undeleting = SETTLED.replace(intent=AccountIntent.UNDELETE, appeared_time=NOON)
    seen = AccountSeen(None, undeleting, undelete_refusal="it is too late")
    assert steps(seen) == ["RecordLoss", "Refuse Conflict"]
    refused = plan(want(), seen, NOON).outcome
    assert isinstance(refused, Refused)
    assert "it is too late; set spec.whenDeleted to Recreate" in refused.message


@pytest.mark.parametrize(
    ("reads", "expected"),
    [(GOOD_READS - 1, ["Wait PropagationPending"]), (GOOD_READS, ["SettleAccount", "UpdateAccount"])],
)
def test_undeleted_account_is_settled_after_good_reads(reads: int, expected: list[str]) -> None:
    lost = SETTLED.replace(lost=AccountLoss.DELETED)
    seen = AccountSeen(ACCOUNT, lost, good_reads=reads)
    assert steps(seen, displayName="Counter") == expected
    assert [str(each) for each in plan(want(displayName="Counter"), seen, NOON).changes] == [
        "displayName: Till → Counter"
    ]


# A replaced account


def test_replaced_account_is_refused_and_the_loss_recorded_once() -> None:
    seen = AccountSeen(REPLACEMENT, SETTLED, good_reads=GOOD_READS)
    assert steps(seen, displayName="Counter", disabled=True) == ["RecordLoss", "Refuse Conflict"]
    recorded = replace(seen, record=SETTLED.replace(lost=AccountLoss.REPLACED))
    assert steps(recorded) == ["Refuse Conflict"]
    found = plan(want(), recorded, NOON)
    assert [str(change) for change in found.changes] == ["unique ID: 999 → 111"]
    assert isinstance(found.forecast, Refused)


def test_regrant_takes_over_a_replaced_account_after_good_reads() -> None:
    seen = AccountSeen(replace(REPLACEMENT, disabled=True), SETTLED.replace(lost=AccountLoss.REPLACED))
    regrant = {"whenReplaced": "Regrant", "whenDisabled": "Report"}
    assert steps(seen, **regrant) == ["Wait PropagationPending"]
    assert steps(replace(seen, good_reads=GOOD_READS), **regrant) == ["TakeOverAccount", "SwitchAccount"]


# Outcomes


@pytest.mark.parametrize(
    ("seen", "spec", "outcome"),
    [
        (AccountSeen(ACCOUNT, SETTLED), {}, InSync),
        (AccountSeen(None), {}, InSync),
        (AccountSeen(replace(ACCOUNT, disabled=True), SETTLED), {"whenDisabled": "Report"}, Paused),
        (AccountSeen(REPLACEMENT, SETTLED), {}, Refused),
        (AccountSeen(REPLACEMENT, SETTLED), {"whenReplaced": "Regrant"}, Waiting),
    ],
)
def test_outcome_is_that_of_the_first_step_without_an_action(
    seen: AccountSeen, spec: dict[str, Any], outcome: type
) -> None:
    assert isinstance(plan(want(**spec), seen, NOON).outcome, outcome)


# Events


def test_account_that_is_left_has_an_event() -> None:
    assert ForgetAccount("//iam").event is None
    replaced = ForgetAccount("//iam", replacement="999", email=EMAIL).event
    assert replaced
    assert (replaced.reason, "unique ID 999" in replaced.message) == ("Replaced", True)
    left = LeaveBehind("//iam", email=EMAIL, reason="left with its grants").event
    assert left
    assert (left.reason, left.message) == ("Abandoned", f"Service account {EMAIL} is left with its grants")
