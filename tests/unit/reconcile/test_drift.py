"""Drift: the differences that are drift, and their count in the status."""

from datetime import timedelta

import pytest

from cloudrun_identity.api import Drift, GrantState, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.policy.results import GrantResult, GrantSyncResult
from cloudrun_identity.reconcile.drift import drift_of, is_repaired, was_ready
from cloudrun_identity.reconcile.outcomes import InSync, Waiting
from cloudrun_identity.reconcile.steps import Change

from .bindings import ANN, BOB, LATER, NOON, PROJECT, after, binding, with_status

READY = with_status(binding(), after(binding(), InSync()))
MISSING = (GrantResult(ANN, GrantState.PENDING),)


def test_only_an_object_that_was_ready_can_drift() -> None:
    changes = (Change("disabled", "true", "false"), Change("key", "old", "new", due=True))
    assert drift_of(READY, changes, GrantSyncResult(), observe=False) == ("disabled: true → false",)
    assert drift_of(binding(), changes, GrantSyncResult(removed_unmanaged=(BOB,)), observe=False) == ()
    assert drift_of(binding(), (), GrantSyncResult(drifted=(ANN,)), observe=False) == (f"{ANN} was missing",)


def test_missing_grants_of_an_observed_object_are_drift() -> None:
    seen = GrantSyncResult(grant_results=MISSING, unmanaged=(BOB,))
    assert drift_of(READY, (), seen, observe=True) == (f"{ANN} was missing", f"{BOB} was not declared")
    assert drift_of(READY, (), seen, observe=False) == ()
    assert drift_of(binding(), (), seen, observe=True) == ()


def test_grant_reported_missing_twice_is_counted_once() -> None:
    seen = GrantSyncResult(grant_results=MISSING, drifted=(ANN,))
    assert drift_of(READY, (), seen, observe=True) == (f"{ANN} was missing",)


@pytest.mark.parametrize(
    "unread",
    [
        {"missing": (PROJECT,)},
        {"faults": {PROJECT: GoogleError(Fault.UNAVAILABLE, "google.Service/Get", "no")}},
    ],
    ids=["missing", "unreachable"],
)
def test_policy_that_could_not_be_read_is_no_drift(unread: dict[str, object]) -> None:
    seen = GrantSyncResult(grant_results=MISSING, **unread)
    assert drift_of(READY, (), seen, observe=True) == ()


def test_drift_is_counted_on_detection_and_dated_on_repair() -> None:
    found = after(binding(), Waiting(Reason.UPDATING, "m"), drift=("a", "b"))
    assert found.drift == Drift(count=2, last_detected_time=NOON, changes=("a", "b"))
    assert not is_repaired(found.drift)
    repaired = after(with_status(binding(), found), InSync(), LATER)
    assert repaired.drift
    assert repaired.drift.last_repaired_time == LATER
    assert is_repaired(repaired.drift)
    again = after(with_status(binding(), repaired), InSync(), LATER + timedelta(hours=1))
    assert again.drift == repaired.drift


def test_drift_repaired_in_the_same_reconcile_has_both_times() -> None:
    drift = after(binding(), InSync(), drift=("a",)).drift
    assert drift == Drift(count=1, last_detected_time=NOON, last_repaired_time=NOON, changes=("a",))


def test_object_without_drift_has_no_drift_status() -> None:
    assert after(binding(), InSync()).drift is None
    assert is_repaired(None)


def test_was_ready_requires_the_current_generation() -> None:
    ready = after(binding(3), InSync())
    assert was_ready(with_status(binding(3), ready))
    assert not was_ready(with_status(binding(4), ready))
    assert not was_ready(binding(3))
    assert not was_ready(with_status(binding(3), after(binding(3), Waiting(Reason.UPDATING, "m"))))
