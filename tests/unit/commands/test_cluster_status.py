"""State of the objects of a cluster: which need attention, which wait, and the next command of each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudrun_identity.commands.cluster_status import as_data, as_text
from cloudrun_identity.overview.cluster_status import ClusterStatus, State, age, status_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR_AGO = "2026-03-01T11:00:00Z"


def condition(kind: str, value: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": HOUR_AGO,
    }


def binding(name: str, *conditions: dict[str, Any], namespace: str = "shop", **status: Any) -> dict[str, Any]:
    return {
        "kind": "IAMBinding",
        "metadata": {"name": name, "namespace": namespace, "generation": 2},
        "spec": {
            "projectRef": {"name": "shop"},
            "target": {"kind": "Project"},
            "role": "roles/viewer",
            "members": [{"principal": "group:ops@example.com"}],
        },
        "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
    }


READY = condition("Ready", "True", "UpToDate", "All grants are present")


def failing(reason: str, message: str = "", *others: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return condition("Ready", "False", reason, message), *others


def stalled(reason: str, message: str = "") -> tuple[dict[str, Any], ...]:
    return failing(reason, message, condition("Stalled", "True", reason, message))


def state_of(raw: dict[str, Any]) -> State:
    (only,) = status_of([raw], NOW).objects
    return only.state


def text(status: ClusterStatus) -> str:
    return "\n".join(as_text(status, colors=False))


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        (binding("x", READY), State.READY),
        (binding("x", *stalled("DeniedByGuardrail")), State.NEEDS_ATTENTION),
        (binding("x", *failing("DependencyNotReady")), State.WAITING),
        (binding("x", *failing("Suspended")), State.SUSPENDED),
        (binding("x", *failing("DriftDetected")), State.OBSERVED),
        (binding("x", READY, observedGeneration=1), State.WAITING),
        (binding("x"), State.WAITING),
        ({**binding("x", READY), "status": {}}, State.WAITING),
    ],
    ids=[
        "ready",
        "stalled",
        "waiting",
        "suspended",
        "observed",
        "edited",
        "no conditions",
        "never reconciled",
    ],
)
def test_state_of_an_object(raw: dict[str, Any], state: State) -> None:
    assert state_of(raw) is state


def test_project_that_is_ready_and_degraded_needs_attention() -> None:
    degraded = condition("Degraded", "True", "MissingPermissions", "The operator lacks run.jobs.get")
    raw = {
        "kind": "ManagedProject",
        "metadata": {"name": "acme-shop", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": 2, "conditions": [READY, degraded]},
    }
    (found,) = status_of([raw], NOW).objects

    assert (found.state, found.reason) == (State.NEEDS_ATTENTION, "MissingPermissions")
    assert found.message == "The operator lacks run.jobs.get"
    assert found.next_command == "cloudrun-identity check"


def test_deleted_object_waits_until_it_is_gone() -> None:
    raw = binding("x", READY)
    raw["metadata"]["deletionTimestamp"] = HOUR_AGO
    assert state_of(raw) is State.WAITING


def test_invalid_object_needs_attention() -> None:
    raw = binding("x", READY)
    raw["spec"]["authority"] = "Total"
    (only,) = status_of([raw], NOW).objects
    assert (only.state, only.reason) == (State.NEEDS_ATTENTION, "InvalidSpec")
    assert "authority" in only.message


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("PermissionDenied", "cloudrun-identity check"),
        ("LedgerInvalid", "cloudrun-identity recover"),
        (
            "Suspended",
            "kubectl patch iambinding x --namespace shop --type merge "
            """--patch '{"spec": {"suspend": false}}'""",
        ),
        ("DeniedByGuardrail", "kubectl describe iambinding x --namespace shop"),
    ],
)
def test_next_command_fits_the_reason(reason: str, command: str) -> None:
    (only,) = status_of([binding("x", *failing(reason))], NOW).objects
    assert only.next_command == command


def test_urgent_objects_come_first_with_reason_age_and_command() -> None:
    status = status_of(
        [
            binding("fine", READY),
            binding("waits", *failing("DependencyNotReady", "Waits for identity web"), namespace="flows"),
            binding("denied", *stalled("DeniedByGuardrail", f"Not admitted: {'x' * 300}")),
        ],
        NOW,
    )
    assert status.needs_attention
    assert text(status).splitlines() == [
        "Needs attention: 1",
        "  shop",
        f"    IAMBinding denied: DeniedByGuardrail for 1h: Not admitted: {'x' * 226}…",
        "      kubectl describe iambinding denied --namespace shop",
        "Waits: 1",
        "  flows",
        "    IAMBinding waits: DependencyNotReady for 1h: Waits for identity web",
        "      kubectl describe iambinding waits --namespace flows",
        "Ready: 1 (shop 1)",
    ]


def test_recent_drift_and_advice_of_ready_objects_are_shown() -> None:
    drift = {"count": 2, "lastDetectedTime": HOUR_AGO, "changes": ["roles/viewer was removed"]}
    old = {"count": 9, "lastDetectedTime": "2026-02-01T00:00:00Z", "changes": ["old"]}
    status = status_of(
        [binding("a", READY, drift=drift, issues=["Use a smaller role"]), binding("b", READY, drift=old)], NOW
    )
    assert text(status).splitlines() == [
        "Drift in the last 24 hours: 1 object",
        "  shop IAMBinding a: 1h ago, 2 times since its creation",
        "    roles/viewer was removed",
        "Advice on Ready objects: 1",
        "  shop IAMBinding a: Use a smaller role",
        "Ready: 2 (shop 2)",
    ]


def test_data_has_counts_of_all_states() -> None:
    data: Any = as_data(status_of([binding("x", *stalled("Rejected", "No"))], NOW))
    assert data["counts"] == {"NeedsAttention": 1, "Observed": 0, "Waiting": 0, "Suspended": 0, "Ready": 0}
    assert data["objects"][0]["since"] == "2026-03-01T11:00:00+00:00"
    assert data["needsAttention"] is True


def test_empty_cluster_is_stated() -> None:
    assert text(status_of([], NOW)) == "There are no objects."


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5s"), (61, "1m"), (7200, "2h"), (200_000, "2d"), (-3, "0s")]
)
def test_age_is_shown_in_the_largest_unit(seconds: int, shown: str) -> None:
    assert age(timedelta(seconds=seconds)) == shown
