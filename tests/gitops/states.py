"""Objects of every kind in every state, as a client reads them from the API server.

The tests of kstatus and of Argo CD's health checks run over the same states.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cloudrun_identity.api import KINDS, ConditionStatus, ConditionType, Reason, ReconciledResource
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.interfaces import Summary
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting
from cloudrun_identity.reconcile.status import Report, nothing_unresolved, status_object, status_of

Object = dict[str, Any]

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERATION: Final = 3
MESSAGE: Final = "Reason in a sentence"
_PAST_THE_DEADLINE: Final = timedelta(minutes=11)


class Kstatus(StrEnum):
    """Answers of kstatus."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"


@dataclass(frozen=True, slots=True)
class State:
    """A state of an object."""

    name: str
    """Name of the state, unique among all states."""
    kstatus: Kstatus
    """Answer that kstatus must give."""
    outcome: Outcome | None = None
    """Outcome of the last reconcile; None for an object that the operator has not reconciled."""
    stalled: bool = False
    """True if a wait or failure lasts longer than `spec.progressDeadline`."""
    edited: bool = False
    """True if a user edited the object after the last reconcile."""
    was_ready: bool = False
    """True if the object was Ready before the last reconcile."""
    deleting: bool = False
    """True if the object is being deleted."""
    advice: bool = False
    """True if an advisory condition is False."""


WAITING: Final = (
    Reason.DEPENDENCY_NOT_FOUND,
    Reason.DEPENDENCY_NOT_READY,
    Reason.WORKLOAD_NOT_FOUND,
    Reason.UPDATING,
    Reason.DELETING,
    Reason.DRIFT_DETECTED,
    Reason.PROPAGATION_PENDING,
    Reason.QUOTA_EXCEEDED,
    Reason.OLD_REVISION_SERVING,
)
"""Reasons to wait for another object, for Google Cloud or for another actor."""

FAILING: Final = (
    Reason.PERMISSION_DENIED,
    Reason.PERIMETER_VIOLATION,
    Reason.API_DISABLED,
    Reason.REVISION_FAILED,
    Reason.POLICY_UNWRITABLE,
    Reason.QUOTA_EXCEEDED,
    Reason.CONFLICT,
    Reason.UPDATING,
    Reason.DEPENDENCY_NOT_FOUND,
)
"""Reasons of a failed call that is retried."""

UNREAD: Final = (Reason.API_UNAVAILABLE, Reason.INTERNAL_ERROR)
"""Reasons of a failure after which the state of Google Cloud is unknown."""

REFUSED: Final = (
    Reason.INVALID_SPEC,
    Reason.DENIED_BY_GUARDRAIL,
    Reason.CONFLICT,
    Reason.REJECTED,
    Reason.LOCATION_NOT_FOUND,
    Reason.LEDGER_INVALID,
)
"""Reasons that need an edit by a user."""

EXPIRED: Final = InSync(ended=1, is_expired=True)
"""Outcome of an object whose temporary grants are all over."""

STALLING: Final = (
    Waiting(Reason.DEPENDENCY_NOT_FOUND, MESSAGE),
    Waiting(Reason.DEPENDENCY_NOT_READY, MESSAGE),
    Waiting(Reason.WORKLOAD_NOT_FOUND, MESSAGE),
    Failing(Reason.REVISION_FAILED, MESSAGE),
    Failing(Reason.API_DISABLED, MESSAGE),
    Failing(Reason.PERMISSION_DENIED, MESSAGE),
    Failing(Reason.PERIMETER_VIOLATION, MESSAGE),
    Failing(Reason.POLICY_UNWRITABLE, MESSAGE),
)
"""Outcomes that become Stalled after `spec.progressDeadline`."""


def states() -> Iterator[State]:
    """Yield every state of a kind that the operator reconciles."""
    yield State("created", Kstatus.IN_PROGRESS)
    yield State("created, being deleted", Kstatus.TERMINATING, deleting=True)
    yield State("up to date", Kstatus.CURRENT, InSync())
    yield State("up to date, edited", Kstatus.IN_PROGRESS, InSync(), edited=True)
    yield State("expired", Kstatus.CURRENT, EXPIRED)
    yield State("up to date, with advice", Kstatus.CURRENT, InSync(), advice=True)
    for reason in WAITING:
        yield State(f"waiting: {reason}", Kstatus.IN_PROGRESS, Waiting(reason, MESSAGE))
    for reason in FAILING:
        yield State(f"failing: {reason}", Kstatus.IN_PROGRESS, Failing(reason, MESSAGE))
    for reason in UNREAD:
        unread = Failing(reason, MESSAGE, observed=False)
        yield State(f"not read: {reason}", Kstatus.IN_PROGRESS, unread)
        yield State(f"not read, was ready: {reason}", Kstatus.IN_PROGRESS, unread, was_ready=True)
    for outcome in STALLING:
        yield State(f"past the deadline: {outcome.reason}", Kstatus.FAILED, outcome, stalled=True)
        yield State(
            f"past the deadline, edited: {outcome.reason}",
            Kstatus.IN_PROGRESS,
            outcome,
            stalled=True,
            edited=True,
        )
    for reason in REFUSED:
        refused = Refused(reason, MESSAGE)
        yield State(f"refused: {reason}", Kstatus.FAILED, refused)
        yield State(f"refused, was ready: {reason}", Kstatus.FAILED, refused, was_ready=True)
        yield State(f"refused, edited: {reason}", Kstatus.IN_PROGRESS, refused, edited=True)
    yield from _paused_states()
    yield from _deleting_states()


