from dataclasses import replace
from datetime import timedelta

import pytest

from cloudrun_identity.controllers.cloud_run_identity.probation import GOOD_READS, GRACE, Probation
from tests.unit.controllers.world import EMAIL, record

from .account_bench import NOON

YOUNG = record(appeared=NOON)


@pytest.fixture
def probation() -> Probation:
    probation = Probation(lambda: NOON, {EMAIL: YOUNG}.get)
    probation.begin(EMAIL)
    return probation


def test_an_account_is_steady_after_enough_good_reads_in_a_row(probation: Probation) -> None:
    reads = [probation.read(EMAIL, "111") for _ in range(GOOD_READS)]
    assert reads == [False] * (GOOD_READS - 1) + [True]


def test_a_bad_read_starts_the_count_anew(probation: Probation) -> None:
    flapping = ["111", "111", "", "111", "111", "111"]
    assert [probation.read(EMAIL, shown) for shown in flapping] == [False] * 5 + [True]


def test_reads_of_another_account_do_not_add_up(probation: Probation) -> None:
    shown = ["111", "111", "222", "111", "111", "111"]
    assert [probation.read(EMAIL, each) for each in shown] == [False] * 5 + [True]


def test_what_has_ended_is_not_counted_any_more(probation: Probation) -> None:
    probation.begin(EMAIL, made="111")
    assert (probation.is_on(EMAIL), probation.made(EMAIL)) == (True, "111")
    probation.end(EMAIL)
    assert (probation.is_on(EMAIL), probation.made(EMAIL)) == (False, "")


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0, True), (GRACE, True), (GRACE + 1, False), (-5, True), (-GRACE - 1, False)]
)
def test_an_account_is_fresh_for_a_while_by_any_clock(seconds: float, fresh: bool) -> None:
    probation = Probation(lambda: NOON + timedelta(seconds=seconds), {EMAIL: YOUNG}.get)
    assert probation.is_fresh(EMAIL) is fresh


def test_what_nobody_made_is_not_fresh() -> None:
    known = {EMAIL: replace(YOUNG, appeared=None)}
    probation = Probation(lambda: NOON, known.get)
    assert not probation.is_fresh(EMAIL)
    assert not probation.is_fresh("other@acme.iam.gserviceaccount.com")
