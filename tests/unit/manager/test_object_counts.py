"""Counts of objects by readiness, reason and stall, and overdue rotations of keys."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.api import CustomRole, IdentityKey, ManagedProject, ReconciledResource
from cloudrun_identity.manager.object_counts import ObjectCounts, counts_of, invalid_state, state_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def condition(kind: str, status: str, reason: str = "UpToDate") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}


def key(**status: Any) -> IdentityKey:
    return IdentityKey.model_validate(
        {
            "apiVersion": "cloudrun-identity.dev/v1alpha1",
            "kind": "IdentityKey",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {
                "projectRef": {"name": "shop"},
                "identityRef": {"name": "web"},
                "secretName": "web-key",
            },
            "status": status,
        }
    )


def project(*conditions: dict[str, str], **spec: Any) -> ManagedProject:
    return ManagedProject.model_validate(
        {"metadata": {"name": "shop"}, "spec": spec, "status": {"conditions": list(conditions)}}
    )


def counts(*objects: ReconciledResource, invalid: tuple[str, ...] = ()) -> ObjectCounts:
    return counts_of(
        Counter([*map(state_of, objects), *map(invalid_state, invalid)]),
        [each for each in objects if isinstance(each, IdentityKey)],
        [each for each in objects if isinstance(each, ManagedProject)],
        (IdentityKey.__name__, CustomRole.__name__),
        NOW,
    )


def test_object_without_a_status_is_unknown_and_not_stalled() -> None:
    counted = counts(key())
    assert counted.ready == {("IdentityKey", "Unknown"): 1}
    assert counted.not_ready == {}
    assert counted.stalled == {"IdentityKey": 0, "CustomRole": 0}


def test_objects_are_counted_by_reason_and_stall() -> None:
    refused = [condition("Ready", "False", "DeniedByGuardrail"), condition("Stalled", "True", "X")]
    waiting = [condition("Ready", "False", "QuotaExceeded"), condition("Stalled", "False", "X")]
    counted = counts(
        key(conditions=refused), key(conditions=waiting), key(conditions=[condition("Ready", "True")])
    )
    assert counted.ready == {("IdentityKey", "False"): 2, ("IdentityKey", "True"): 1}
    assert counted.not_ready == {
        ("IdentityKey", "DeniedByGuardrail"): 1,
        ("IdentityKey", "QuotaExceeded"): 1,
    }
    assert counted.stalled["IdentityKey"] == 1


def test_invalid_object_is_not_ready_and_stalled() -> None:
    counted = counts(invalid=("CustomRole",))
    assert counted.ready == {("CustomRole", "False"): 1}
    assert counted.not_ready == {("CustomRole", "InvalidSpec"): 1}
    assert counted.stalled["CustomRole"] == 1


@pytest.mark.parametrize(("due", "overdue"), [(timedelta(hours=-2), 7200), (timedelta(hours=2), 0)])
def test_overdue_is_the_oldest_rotation_that_is_due(due: timedelta, overdue: int) -> None:
    later = key(nextRotationTime=(NOW + timedelta(days=1)).isoformat().replace("+00:00", "Z"))
    first = key(nextRotationTime=(NOW + due).isoformat().replace("+00:00", "Z"))
    assert counts(later, first).overdue == overdue


def test_change_feeds_that_are_not_ready_are_counted_by_reason() -> None:
    lagging = condition("ChangeFeedReady", "False", "Lagging")
    counted = counts(
        project(lagging),
        project(lagging),
        project(condition("ChangeFeedReady", "False", "SubscriptionNotFound")),
        project(condition("ChangeFeedReady", "Unknown", "NoEntries")),
        project(condition("ChangeFeedReady", "True", "Receiving")),
        project(lagging, suspend=True),
        project(),
    )
    assert counted.feeds_not_ready == {"Lagging": 2, "SubscriptionNotFound": 1}
