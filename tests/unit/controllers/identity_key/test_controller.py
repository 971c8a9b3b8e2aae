from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity.api import AccountIntent, KeyState, LedgerKey, Reason
from cloudrun_identity.controllers.identity_key.key_state import KeysSeen
from cloudrun_identity.controllers.identity_key.plan import plan
from cloudrun_identity.iam.listed_keys import ListedKey
from cloudrun_identity.reconcile.cluster_state import identity_key, project_key
from cloudrun_identity.reconcile.outcomes import Outcome, Refused, Waiting
from cloudrun_identity.reconcile.preconditions import Allowed, Blocked
from tests.unit.controllers.cluster_state import FakeClusterState, identity, record
from tests.unit.controllers.identity_key.key_bench import (
    ACCOUNT,
    DAY,
    NOON,
    controller,
    declared,
    delegated,
    key,
    ring_of,
    secret,
    seen,
    wanted,
)

LISTED = ListedKey("k1", NOON)
HOUR = timedelta(hours=1)


def told(records: tuple[LedgerKey, ...], now: KeysSeen, **spec: Any) -> list[tuple[str, bool]]:
    """Every difference in words, and whether time has brought it."""
    planned = plan(wanted(**spec), replace(now, ring=ring_of(*records)))
    return [(str(change), change.due) for change in planned.changes]


def stopped_by(cluster: FakeClusterState, **guardrails: Any) -> Outcome:
    stop = controller().resolve(declared(), Allowed(delegated(**guardrails), observe=False), cluster)
    assert isinstance(stop, Blocked)
    return stop.outcome


def test_it_references_its_project_and_its_identity() -> None:
    assert controller().references(declared()) == {
        project_key("payments-prod"),
        identity_key("payments", "checkout"),
    }


def test_two_keys_with_one_secret_declare_the_same() -> None:
    other = declared(identityRef={"name": "pricing"})
    assert controller().declares(declared()) == controller().declares(other) == "payments/checkout-key"


def test_the_keys_are_those_of_the_account_by_its_unique_id() -> None:
    want = wanted()
    assert (want.account, want.unique_id) == (ACCOUNT, "111")


@pytest.mark.parametrize(
    ("cluster", "reason", "says"),
    [
        (
            FakeClusterState(delegated()),
            Reason.DEPENDENCY_NOT_FOUND,
            "CloudRunIdentity payments/checkout does not exist",
        ),
        (FakeClusterState(delegated(), identity()), Reason.DEPENDENCY_NOT_READY, "is not ready"),
        (
            FakeClusterState(delegated(), identity(), accounts=[record(unique_id="")]),
            Reason.DEPENDENCY_NOT_READY,
            "is not ready",
        ),
        (
            FakeClusterState(delegated(), identity(), accounts=[record(intent=AccountIntent.CREATE)]),
            Reason.PROPAGATION_PENDING,
            "was just created or undeleted",
        ),
        (
            FakeClusterState(delegated(), identity(disabled=True), accounts=[record()]),
            Reason.DEPENDENCY_NOT_READY,
            "spec.disabled",
        ),
        (
            FakeClusterState(delegated(), identity(), accounts=[record(disabled=True)]),
            Reason.DEPENDENCY_NOT_READY,
            "none of its keys works",
        ),
    ],
)
def test_keys_wait_for_a_ready_and_enabled_account(
    cluster: FakeClusterState, reason: Reason, says: str
) -> None:
    outcome = stopped_by(cluster)
    assert isinstance(outcome, Waiting)
    assert outcome.reason is reason
    assert outcome.message.startswith("spec.identityRef: ")
    assert says in outcome.message


def test_by_default_the_guardrails_deny_keys() -> None:
    outcome = stopped_by(FakeClusterState(delegated(), identity(), accounts=[record()]), keys="Denied")
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.DENIED_BY_GUARDRAIL


def test_an_identity_of_another_project_is_refused() -> None:
    elsewhere = delegated().model_copy(
        update={"spec": delegated().spec.model_copy(update={"project_id": "other-1"})}
    )
    cluster = FakeClusterState(delegated(), identity(), accounts=[record()])
    stop = controller().resolve(declared(), Allowed(elsewhere, observe=False), cluster)
    assert isinstance(stop, Blocked)
    assert isinstance(stop.outcome, Refused)
    assert "spec.projectRef" in stop.outcome.message
    assert "payments-prod-1234" in stop.outcome.message


