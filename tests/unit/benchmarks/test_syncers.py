import math

import pytest

from benchmarks.bindings import Bindings
from benchmarks.other_writers import OneByOne, Tally
from benchmarks.syncers import Case


@pytest.mark.parametrize(
    ("policies", "writers", "contended", "writers_each"),
    [(1, 0, 0, 0), (1, 10, 1, 10), (10, 10, 10, 1), (100, 10, 10, 1), (10, 1, 1, 1)],
)
def test_writers_are_evenly_spread_over_the_policies(
    policies: int, writers: int, contended: int, writers_each: int
) -> None:
    case = Case(Bindings(1_000, policies), writers)
    assert (case.contended, case.writers_each) == (contended, writers_each)


def test_calls_and_seconds_are_averaged_per_member() -> None:
    tried = OneByOne(10, Tally(reads=12, writes=10, aborted=2), seconds=20.0)
    assert (tried.calls_each, tried.seconds_each) == (2.4, 2.0)


def test_averages_are_infinite_without_a_granted_member() -> None:
    tried = OneByOne(0, Tally(reads=31, aborted=31), seconds=30.0)
    assert (tried.calls_each, tried.seconds_each) == (math.inf, math.inf)