def _paused_states() -> Iterator[State]:
    suspended, differs = Paused(Reason.SUSPENDED, MESSAGE), Paused(Reason.DRIFT_DETECTED, MESSAGE)
    yield State("suspended", Kstatus.IN_PROGRESS, suspended)
    yield State("suspended, was ready", Kstatus.IN_PROGRESS, suspended, was_ready=True)
    yield State("suspended, edited", Kstatus.IN_PROGRESS, suspended, edited=True)
    yield State("observed, different", Kstatus.IN_PROGRESS, differs)
    yield State("observed, was ready, different", Kstatus.IN_PROGRESS, differs, was_ready=True)


def _deleting_states() -> Iterator[State]:
    outcomes: tuple[Waiting | Failing | Refused | Paused, ...] = (
        Waiting(Reason.DELETING, MESSAGE),
        Waiting(Reason.IN_USE, MESSAGE),
        Paused(Reason.SUSPENDED, MESSAGE),
        Failing(Reason.PERMISSION_DENIED, MESSAGE),
        Refused(Reason.LEDGER_INVALID, MESSAGE),
    )
    for outcome in outcomes:
        yield State(
            f"being deleted: {outcome.reason}",
            Kstatus.TERMINATING,
            outcome,
            was_ready=True,
            deleting=True,
        )


def objects() -> Iterator[tuple[State, Object]]:
    """Yield an object of every kind in every state. A PolicyLedger has no status, and one state."""
    for kind in KINDS:
        if kind == "PolicyLedger":
            yield State("stored", Kstatus.CURRENT), _manifest(kind)
            continue
        for state in states():
            yield state, object_in(kind, state)


def object_in(kind: str, state: State) -> Object:
    """Return an object of this kind in this state, as the API server returns it."""
    raw = _manifest(kind)
    if state.outcome is None:
        raw["metadata"]["generation"] = 1
    for outcome, moment in _history(state):
        report = _report(kind, raw, outcome, advice=state.advice)
        raw["status"] = status_object(status_of(_parsed(kind, raw), report, moment))
    if state.edited:
        raw["metadata"]["generation"] += 1
    if state.deleting:
        raw["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    return raw


def _history(state: State) -> Iterator[tuple[Outcome, datetime]]:
    """Yield the outcomes of the reconciles that lead to a state, with their times."""
    if state.was_ready:
        yield InSync(), NOON - _PAST_THE_DEADLINE
    if state.outcome is not None:
        if state.stalled:
            yield state.outcome, NOON - _PAST_THE_DEADLINE
        yield state.outcome, NOON


def _report(kind: str, raw: Object, outcome: Outcome, *, advice: bool = False) -> Report:
    finding = Finding(ConditionStatus.FALSE, "Recommendations", MESSAGE)
    return Report(
        outcome,
        difference="" if isinstance(outcome, InSync) else None,
        unresolved=nothing_unresolved(_parsed(kind, raw)),
        summary=Summary(conditions={ConditionType.LEAST_PRIVILEGE: finding}) if advice else None,
    )


def _parsed(kind: str, raw: Object) -> ReconciledResource:
    obj = KINDS[kind].model_validate(raw)
    assert isinstance(obj, ReconciledResource)
    return obj


def _manifest(kind: str) -> Object:
    """Return an object as the API server stores it when it is created, with the default of its status."""
    metadata = {
        "name": "checkout",
        "uid": "5f0c1b4e-8a53-4f7a-9d0b-3a1d2c4e5f60",
        "generation": GENERATION,
        "resourceVersion": "7",
        "creationTimestamp": "2026-03-01T11:00:00Z",
    }
    if kind != "ManagedProject":
        metadata["namespace"] = "payments"
    raw = {
        "apiVersion": "cloudrun-identity.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": deepcopy(_SPECS[kind]),
    }
    return raw if kind == "PolicyLedger" else raw | {"status": {"observedGeneration": -1}}


_PROJECT_REF: Final = {"projectRef": {"name": "shop"}}
_SPECS: Final[dict[str, Object]] = {
    "ManagedProject": {"projectID": "acme-shop"},
    "CloudRunIdentity": {**_PROJECT_REF},
    "IAMBinding": {
        **_PROJECT_REF,
        "target": {"kind": "Project"},
        "role": "roles/viewer",
        "members": [{"principal": "group:ops@example.com"}],
    },
    "IdentityAttachment": {
        **_PROJECT_REF,
        "workload": {"kind": "Service", "location": "europe-west1", "name": "checkout"},
        "identityRef": {"name": "checkout"},
    },
    "CustomRole": {**_PROJECT_REF, "roleID": "runner", "permissions": ["run.jobs.run"]},
    "IdentityKey": {**_PROJECT_REF, "identityRef": {"name": "checkout"}, "secretName": "checkout-key"},
    "PolicyLedger": {
        "target": {"kind": "Project", "projectID": "acme-shop", "fullName": "projects/acme-shop"}
    },
}