def test_a_working_key_in_its_secret_is_no_difference() -> None:
    assert told((key(),), seen(LISTED, has=secret())) == []


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (seen(LISTED), "Secret checkout-key: deleted → followed by another"),
        (
            seen(LISTED, has=secret(digest="of something else")),
            "Secret checkout-key: edited → followed by another",
        ),
        (seen(LISTED, has=secret("k0")), "Secret checkout-key: edited → followed by another"),
        (seen(has=secret(), now=NOON + HOUR), "key k1: deleted → followed by another"),
        (seen(replace(LISTED, disabled=True), has=secret()), "key k1: disabled → followed by another"),
    ],
)
def test_a_change_by_another_user_is_drift(now: KeysSeen, says: str) -> None:
    assert told((key(),), now) == [(says, False)]


def test_a_step_that_is_due_is_no_drift() -> None:
    later = seen(LISTED, has=secret(), now=NOON + 30 * DAY)
    assert told((key(),), later) == [("key: absent → created", True)]
    assert told((), seen()) == [("key: absent → created", True)]


FORMER = key("k0", state=KeyState.OVERLAP, created_time=NOON - 30 * DAY, superseded_time=NOON - 2 * DAY)


@pytest.mark.parametrize(
    ("record", "listed", "says"),
    [
        (FORMER, [ListedKey("k0", FORMER.created_time)], "key k0: enabled → disabled"),
        (
            FORMER.replace(state=KeyState.DISABLED, disabled_time=NOON - 2 * DAY),
            [ListedKey("k0", FORMER.created_time, disabled=True)],
            "key k0: present → deleted",
        ),
        (FORMER, [], "key k0: recorded → forgotten"),
    ],
)
def test_a_due_step_for_a_former_key_is_reported(
    record: LedgerKey, listed: list[ListedKey], says: str
) -> None:
    assert told((key(), record), seen(LISTED, *listed, has=secret())) == [(says, True)]


def test_a_published_key_becomes_active() -> None:
    published = key(state=KeyState.PUBLISHING)
    assert told((published,), seen(LISTED, has=secret())) == [("key k1: published → active", True)]


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (seen(LISTED, has=secret(is_owned=False)), "Secret checkout-key: unmanaged → with the key"),
        (seen(LISTED, is_forbidden=True), "Secret checkout-key: unreadable → with the key"),
    ],
)
def test_an_unusable_secret_is_the_only_difference(now: KeysSeen, says: str) -> None:
    assert told((key(),), now) == [(says, False)]


def test_removed_labels_are_drift_and_need_no_new_key() -> None:
    template = {"labels": {"app": "checkout"}}
    bare = seen(LISTED, has=secret())
    assert told((key(),), bare, secretTemplate=template) == [
        ("label app of Secret checkout-key: unset → checkout", False)
    ]
    labelled = seen(LISTED, has=secret(labels={"app": "checkout", "theirs": "1"}))
    assert told((key(),), labelled, secretTemplate=template) == []


def test_undeclared_labels_are_removed_if_the_operator_set_them() -> None:
    labels = {"app": "checkout", "theirs": "1"}
    labelled = seen(LISTED, has=secret(labels=labels, owned_labels=frozenset({"app", "removed-by-hand"})))
    assert told((key(),), labelled) == [("label app of Secret checkout-key: checkout → unset", False)]


def test_the_status_has_every_key_with_its_times() -> None:
    former = key("k0", state=KeyState.OVERLAP, created_time=NOON - 30 * DAY, superseded_time=NOON)
    oldest = key(
        "k9",
        state=KeyState.DISABLED,
        created_time=NOON - 60 * DAY,
        superseded_time=NOON - 30 * DAY,
        disabled_time=NOON,
    )
    want, ring = wanted(), ring_of(key(), former, oldest)

    summary = controller().summarize(want, seen(ring=ring))

    assert summary.fields["active_key_id"] == "k1"
    assert summary.fields["next_rotation_time"] == NOON + 30 * DAY
    assert [
        (each.id, each.state, each.disable_after, each.delete_after) for each in summary.fields["keys"]
    ] == [
        ("k9", "Disabled", NOON - 29 * DAY, NOON + DAY),
        ("k0", "Overlap", NOON + DAY, NOON + 2 * DAY),
        ("k1", "Active", None, None),
    ]
    assert summary.issues == ()


def test_a_key_that_expires_before_its_period_is_an_issue() -> None:
    want, ring = wanted(), ring_of(key(expiry_time=NOON + 8 * HOUR))
    summary = controller().summarize(want, seen(ring=ring))
    assert "iam.serviceAccountKeyExpiryHours" in summary.issues[0]
    assert summary.fields["next_rotation_time"] == NOON + 4 * HOUR


def test_unclear_keys_are_an_issue() -> None:
    unclear = [key(name, state=KeyState.UNCLEAR) for name in ("k7", "k8")]
    want, ring = wanted(), ring_of(key(), *unclear)
    (issue,) = controller().summarize(want, seen(ring=ring)).issues
    assert "k7, k8" in issue
