"""Compute the status of an object from the report of a reconcile: pure, so that tests compare values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from cloudrun_identity.api import (
    Condition,
    ConditionType,
    GrantCounts,
    GrantState,
    GrantStatus,
    ProjectScopedResource,
    ProjectScopedStatus,
    Reason,
    ReconciledResource,
    ReconciledStatus,
)
from cloudrun_identity.iam.grants import Grant

from .attribution import Attribution
from .conditions import Review, conditions
from .drift import counted
from .expirations import expiring, next_end
from .interfaces import Summary
from .outcomes import InSync, Outcome, Paused
from .progress_deadline import stalls_in, waiting_since


@dataclass(frozen=True, slots=True)
class Report:
    """Findings of one reconcile."""

    outcome: Outcome
    difference: str | None = None
    """Remaining difference between Google Cloud and the declaration; None if Google Cloud was not read."""
    unresolved: str | None = None
    """Reference that does not resolve; empty if all resolve, None for a kind without references."""
    project_id: str | None = None
    summary: Summary | None = None
    """Fields of the kind; None to keep those of the status, because the resource was not read."""
    grants: tuple[GrantStatus, ...] | None = None
    """Status of every grant; None to keep that of the status."""
    drift: tuple[str, ...] = ()
    """Differences that another actor made."""
    attributions: Mapping[str, Attribution] = field(default_factory=dict)
    """Their known causes, by difference."""
    issues: tuple[str, ...] = ()
    notices: Mapping[str, str] = field(default_factory=dict)
    """Issues that are also recorded as an Event when they appear, by the reason of the Event."""
    others: tuple[Outcome, ...] = ()
    """Outcomes of single grants, beside the one that decides."""
    references_known: bool = True
    """False if the reconcile ended before it resolved the references."""


def status_of(obj: ReconciledResource, report: Report, now: datetime) -> ReconciledStatus:
    """Return the status after a reconcile. `obj` has the status before it."""
    generation = obj.metadata.generation
    since = waiting_since(obj, report.outcome, now)
    granted = _last_granted(obj.status, report, now)
    changes: dict[str, Any] = {
        "observed_generation": generation,
        "conditions": _conditions(obj, report, since, granted, now),
        "waiting_since": since,
        "drift": counted(obj.status.drift, report.drift, report.outcome, now, report.attributions),
    }
    if not _is_suspended(report):
        changes["issues"] = report.issues
    if obj.reconcile_requested_at:
        changes["last_handled_reconcile_at"] = obj.reconcile_requested_at
    if report.project_id:
        changes["project_id"] = report.project_id
    if report.summary:
        changes |= report.summary.fields
    if isinstance(obj.status, ProjectScopedStatus):
        changes |= _grant_fields(report, granted, now)
    return with_fields(obj.status, changes)


def with_fields(status: "Status", changes: Mapping[str, Any]) -> "Status":
    """Return the status with these fields (by name) replaced."""
    # Copied through validation, because that is what cuts texts and lists to the bounds of the schema.
    merged = {name: getattr(status, name) for name in type(status).model_fields} | dict(changes)
    return type(status).model_validate(merged)


Status = TypeVar("Status", bound=ReconciledStatus)


def status_object(status: ReconciledStatus) -> dict[str, Any]:
    """Return the status as it is stored: without empty lists."""
    return {field: value for field, value in status.to_dict().items() if value != []}


def status_agrees(obj: ReconciledResource, summary: Summary) -> bool:
    """Return whether the status of a Ready object agrees with the summary of its kind."""
    status = obj.status
    # Validated, because that is what cuts texts and lists to the bounds of the schema.
    said = type(status).model_validate({**summary.fields, "issues": summary.issues})
    if any(getattr(said, name) != getattr(status, name) for name in summary.fields):
        return False
    if set(said.issues) != set(status.issues):
        return False
    found = ((status.condition(each), finding) for each, finding in (summary.conditions or {}).items())
    return all(
        known is not None
        and (known.status, known.reason, known.message) == (finding.status, finding.reason, finding.message)
        for known, finding in found
    )


def difference_of(
    remaining: Iterable[object], grants: Iterable[GrantStatus], unmanaged: Iterable[Grant]
) -> str:
    """Return the difference after a reconcile: changes that were not made, and grants that differ."""
    parts = [str(change) for change in remaining]
    parts += [f"{grant} is not declared" for grant in unmanaged]
    parts += [
        f"{grant.role} for {grant.member} on {grant.target} is {grant.state.lower()}"
        for grant in grants
        if grant.state not in (GrantState.GRANTED, GrantState.EXPIRED)
    ]
    return "; ".join(parts)


def nothing_unresolved(obj: ReconciledResource) -> str | None:
    """Return the `Report.unresolved` of an object whose references resolve; None without references."""
    return "" if isinstance(obj, ProjectScopedResource) else None


def what(obj: ReconciledResource) -> str:
    """Return the object as outcomes name it."""
    return f"{obj.kind} {obj.metadata.name}"


def is_settled(outcome: Outcome) -> bool:
    """Return whether nothing of the resource is under way, so that the grants can be synced."""
    return isinstance(outcome, InSync | Paused)


def other_issues(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """Return the messages of the outcomes that the Ready condition does not show."""
    messages = [outcome.message for outcome in outcomes if not isinstance(outcome, InSync)]
    return tuple(dict.fromkeys(messages))


def _conditions(
    obj: ReconciledResource, report: Report, since: datetime | None, granted: datetime | None, now: datetime
) -> tuple[Condition, ...]:
    left = stalls_in(obj, report.outcome, since, now)
    review = Review(
        outcome=report.outcome,
        difference=report.difference,
        unresolved=report.unresolved,
        references_known=report.references_known,
        exceeded=obj.spec.progress_deadline if left is not None and left <= 0 else None,
        others={
            **((report.summary.conditions if report.summary else None) or {}),
            **expiring(obj.status, report.grants, now),
        },
        uncertain=tuple(_uncertain(report, granted)),
    )
    found = conditions(obj.status.conditions, obj.metadata.generation, review, now)
    if not _is_suspended(report):
        return found
    # The other conditions stay as they were, at the generation at which they were observed. Temporary grants
    # end nevertheless.
    decided = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}
    if report.grants is not None:
        decided.add(ConditionType.EXPIRING)
    untouched = {
        condition.type: condition for condition in obj.status.conditions if condition.type not in decided
    }
    return tuple(untouched.pop(condition.type, condition) for condition in found) + tuple(untouched.values())


def _is_suspended(report: Report) -> bool:
    """Return whether the object was not read because it is suspended."""
    return isinstance(report.outcome, Paused) and report.outcome.reason is Reason.SUSPENDED


def _uncertain(report: Report, granted: datetime | None) -> Iterator[str]:
    """Yield what is not known to be in effect. The clauses have times, so that they remain true."""
    if granted:
        yield f"grants of {granted:%Y-%m-%dT%H:%M:%SZ} take effect within seven minutes"
    if report.summary and report.summary.uncertain:
        yield report.summary.uncertain


def _last_granted(status: ReconciledStatus, report: Report, now: datetime) -> datetime | None:
    """Return when a grant was last added; None if the status shows no time for any present grant."""
    if not isinstance(status, ProjectScopedStatus):
        return None
    if report.grants is None:
        return status.last_granted_time
    present = frozenset(map(_grant_key, _granted(report.grants)))
    if not present:
        return None
    before = status.grant_counts.granted if status.grant_counts else 0
    is_clipped = before > len(status.grants)
    shown = frozenset(map(_grant_key, _granted(status.grants)))
    added = len(present) > before if is_clipped else not present <= shown
    return now.replace(microsecond=0) if added else status.last_granted_time


def _granted(grants: Iterable[GrantStatus]) -> Iterator[GrantStatus]:
    return (grant for grant in grants if grant.state is GrantState.GRANTED)


def _grant_key(grant: GrantStatus) -> tuple[str, ...]:
    return (grant.target, grant.role, grant.condition or "", grant.member)


def _grant_fields(report: Report, granted: datetime | None, now: datetime) -> Mapping[str, Any]:
    if report.grants is None:
        return {}
    return {
        "next_expiry_time": next_end(report.grants, now),
        "grants": report.grants,
        "last_granted_time": granted,
        "grant_counts": GrantCounts.of(grant.state for grant in report.grants) if report.grants else None,
    }
