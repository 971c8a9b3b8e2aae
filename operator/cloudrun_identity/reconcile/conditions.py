"""Compute the conditions of an object from the outcome of a reconcile, following the rules of kstatus."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from cloudrun_identity.api import Condition, ConditionStatus, ConditionType, Duration, Reason

from .outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition without its times."""

    status: ConditionStatus
    reason: str
    """One CamelCase word."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """Findings of a reconcile, as far as they concern conditions."""

    outcome: Outcome
    difference: str | None = ""
    """Remaining difference, one sentence; empty if there is none, None if Google Cloud was not read."""
    unresolved: str | None = None
    """Reference that does not resolve; empty if all resolve, None for a kind without references."""
    references_known: bool = True
    """False if the references were not resolved."""
    exceeded: Duration | None = None
    """The progress deadline, if the object has waited for longer; None before that."""
    others: Mapping[ConditionType, Finding] | None = None
    """Conditions of the kind's own."""
    uncertain: tuple[str, ...] = ()
    """Clauses about what may not be in effect yet although Google Cloud is as declared."""


def conditions(
    before: Iterable[Condition], generation: int, review: Review, now: datetime
) -> tuple[Condition, ...]:
    """Return every condition after a reconcile. A transition time changes only when the status changes."""
    previous = {condition.type: condition for condition in before}
    return tuple(
        _timed(condition_type, finding, previous.get(condition_type), generation, now)
        for condition_type, finding in _findings(review).items()
    )


def _findings(review: Review) -> dict[ConditionType, Finding]:
    findings = {ConditionType.READY: _ready(review)}
    match review.outcome:
        case Waiting(reason, message) | Failing(reason, message) if review.exceeded:
            lasts = f"{message}; this has lasted for longer than spec.progressDeadline ({review.exceeded})"
            findings[ConditionType.STALLED] = Finding(ConditionStatus.TRUE, reason, lasts)
        case Waiting(reason, message) | Failing(reason, message):
            findings[ConditionType.RECONCILING] = Finding(ConditionStatus.TRUE, reason, message)
        case Refused(reason, message):
            findings[ConditionType.STALLED] = Finding(ConditionStatus.TRUE, reason, message)
        case InSync() | Paused():
            pass
        case _:
            assert_never(review.outcome)
    if review.unresolved is not None:
        findings[ConditionType.REFERENCES_RESOLVED] = _references(review)
    findings[ConditionType.IN_SYNC] = _in_sync(review)
    return findings | dict(review.others or {})


def _ready(review: Review) -> Finding:
    match review.outcome:
        case InSync() as in_sync:
            return _in_sync_finding(in_sync, review.uncertain)
        case Failing(reason, message, observed=False) if not review.exceeded:
            return Finding(ConditionStatus.UNKNOWN, reason, message)
        case (
            Paused(reason, message)
            | Waiting(reason, message)
            | Failing(reason, message)
            | Refused(reason, message)
        ):
            return Finding(ConditionStatus.FALSE, reason, message)
        case _:
            assert_never(review.outcome)


def _in_sync_finding(outcome: InSync, uncertain: Iterable[str]) -> Finding:
    """Return Ready=True. Temporary grants that are over are as declared: their time was part of it."""
    if outcome.is_expired:
        message = "The time of every grant is over: this object grants nothing"
        return Finding(ConditionStatus.TRUE, Reason.EXPIRED, message)
    grants = "1 grant has" if outcome.ended == 1 else f"{outcome.ended} grants have"
    ended = (f"{grants} expired",) if outcome.ended else ()
    message = "; ".join(("Google Cloud is as declared", *ended, *uncertain))
    return Finding(ConditionStatus.TRUE, Reason.UP_TO_DATE, message)


def _references(review: Review) -> Finding:
    if not review.references_known:
        return Finding(ConditionStatus.UNKNOWN, "NotObserved", "The references were not resolved")
    if not review.unresolved:
        return Finding(ConditionStatus.TRUE, "Resolved")
    return Finding(ConditionStatus.FALSE, "Unresolved", review.unresolved)


def _in_sync(review: Review) -> Finding:
    match review.difference:
        case None:
            return Finding(ConditionStatus.UNKNOWN, "NotObserved", "Google Cloud was not read")
        case "":
            return Finding(ConditionStatus.TRUE, "NoDifference")
        case difference:
            return Finding(ConditionStatus.FALSE, "Difference", difference)


def _timed(
    condition_type: ConditionType,
    finding: Finding,
    previous: Condition | None,
    generation: int,
    now: datetime,
) -> Condition:
    flipped = previous is None or previous.status is not finding.status
    return Condition(
        type=condition_type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=now if flipped or previous is None else previous.last_transition_time,
        observed_generation=generation,
    )
