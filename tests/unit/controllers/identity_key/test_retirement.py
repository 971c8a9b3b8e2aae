"""The decision when a former key is disabled: laws for all evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import KeyState, LedgerKey
from cloudrun_identity.controllers.identity_key.actions import DisableKey
from cloudrun_identity.controllers.identity_key.key_state import KeyEvidence, Rotation, disable_due
from cloudrun_identity.controllers.identity_key.plan import plan
from cloudrun_identity.controllers.identity_key.retirement import (
    MAX_AGE,
    UNUSED_FOR,
    needs_evidence,
    report,
    retirement,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.observed_uses import UNKNOWN, Evidence, LastUse, Observation, Unknown
from cloudrun_identity.iam.listed_keys import ListedKey
from tests.unit.controllers.identity_key.key_bench import DAY, NOON, key, ring_of, secret, seen, wanted

HOUR = timedelta(hours=1)
FORMER: LedgerKey = key("former", state=KeyState.OVERLAP, superseded_time=NOON)
ROTATION = Rotation(30 * DAY, DAY, require_unused=True, max_overlap=20 * DAY)
REFUSED = Unknown(GoogleError(Fault.PERMISSION_DENIED, "s/Query", "denied"))


def hours(least: int, most: int) -> st.SearchStrategy[timedelta]:
    return st.integers(least, most).map(lambda count: timedelta(hours=count))


def last_use(ended: datetime) -> LastUse:
    return LastUse(ended - 6 * HOUR, ended)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    read = NOON + draw(hours(-48, 600))
    until = read - draw(hours(0, 72))
    names = draw(st.lists(st.sampled_from(["former", "other"]), unique=True))
    uses = {
        name: replace(
            last_use(NOON + draw(hours(-200, 600))), until=draw(st.sampled_from([None, until - DAY]))
        )
        for name in names
    }
    return Observation(read, until - draw(hours(0, 500)), until, uses, draw(st.booleans()))


evidence_of_a_source = st.one_of(st.just(UNKNOWN), st.just(REFUSED), observations())
evidences = st.builds(
    KeyEvidence, evidence_of_a_source, evidence_of_a_source, st.sampled_from(["", "spec.lastUse is Ignore"])
)
times = hours(-48, 700).map(lambda after: NOON + after)


def shows_no_use(source: Evidence) -> bool:
    """Return whether a source shows two full days without a use since the new key was published."""
    match source:
        case Observation(since=since, uses=uses) as seen:
            last = uses["former"].ended if "former" in uses else since
            return seen.observed_until("former") - max(last, NOON) >= UNUSED_FOR
    return False


@given(evidences, times)
def test_key_is_disabled_early_only_if_both_sources_show_two_days(
    evidence: KeyEvidence, now: datetime
) -> None:
    decided = retirement(FORMER, ROTATION, evidence, now)
    assert decided
    if decided.is_due and now < decided.latest:
        assert now >= NOON + max(ROTATION.overlap, UNUSED_FOR)
        assert shows_no_use(evidence.analyzer)
        assert shows_no_use(evidence.monitoring)
        assert isinstance(evidence.monitoring, Observation)
        assert now - evidence.monitoring.read <= MAX_AGE
        assert not evidence.remedy
        assert not decided.doubts


@given(evidences, times)
def test_key_is_disabled_at_the_bound_and_never_before_the_overlap(
    evidence: KeyEvidence, now: datetime
) -> None:
    decided = retirement(FORMER, ROTATION, evidence, now)
    assert decided
    assert decided.latest == disable_due(FORMER, ROTATION) == NOON + 20 * DAY
    assert decided.is_due or now < decided.latest
    assert not decided.is_due or now >= NOON + ROTATION.overlap


@given(evidences, times)
def test_next_look_is_later_and_not_after_the_bound(evidence: KeyEvidence, now: datetime) -> None:
    decided = retirement(FORMER, ROTATION, evidence, now)
    assert decided
    if not decided.is_due:
        assert now < decided.next_look <= decided.latest


@given(evidences, times, st.sampled_from(["analyzer", "monitoring"]), hours(1, 600))
def test_a_later_use_never_makes_a_key_due(
    evidence: KeyEvidence, now: datetime, source: str, later: timedelta
) -> None:
    before = retirement(FORMER, ROTATION, evidence, now)
    answer = getattr(evidence, source)
    if not isinstance(answer, Observation):
        return
    last = answer.uses["former"].ended if "former" in answer.uses else max(NOON, answer.since)
    more = replace(answer, uses={**answer.uses, "former": last_use(last + later)}, is_complete=True)
    after = retirement(FORMER, ROTATION, replace(evidence, **{source: more}), now)
    assert before
    assert after
    if after.is_due and answer.is_complete:
        assert before.is_due


@given(evidences, times)
def test_without_require_unused_only_the_overlap_counts(evidence: KeyEvidence, now: datetime) -> None:
    decided = retirement(FORMER, replace(ROTATION, require_unused=False), evidence, now)
    assert decided
    assert decided.is_due is (now >= NOON + DAY)
    assert decided.next_look == decided.latest == NOON + DAY
    assert not report(FORMER, decided)


@given(evidences, times)
def test_a_kept_key_is_reported_with_the_bound(evidence: KeyEvidence, now: datetime) -> None:
    decided = retirement(FORMER, ROTATION, evidence, now)
    assert decided
    message = report(FORMER, decided)
    assert bool(message) is (not decided.is_due and bool(decided.doubts))
    if message:
        assert "2030-01-22T12:00:00Z" in message
        assert now >= NOON + DAY


@given(evidences, times)
def test_plan_disables_a_former_key_exactly_as_decided(evidence: KeyEvidence, now: datetime) -> None:
    want = wanted(rotation={"period": "720h", "overlap": "24h", "requireUnused": True, "maxOverlap": "480h"})
    active = key("active", created_time=NOON)
    keys = [ListedKey(each, NOON - DAY) for each in ("former", "active")]
    looked = seen(*keys, has=secret("active"), now=now, ring=ring_of(FORMER, active), evidence=evidence)
    decided, planned = retirement(FORMER, ROTATION, evidence, now), plan(want, looked)
    disabled = [each for each in planned.actions if isinstance(each, DisableKey)]
    assert decided
    assert bool(disabled) is decided.is_due
    if disabled:
        assert bool(disabled[0].event) is bool(decided.doubts)
        assert planned.forecast.message == "key former: enabled → disabled"  # type: ignore[union-attr]
    elif planned.due is not None:
        assert planned.due <= max((decided.next_look - now).total_seconds(), 1.0)


def test_key_in_use_has_no_decision() -> None:
    assert retirement(key("k1"), ROTATION, KeyEvidence(), NOON) is None
    assert not needs_evidence(key("k1"), ROTATION, NOON)


def test_evidence_is_needed_after_the_overlap() -> None:
    assert not needs_evidence(FORMER, ROTATION, NOON + 23 * HOUR)
    assert needs_evidence(FORMER, ROTATION, NOON + DAY)
    assert not needs_evidence(FORMER, replace(ROTATION, require_unused=False), NOON + DAY)


def test_a_bound_below_the_overlap_has_no_effect() -> None:
    short = replace(ROTATION, max_overlap=HOUR)
    assert disable_due(FORMER, short) == NOON + DAY


@given(evidences, times)
def test_without_overlap_a_key_is_disabled_at_once(evidence: KeyEvidence, now: datetime) -> None:
    leaked = replace(ROTATION, overlap=timedelta())
    decided = retirement(FORMER, leaked, evidence, now)
    assert decided
    assert decided.is_due is (now >= NOON)
    assert decided.latest == disable_due(FORMER, leaked) == NOON
    assert not decided.doubts
    assert not needs_evidence(FORMER, leaked, now)


def test_rotation_of_a_leaked_key_ends_it_with_require_unused() -> None:
    want = wanted(rotation={"overlap": "0s", "requireUnused": True})
    active = key("active", created_time=NOON)
    keys = [ListedKey(each, NOON - DAY) for each in ("former", "active")]
    planned = plan(want, seen(*keys, has=secret("active"), ring=ring_of(FORMER, active)))
    assert [type(each) for each in planned.actions] == [DisableKey]


@pytest.mark.parametrize("used", [True, False])
def test_delay_of_a_source_is_no_warning(used: bool) -> None:
    until = NOON + DAY
    uses = {"former": last_use(NOON + HOUR)} if used else {}
    answer = Observation(NOON + 2 * DAY, NOON - 10 * DAY, until, uses)
    decided = retirement(FORMER, ROTATION, KeyEvidence(answer, answer), NOON + 2 * DAY)
    assert decided
    assert decided.doubts
    assert not decided.is_warning
