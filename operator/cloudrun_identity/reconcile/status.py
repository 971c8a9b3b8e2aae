"""From what a pass found to the status of the object: pure, so that every status can be tested as a value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

from .conditions import Review, conditions
from .drift import counted
from .interfaces import Summary
from .outcomes import InSync, Outcome, Paused
from .steps import Change


@dataclass(frozen=True, slots=True)
class Report:
    """What one pass found.

    `difference` and `unresolved` are those of `conditions.Review`. `summary` is None where the kind could not
    look, and its fields stay as they are; likewise `grants`. `references_known` is false where the pass did
    not get as far as to resolve them. `drift` are differences that somebody else made.
    `others` are outcomes of parts of the pass beside the one that is shown.
    """

    outcome: Outcome
    difference: str | None = None
    unresolved: str | None = None
    project_id: str | None = None
    summary: Summary | None = None
    grants: tuple[GrantStatus, ...] | None = None
    drift: tuple[str, ...] = ()
    issues: tuple[str, ...] = ()
    others: tuple[Outcome, ...] = ()
    references_known: bool = True


def status_of(
    obj: ReconciledResource, report: Report, now: datetime, *, stalled: bool = False
) -> ReconciledStatus:
    """The object's status after the pass. `stalled`: the failure has lasted long enough to need a person."""
    generation = obj.metadata.generation
    changes: dict[str, Any] = {
        "observed_generation": generation,
        "conditions": _conditions(obj, report, now, stalled=stalled),
        "drift": counted(obj.status.drift, report.drift, report.outcome, now),
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
        changes |= _grant_fields(report)
    return with_fields(obj.status, changes)


def with_fields(status: "Status", changes: Mapping[str, Any]) -> "Status":
    """The status with these fields, by name."""
    # Copied through validation, because that is what cuts texts and lists to the bounds of the schema.
    merged = {name: getattr(status, name) for name in type(status).model_fields} | dict(changes)
    return type(status).model_validate(merged)


Status = TypeVar("Status", bound=ReconciledStatus)


def status_object(status: ReconciledStatus) -> dict[str, Any]:
    """The status as it is stored: without empty lists."""
    return {field: value for field, value in status.to_dict().items() if value != []}


def is_told(obj: ReconciledResource, summary: Summary) -> bool:
    """Whether the status of an object that is as declared says what a kind has to say of it, and no more."""
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
    unapplied: Iterable[object], grants: Iterable[GrantStatus], unmanaged: Iterable[Grant]
) -> str:
    """What differs at the end of the pass: changes that were not made, and what is wrong with the grants."""
    parts = [str(change) for change in unapplied]
    parts += [f"{grant} is not declared" for grant in unmanaged]
    parts += [
        f"{grant.role} for {grant.member} on {grant.target} is {grant.state.lower()}"
        for grant in grants
        if grant.state is not GrantState.GRANTED
    ]
    return "; ".join(parts)


def observed(changes: tuple[Change, ...]) -> Outcome:
    """The outcome of looking without touching."""
    if not changes:
        return InSync()
    return Paused(Reason.DRIFT_DETECTED, "; ".join(map(str, changes)))


def nothing_unresolved(obj: ReconciledResource) -> str | None:
    """What `Report.unresolved` is where no reference is in the way: empty, or None for kinds without any."""
    return "" if isinstance(obj, ProjectScopedResource) else None


def what(obj: ReconciledResource) -> str:
    """How outcomes name what they are about."""
    return f"{obj.kind} {obj.metadata.name}"


def is_settled(outcome: Outcome) -> bool:
    """Whether nothing of the object itself is under way, so that its grants may be looked after."""
    return isinstance(outcome, InSync | Paused)


def other_issues(outcomes: list[Outcome], shown: Outcome) -> tuple[str, ...]:
    """What else is wrong beside what the Ready condition says."""
    messages = [
        outcome.message for outcome in outcomes if not isinstance(outcome, InSync) and outcome != shown
    ]
    return tuple(dict.fromkeys(messages))


def _conditions(
    obj: ReconciledResource, report: Report, now: datetime, *, stalled: bool
) -> tuple[Condition, ...]:
    review = Review(
        outcome=report.outcome,
        difference=report.difference,
        unresolved=report.unresolved,
        references_known=report.references_known,
        stalled=stalled,
        others=report.summary.conditions if report.summary else None,
    )
    found = conditions(obj.status.conditions, obj.metadata.generation, review, now)
    if not _is_suspended(report):
        return found
    # What was known of it stays as it is, at the generation it was seen.
    untouched = {
        condition.type: condition
        for condition in obj.status.conditions
        if condition.type not in (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    }
    return tuple(untouched.pop(condition.type, condition) for condition in found) + tuple(untouched.values())


def _is_suspended(report: Report) -> bool:
    """Whether the object was not looked at."""
    return isinstance(report.outcome, Paused) and report.outcome.reason is Reason.SUSPENDED


def _grant_fields(report: Report) -> Mapping[str, Any]:
    if report.grants is None:
        return {}
    return {
        "grants": report.grants,
        "grant_counts": GrantCounts.of(grant.state for grant in report.grants) if report.grants else None,
    }
