"""Ends of temporary grants."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import ExpiryEnforcement, Member, TargetKind
from cloudrun_identity.iam.expiry import Expiry, Term, as_granted, google_term_of, term_of, until
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRANT = Grant(Target(TargetKind.PROJECT, "payments-prod"), "roles/viewer", "user:ann@example.com")

times = st.integers(0, 10**6).map(lambda seconds: NOON + timedelta(seconds=seconds))
durations = st.integers(1, 10**6).map(lambda seconds: Expiry(duration=timedelta(seconds=seconds)))
expiries = st.one_of(durations, times.map(lambda time: Expiry(expires_at=time)))


def test_entry_without_an_end_is_permanent() -> None:
    assert Expiry.of(Member(principal="user:ann@example.com")) is None


def test_entry_declares_a_duration_and_who_enforces_it() -> None:
    member = Member(
        principal="user:ann@example.com",
        duration="8h",
        expiry_enforced_by=ExpiryEnforcement.OPERATOR_AND_GOOGLE,
    )
    assert Expiry.of(member) == Expiry(duration=8 * HOUR, by_google=True, field="duration")


def test_duration_counts_from_when_the_grant_was_first_made() -> None:
    made = Term(NOON, NOON + HOUR, is_granted=True)
    assert term_of(Expiry(duration=2 * HOUR), made, NOON + HOUR).end == NOON + 2 * HOUR


def test_duration_of_a_grant_that_was_not_made_starts_again() -> None:
    attempted = Term(NOON, NOON + HOUR)
    assert term_of(Expiry(duration=HOUR), attempted, NOON + HOUR).end == NOON + 2 * HOUR


def test_grant_is_over_at_its_end_and_not_before() -> None:
    term = term_of(Expiry(duration=HOUR), None, NOON)
    assert not term.is_over(NOON + HOUR - timedelta(microseconds=1))
    assert term.is_over(NOON + HOUR)


def test_start_that_a_fast_clock_recorded_does_not_extend_a_grant() -> None:
    recorded = Term(NOON + 24 * HOUR, NOON + 25 * HOUR, is_granted=True)
    assert term_of(Expiry(duration=HOUR), recorded, NOON).end == NOON + HOUR


def test_duration_beyond_the_calendar_is_no_error() -> None:
    assert term_of(Expiry(duration=timedelta(days=10**7)), None, NOON).end.year == 9999


@given(expiries, times, times, times)
def test_start_of_a_grant_that_was_made_never_moves_later(
    expiry: Expiry, start: datetime, first: datetime, second: datetime
) -> None:
    term = Term(start, start + HOUR, is_granted=True)
    for now in (first, second):
        after = term_of(expiry, term, now)
        assert after.start <= term.start
        assert after.is_granted
        term = after


@given(durations, times, st.integers(0, 10**6))
def test_condition_of_a_grant_stays_the_same_between_attempts(
    expiry: Expiry, start: datetime, later: int
) -> None:
    first = google_term_of(expiry, None, start)
    now = start + timedelta(seconds=later)
    again = google_term_of(expiry, first, now)
    assert again.end == first.end or first.is_over(now)
    assert not again.is_over(now)


def test_condition_is_the_one_that_google_documents() -> None:
    assert until(None, NOON) == IAMCondition(
        "until 2026-03-01T12:00:00Z",
        "Temporary access",
        'request.time < timestamp("2026-03-01T12:00:00Z")',
    )


def test_declared_condition_is_combined_with_the_end() -> None:
    declared = IAMCondition("prod", "Production only", "resource.name == 'a' || resource.name == 'b'")
    assert until(declared, NOON) == IAMCondition(
        "prod until 2026-03-01T12:00:00Z",
        "Production only",
        "(resource.name == 'a' || resource.name == 'b')"
        ' && request.time < timestamp("2026-03-01T12:00:00Z")',
    )


def test_title_of_a_combined_condition_fits_the_limit() -> None:
    assert len(until(IAMCondition("x" * 100, "", "true"), NOON).title) == 100


@pytest.mark.parametrize("by_google", [False, True])
def test_only_an_end_that_google_enforces_changes_the_grant(by_google: bool) -> None:
    assert (as_granted(GRANT, NOON, by_google=by_google) == GRANT) is not by_google
