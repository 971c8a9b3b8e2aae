"""A former key that a user enabled again after the operator disabled it: it is never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.controllers.identity_key.actions import (
    DeleteKey,
    DisableKey,
    KeyAction,
    ResumeOverlap,
)
from cloudrun_identity.controllers.identity_key.key_state import (
    LAG,
    KeysSeen,
    KeyWant,
    delete_due,
    disable_due,
)
from cloudrun_identity.controllers.identity_key.plan import plan
from cloudrun_identity.iam.listed_keys import MAX_KEYS, ListedKey
from cloudrun_identity.ledger.keys import KeyRing
from tests.unit.controllers.identity_key.fake_keys import Process, key_want
from tests.unit.controllers.identity_key.key_bench import (
    DAY,
    NOON,
    controller,
    key,
    ring_of,
    secret,
    seen,
    wanted,
)

ACTIVE: LedgerKey = key("active", created_time=NOON)
FORMER: LedgerKey = key(
    "former",
    state=KeyState.DISABLED,
    created_time=NOON - 30 * DAY,
    superseded_time=NOON - 20 * DAY,
    disabled_time=NOON,
)
ENABLED = ListedKey("former", FORMER.created_time)
ENABLE_AGAIN = "gcloud iam service-accounts keys enable former"
DISABLE_AGAIN = "gcloud iam service-accounts keys disable former --iam-account="
IN_USE = {"period": "720h", "overlap": "24h", "requireUnused": True, "maxOverlap": "480h"}


def looked(former: ListedKey, after: timedelta, record: LedgerKey = FORMER) -> KeysSeen:
    """The keys at a time after the former one was disabled."""
    active = ListedKey("active", NOON)
    ring = ring_of(record, ACTIVE)
    return seen(former, active, has=secret("active"), now=NOON + after, ring=ring)


def next_action(now: KeysSeen) -> KeyAction | None:
    return next(iter(plan(wanted(), now).actions), None)


@pytest.mark.parametrize("after", [LAG, DAY, 40 * DAY])
def test_key_that_is_enabled_again_is_in_overlap_again(after: timedelta) -> None:
    active = ACTIVE.replace(created_time=NOON + after)
    now = replace(looked(ENABLED, after), ring=ring_of(FORMER, active))
    action = next_action(now)
    assert isinstance(action, ResumeOverlap)
    assert action.event
    assert action.event.reason == "FormerKeyEnabled"
    assert f"{NOON + after + DAY:%Y-%m-%dT%H:%M:%SZ}" in action.warning
    assert DISABLE_AGAIN in action.warning


def test_list_that_lags_behind_the_disabling_is_no_such_case() -> None:
    now = looked(ENABLED, LAG / 2)
    planned = plan(wanted(), now)
    assert not planned.actions
    assert planned.due == (LAG / 2).total_seconds()
    assert controller().summarize(wanted(), now).issues == ()


def test_key_that_stays_disabled_is_deleted() -> None:
    assert isinstance(next_action(looked(replace(ENABLED, disabled=True), DAY)), DeleteKey)


def test_without_overlap_a_former_key_is_deleted_although_enabled() -> None:
    planned = plan(wanted(rotation={"overlap": "0s"}), looked(ENABLED, DAY))
    assert [type(each) for each in planned.actions] == [DeleteKey]


def test_full_account_does_not_delete_a_key_that_is_enabled_again() -> None:
    others = [ListedKey(f"other-{count}", NOON) for count in range(MAX_KEYS - 2)]
    listed: Mapping[str, ListedKey] = {
        each.key_id: each for each in (*others, ENABLED, ListedKey("active", NOON))
    }
    for after in (LAG / 2, DAY):
        now = replace(looked(ENABLED, after), listed=listed)
        planned = plan(wanted(rotation={"generation": 1}), now)
        assert not any(isinstance(each, DeleteKey) for each in planned.actions)


def test_status_reports_the_key_until_it_is_disabled_again() -> None:
    resumed = FORMER.replace(state=KeyState.OVERLAP, superseded_time=NOON + DAY)
    for record in (FORMER, resumed):
        [issue] = controller().summarize(wanted(), looked(ENABLED, DAY, record)).issues
        assert "former" in issue
        assert DISABLE_AGAIN in issue
        disabled = replace(ENABLED, disabled=True)
        assert controller().summarize(wanted(), looked(disabled, DAY, record)).issues == ()


def test_times_of_a_resumed_key_count_from_its_return() -> None:
    resumed = FORMER.replace(state=KeyState.OVERLAP, superseded_time=NOON + DAY)
    rotation = wanted().rotation
    assert disable_due(resumed, rotation) == NOON + 2 * DAY
    assert delete_due(resumed, rotation) == NOON + 3 * DAY


def test_event_about_a_key_in_use_names_its_deletion() -> None:
    record = FORMER.replace(state=KeyState.OVERLAP, superseded_time=NOON - 20 * DAY, disabled_time=None)
    [action] = plan(wanted(rotation=IN_USE), looked(ENABLED, timedelta(), record)).actions
    assert isinstance(action, DisableKey)
    assert "2030-01-03T12:00:00Z" in action.warning
    assert ENABLE_AGAIN in action.warning


async def test_key_enabled_right_before_its_deletion_is_kept() -> None:
    process, want = await _rotated()
    former = process.ring.of("payments/checkout")[0]
    stale = await process.controller.observe(want, 0.0)
    process.google.keys[former.id] = replace(process.google.keys[former.id], disabled=False)
    process.google.now += DAY
    [action] = plan(want, replace(stale, now=process.google.now)).actions
    assert isinstance(action, DeleteKey)

    executed = await process.controller.execute(action, want, replace(stale, now=process.google.now))

    assert not executed.written
    assert former.id in process.google.keys
    assert [type(each) for each in plan(want, executed.seen).actions] == [ResumeOverlap]


async def test_key_enabled_again_works_for_another_overlap() -> None:
    process, want = await _rotated()
    former = process.ring.of("payments/checkout")[0].id
    process.google.keys[former] = replace(process.google.keys[former], disabled=False)
    process.google.now += DAY
    await process.work(want)
    assert _states(process.ring) == ["Overlap", "Active"]
    assert not process.google.keys[former].disabled

    process.google.now += DAY
    await process.work(want)
    assert _states(process.ring) == ["Disabled", "Active"]

    process.google.now += DAY
    await process.work(want)
    assert former not in process.google.keys


async def test_stale_list_does_not_resume_a_disabled_key() -> None:
    process, want = await _rotated()
    former = process.ring.of("payments/checkout")[0].id
    process.google.now += LAG
    now = await process.controller.observe(want, 0.0)
    stale = replace(now, listed={**now.listed, former: replace(now.listed[former], disabled=False)})
    [action] = plan(want, stale).actions
    assert isinstance(action, ResumeOverlap)

    executed = await process.controller.execute(action, want, stale)

    assert not executed.written
    assert _states(process.ring) == ["Disabled", "Active"]


async def _rotated() -> tuple[Process, KeyWant]:
    """A process that has replaced a key and disabled it."""
    process = Process()
    await process.work(key_want())
    want = key_want(generation=1)
    await process.work(want)
    process.google.now += timedelta(minutes=1)
    await process.work(want)
    process.google.now += DAY
    await process.work(want)
    assert _states(process.ring) == ["Disabled", "Active"]
    return process, want


def _states(ring: KeyRing) -> list[str]:
    return [str(each.state) for each in ring.of("payments/checkout")]
