from datetime import timedelta

import pytest

from cloudrun_identity.controllers.cloud_run_identity.propagation import GOOD_READS, GRACE, PropagationTracker
from tests.unit.controllers.cluster_state import EMAIL, record

from .account_bench import NOON

YOUNG = record(appeared_time=NOON)


@pytest.fixture
def propagation() -> PropagationTracker:
    propagation = PropagationTracker(lambda: NOON, {EMAIL: YOUNG}.get)
    propagation.begin(EMAIL)
    return propagation


def test_an_account_is_steady_after_enough_good_reads_in_a_row(propagation: PropagationTracker) -> None:
    reads = [propagation.read(EMAIL, "111") for _ in range(GOOD_READS)]
    assert reads == [False] * (GOOD_READS - 1) + [True]


def test_a_bad_read_starts_the_count_anew(propagation: PropagationTracker) -> None:
    flapping = ["111", "111", "", "111", "111", "111"]
    assert [propagation.read(EMAIL, shown) for shown in flapping] == [False] * 5 + [True]


def test_reads_of_another_account_do_not_add_up(propagation: PropagationTracker) -> None:
    shown = ["111", "111", "222", "111", "111", "111"]
    assert [propagation.read(EMAIL, each) for each in shown] == [False] * 5 + [True]


def test_what_has_ended_is_not_counted_any_more(propagation: PropagationTracker) -> None:
    propagation.begin(EMAIL, made="111")
    assert (propagation.is_on(EMAIL), propagation.made(EMAIL)) == (True, "111")
    propagation.end(EMAIL)
    assert (propagation.is_on(EMAIL), propagation.made(EMAIL)) == (False, "")


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0, True), (GRACE, True), (GRACE + 1, False), (-5, True), (-GRACE - 1, False)]
)
def test_an_account_is_fresh_for_a_while_by_any_clock(seconds: float, fresh: bool) -> None:
    propagation = PropagationTracker(lambda: NOON + timedelta(seconds=seconds), {EMAIL: YOUNG}.get)
    assert propagation.is_fresh(EMAIL) is fresh


def test_what_nobody_made_is_not_fresh() -> None:
    known = {EMAIL: YOUNG.replace(appeared_time=None)}
    propagation = PropagationTracker(lambda: NOON, known.get)
    assert not propagation.is_fresh(EMAIL)
    assert not propagation.is_fresh("other@acme.iam.gserviceaccount.com")
