"""Drift that returns after each repair."""

import pytest

from cloudrun_identity.reconcile.cluster_state import ObjectKey
from cloudrun_identity.reconcile.repeated_drift import HOUR, KEPT, DriftHistory, RepeatedDrift

KEY, OTHER = ObjectKey("IAMBinding", "payments", "web"), ObjectKey("IAMBinding", "payments", "jobs")
LOST = "roles/viewer for group:ops@example.com on Project shop was missing"


class Harness:
    """A history, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.history = DriftHistory(lambda: self.now)

    def drifts(self, *times: float, key: ObjectKey = KEY, change: str = LOST) -> None:
        for time in times:
            self.now = time
            self.history.add("shop", key, [change])

    def repeated(self, interval: float = 300.0) -> tuple[RepeatedDrift, ...]:
        return self.history.repeated("shop", interval)


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_drift_counts_as_repeated_when_it_returns_twice(harness: Harness) -> None:
    harness.drifts(0, 300)
    assert harness.repeated() == ()
    harness.drifts(600)
    assert harness.repeated() == (RepeatedDrift(KEY, LOST),)
    assert harness.history.repeated("another", 300.0) == ()


def test_drift_of_several_hours_is_not_repeated(harness: Harness) -> None:
    harness.drifts(0, HOUR, 2 * HOUR)
    assert harness.repeated() == ()


def test_long_interval_extends_the_time(harness: Harness) -> None:
    harness.drifts(0, HOUR, 2 * HOUR)
    assert len(harness.repeated(interval=HOUR)) == 1


def test_repeated_drift_ends_when_it_no_longer_returns(harness: Harness) -> None:
    harness.drifts(0, 300, 600)
    harness.now = HOUR + 1
    assert harness.repeated() == ()


def test_different_changes_are_not_the_same_drift(harness: Harness) -> None:
    harness.drifts(0)
    harness.drifts(300, change="displayName: a → b")
    harness.drifts(600, key=OTHER)
    assert harness.repeated() == ()


def test_oldest_differences_are_dropped(harness: Harness) -> None:
    harness.drifts(0, 1)
    for number in range(KEPT):
        harness.drifts(2, change=str(number))
    harness.drifts(3)
    assert harness.repeated() == ()
