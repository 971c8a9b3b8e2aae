"""Good reads of fresh accounts, and reads that are older than a write."""

from dataclasses import replace
from datetime import timedelta

import pytest

from cloudrun_identity.controllers.cloud_run_identity.propagation import (
    GOOD_READS,
    STALE,
    PropagationTracker,
    RecentWrites,
)
from cloudrun_identity.controllers.new_accounts import GRACE
from cloudrun_identity.gcp.service_accounts import ServiceAccount
from tests.unit.controllers.cluster_state import EMAIL, record

from .account_bench import NOON

YOUNG = record(appeared_time=NOON)


@pytest.fixture
def propagation() -> PropagationTracker:
    propagation = PropagationTracker(lambda: NOON, {EMAIL: YOUNG}.get)
    propagation.begin(EMAIL)
    return propagation


def test_good_reads_in_a_row_are_counted(propagation: PropagationTracker) -> None:
    assert [propagation.read(EMAIL, "111") for _ in range(GOOD_READS)] == [1, 2, 3]
    assert propagation.good_reads(EMAIL) == GOOD_READS


def test_bad_read_resets_the_count(propagation: PropagationTracker) -> None:
    flapping = ["111", "111", "", "111", "111", "111"]
    assert [propagation.read(EMAIL, shown) for shown in flapping] == [1, 2, 0, 1, 2, 3]


def test_reads_of_different_accounts_are_counted_apart(propagation: PropagationTracker) -> None:
    shown = ["111", "111", "222", "111", "111", "111"]
    assert [propagation.read(EMAIL, each) for each in shown] == [1, 2, 1, 1, 2, 3]


def test_ended_account_is_not_counted(propagation: PropagationTracker) -> None:
    propagation.begin(EMAIL, made="111")
    assert (propagation.is_on(EMAIL), propagation.made(EMAIL)) == (True, "111")
    propagation.end(EMAIL)
    assert (propagation.is_on(EMAIL), propagation.made(EMAIL)) == (False, "")


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0, True), (GRACE, True), (GRACE + 1, False), (-5, True), (-GRACE - 1, False)]
)
def test_account_is_fresh_for_the_grace_period(seconds: float, fresh: bool) -> None:
    propagation = PropagationTracker(lambda: NOON + timedelta(seconds=seconds), {EMAIL: YOUNG}.get)
    assert propagation.is_fresh(EMAIL) is fresh


def test_account_without_a_time_is_not_fresh() -> None:
    known = {EMAIL: YOUNG.replace(appeared_time=None)}
    propagation = PropagationTracker(lambda: NOON, known.get)
    assert not propagation.is_fresh(EMAIL)
    assert not propagation.is_fresh("other@acme.iam.gserviceaccount.com")


def test_missing_read_does_not_start_a_count() -> None:
    propagation = PropagationTracker(lambda: NOON, {EMAIL: YOUNG}.get)
    assert propagation.read(EMAIL, "") == 0
    assert not propagation.is_on(EMAIL)


FIRST = ServiceAccount("acme", "a@acme.iam.gserviceaccount.com", "111", "one")
SECOND = replace(FIRST, display_name="two", disabled=True)
THIRD = replace(SECOND, display_name="three")


class Writes(RecentWrites):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(lambda: self.now)


def test_value_that_a_write_replaced_counts_as_stale_for_a_while() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    assert writes.seen_through(FIRST) == SECOND
    writes.now = STALE
    assert writes.seen_through(FIRST) == FIRST


def test_every_value_before_the_last_write_is_stale() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    writes.wrote(SECOND, THIRD)
    assert writes.seen_through(FIRST) == THIRD
    assert writes.seen_through(SECOND) == THIRD


def test_write_of_another_client_is_seen_at_once() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    theirs = replace(SECOND, display_name="theirs", description="new")
    assert writes.seen_through(theirs) == theirs


def test_replacement_is_not_affected_by_earlier_writes() -> None:
    writes = Writes()
    writes.wrote(FIRST, SECOND)
    other = replace(FIRST, unique_id="222")
    assert writes.seen_through(other) == other
