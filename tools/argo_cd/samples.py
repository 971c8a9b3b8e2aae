"""Objects for the tests of the health checks and actions, with statuses as the operator writes them."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from cloudrun_identity.api import FORCE_DELETE, KINDS, RECONCILE_REQUESTED_AT, CloudRunIdentity, Reason
from cloudrun_identity.api.spec import ReconciledResource
from cloudrun_identity.reconcile.outcomes import Failing, InSync, Outcome, Paused, Refused
from cloudrun_identity.reconcile.status import Report, nothing_unresolved, status_object, status_of

Object = dict[str, Any]

REQUESTED: Final = "2026-03-01T12:05:00Z"
"""Time in the annotation of a requested reconcile. The action writes the current time instead."""
WAITING: Final = "Waiting for the operator"
_OBSERVED_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_OBJECTS: Final = Path(__file__).with_name("objects.yaml")
_ENABLED: Final = ("reconcile", "suspend", "observe")


@dataclass(frozen=True, slots=True)
class HealthCase:
    """An object, and the health that Argo CD shows for it."""

    obj: Object
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Test objects of one kind."""

    health_cases: Mapping[str, HealthCase]
    """Objects by the name of their file."""
    action_objects: Mapping[str, Object]
    """Objects before and after actions, by the name of their file."""
    enabled_actions: Mapping[str, tuple[str, ...]]
    """Enabled actions by the name of an object."""
    action_cases: Mapping[str, tuple[str, str]]
    """Names of the objects before and after each action."""


@cache
def samples() -> Mapping[str, Sample]:
    """Return the test objects by kind."""
    documents = yaml.safe_load_all(_OBJECTS.read_text(encoding="utf-8"))
    return {each["object"]["kind"]: _sample(each["object"], each["messages"]) for each in documents}


def _sample(raw: Object, messages: Mapping[str, str]) -> Sample:
    obj = _read(raw)
    healthy = _after(obj, InSync())
    return Sample(
        health_cases=_health_cases(obj, messages),
        action_objects=_action_objects(healthy),
        enabled_actions=_enabled_actions(obj.kind),
        action_cases=_action_cases(obj.kind),
    )


def _read(raw: Object) -> ReconciledResource:
    obj = KINDS[raw["kind"]].model_validate(raw)
    if not isinstance(obj, ReconciledResource):
        raise TypeError(f"{obj.kind} has no status")
    return obj


def _health_cases(obj: ReconciledResource, messages: Mapping[str, str]) -> dict[str, HealthCase]:
    healthy = _after(obj, InSync())
    edited = deepcopy(healthy)
    edited["metadata"]["generation"] += 1
    refused = Refused(Reason.DENIED_BY_GUARDRAIL, messages["refused"])
    waiting = Failing(Reason.API_UNAVAILABLE, messages["waiting"], observed=False)
    suspended = Paused(Reason.SUSPENDED, "spec.suspend is true: nothing is read or written")
    observed = Paused(Reason.DRIFT_DETECTED, messages["difference"])
    return {
        "progressing_new": HealthCase(_with_status(obj, {"observedGeneration": -1}), "Progressing", WAITING),
        "progressing_edited": HealthCase(edited, "Progressing", WAITING),
        "progressing_waiting": HealthCase(_after(obj, waiting), "Progressing", waiting.message),
        "healthy": HealthCase(healthy, "Healthy", "Google Cloud is as declared"),
        "degraded": HealthCase(_after(obj, refused), "Degraded", refused.message),
        "suspended": HealthCase(
            _after(_edited(obj, suspend=True), suspended), "Suspended", suspended.message
        ),
        "suspended_observed": HealthCase(
            _after(_edited(obj, managementPolicy="Observe"), observed), "Suspended", observed.message
        ),
    }


def _action_objects(managed: Object) -> dict[str, Object]:
    found = {
        "managed": managed,
        "reconciled": _annotated(managed, RECONCILE_REQUESTED_AT, REQUESTED),
        "suspended": _with_spec(managed, suspend=True),
        "observed": _with_spec(managed, managementPolicy="Observe"),
    }
    if managed["kind"] == CloudRunIdentity.__name__:
        deleting = deepcopy(managed)
        deleting["metadata"]["deletionTimestamp"] = REQUESTED
        found |= {"deleting": deleting, "force-deleted": _annotated(deleting, FORCE_DELETE, "true")}
    return found


def _enabled_actions(kind: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {
        "managed": _ENABLED,
        "suspended": ("resume", "observe"),
        "observed": ("reconcile", "suspend", "manage"),
    }
    return found | ({"deleting": (*_ENABLED, "force-delete")} if kind == CloudRunIdentity.__name__ else {})


def _action_cases(kind: str) -> dict[str, tuple[str, str]]:
    found = {
        "reconcile": ("managed", "reconciled"),
        "suspend": ("managed", "suspended"),
        "resume": ("suspended", "managed"),
        "observe": ("managed", "observed"),
        "manage": ("observed", "managed"),
    }
    return found | (
        {"force-delete": ("deleting", "force-deleted")} if kind == CloudRunIdentity.__name__ else {}
    )


def _after(obj: ReconciledResource, outcome: Outcome) -> Object:
    """Return the object after a reconcile with this outcome."""
    report = Report(outcome, difference="", unresolved=nothing_unresolved(obj))
    match outcome:
        case Paused(reason=Reason.SUSPENDED) | Failing():
            report = replace(report, difference=None)
        case Paused(message=message) | Refused(message=message):
            report = replace(report, difference=message)
        case _:
            pass
    return _with_status(obj, status_object(status_of(obj, report, _OBSERVED_AT)))


def _with_status(obj: ReconciledResource, status: Object) -> Object:
    """Return the object with this status. Of the defaults, it has those that actions change."""
    spec = obj.spec.model_dump(by_alias=True, exclude_unset=True, mode="json")
    changed = {"suspend": obj.spec.suspend, "managementPolicy": str(obj.spec.management_policy)}
    return {
        "apiVersion": obj.api_version,
        "kind": obj.kind,
        "metadata": obj.metadata.to_dict(),
        "spec": spec | changed,
        "status": status,
    }


def _edited(obj: ReconciledResource, **changes: object) -> ReconciledResource:
    raw = obj.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return _read(raw | {"spec": raw["spec"] | changes})


def _with_spec(obj: Object, **changes: object) -> Object:
    return obj | {"spec": obj["spec"] | changes}


def _annotated(obj: Object, name: str, value: str) -> Object:
    return obj | {"metadata": obj["metadata"] | {"annotations": {name: value}}}
