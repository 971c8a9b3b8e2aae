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
    ProjectScopedStatus,
    Reason,
    ReconciledResource,
    ReconciledStatus,
    TargetKind,
)
from cloudrun_identity.controllers.conditions import Review, conditions
from cloudrun_identity.controllers.grants.release import waits_for_project
from cloudrun_identity.controllers.grants.targets import NoTarget
from cloudrun_identity.controllers.grants.wishes import Wishes
from cloudrun_identity.controllers.outcomes import (
    Failing,
    InSync,
    Outcome,
    Paused,
    Refused,
    Waiting,
    outcome_of,
)
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.gcp.policy_engine.lanes import Convergence
from cloudrun_identity.gcp.policy_engine.passes import Verdict
from cloudrun_identity.gcp.policy_engine.setbacks import Setback
from cloudrun_identity.iam.grants import Condition as GrantCondition
from cloudrun_identity.iam.grants import Grant, Target

from .controller import Change, Summary
from .drift import counted


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
        changes["drift"] = counted(obj.status.drift, report.drift, report.outcome, now)
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
    """Whether the status says already what a kind has to say of itself."""
    status = obj.status
    # Validated, because that is what cuts texts and lists to the bounds of the schema.
    said = type(status).model_validate({**summary.fields, "issues": summary.issues})
    if any(getattr(said, name) != getattr(status, name) for name in summary.fields):
        return False
    if not set(said.issues) <= set(status.issues):
        return False
    found = ((status.condition(each), finding) for each, finding in (summary.conditions or {}).items())
    return all(
        known is not None
        and (known.status, known.reason, known.message) == (finding.status, finding.reason, finding.message)
        for known, finding in found
    )


def judged(wishes: Wishes, convergence: Convergence) -> tuple[tuple[GrantStatus, ...], list[Outcome]]:
    """The status of every grant, and an outcome for each that is not as declared."""
    listed = [_status_of_verdict(verdict) for verdict in convergence.verdicts]
    listed += [
        _grant_status(
            each.target, each.role, _title(each.condition), each.member, each.state, _reason(each.outcome)
        )
        for each in wishes.obstacles
    ]
    listed += [_of_grant(grant, GrantState.RELEASING, Reason.UPDATING) for grant in convergence.releasing]
    listed += [_of_grant(grant, GrantState.RELEASING, Reason.SUSPENDED) for grant in convergence.halted]
    outcomes: list[Outcome] = [each.outcome for each in wishes.obstacles]
    outcomes += [
        outcome_of(fault, f"the IAM policy of {target}") for target, fault in convergence.faults.items()
    ]
    outcomes += [_missing(target) for target in convergence.missing]
    outcomes += [
        outcome
        for verdict in convergence.verdicts
        if verdict.grant.target not in convergence.missing and verdict.grant.target not in convergence.faults
        for outcome in _outcomes_of(verdict)
    ]
    outcomes += [
        Refused(Reason.CONFLICT, f"spec.authority: another object declares {grant}, so it is not Exclusive")
        for grant in convergence.contested
    ]
    outcomes += [
        Waiting(
            Reason.DRIFT_DETECTED,
            f"{grant} is not declared; guardrails.maxRemovalsPerHour lets it stay for now",
            after=_BRAKED,
        )
        for grant in convergence.intruders
    ]
    outcomes += [
        Waiting(Reason.DEPENDENCY_NOT_READY, waits_for_project(grant)) for grant in convergence.halted
    ]
    if convergence.releasing:
        first = convergence.releasing[0]
        outcomes.append(Waiting(Reason.UPDATING, f"letting go of {first}", after=1.0))
    order = {state: rank for rank, state in enumerate(_SHOWN_FIRST)}
    listed.sort(key=lambda grant: (order[grant.state], grant.target, grant.role, grant.member))
    return tuple(listed), outcomes


def difference_of(
    unapplied: Iterable[object], grants: Iterable[GrantStatus], intruders: Iterable[Grant]
) -> str:
    """What differs at the end of the pass: changes that were not made, and what is wrong with the grants."""
    parts = [str(change) for change in unapplied]
    parts += [f"{grant} is not declared" for grant in intruders]
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


def paused(outcome: Outcome) -> Outcome:
    """In Observe mode what is missing is reported, and nothing is waited for."""
    match outcome:
        case Waiting(Reason.DRIFT_DETECTED, message):
            return Paused(Reason.DRIFT_DETECTED, message)
        case _:
            return outcome


def is_settled(outcome: Outcome) -> bool:
    """Whether nothing of the object itself is under way, so that its grants may be looked after."""
    return isinstance(outcome, InSync | Paused)


def other_issues(outcomes: list[Outcome], shown: Outcome) -> tuple[str, ...]:
    """What else is wrong beside what the Ready condition says."""
    messages = [
        outcome.message for outcome in outcomes if not isinstance(outcome, InSync) and outcome != shown
    ]
    return tuple(dict.fromkeys(messages))


_SHOWN_FIRST = (GrantState.REJECTED, GrantState.PENDING, GrantState.RELEASING, GrantState.GRANTED)


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


def _status_of_verdict(verdict: Verdict) -> GrantStatus:
    reason = None
    if verdict.state is not GrantState.GRANTED:
        reason = next((_reason(outcome) for outcome in _outcomes_of(verdict)), Reason.UPDATING)
    return _of_grant(verdict.grant, verdict.state, reason)


def _outcomes_of(verdict: Verdict) -> Iterable[Outcome]:
    if verdict.state is GrantState.GRANTED:
        return
    match verdict.setback:
        case None:
            yield Waiting(Reason.DRIFT_DETECTED, f"{verdict.grant} is missing")
        case Setback(error=None) as contested:
            message = (
                f"{verdict.grant}: somebody takes it away again and again; find out who writes this policy "
                "besides the operator, Google's audit logs tell"
            )
            yield Failing(Reason.CONFLICT, message, after=contested.wait)
        case Setback(propagating=True) as propagating:
            message = f"{verdict.grant}: Google does not know the account everywhere yet"
            yield Waiting(Reason.PROPAGATION_PENDING, message, propagating.wait)
        case Setback(error=error):
            yield Refused(Reason.REJECTED, f"{verdict.grant}: {_refusal(error) if error else ''}")


def _refusal(error: GoogleError) -> str:
    """Why a grant is refused and what to do about it, of which Google says the first; ours say both."""
    remedy = _REMEDIES.get(error.fault) if error.code else None
    return f"{error.message}; {remedy}" if remedy else error.message


_REMEDIES = {
    Fault.INVALID_ARGUMENT: (
        "check that the member exists, and that such a member may have such a role under such a condition "
        "there"
    ),
    Fault.FAILED_PRECONDITION: (
        "if an organization policy forbids it, as iam.allowedPolicyMemberDomains does, name a member that it "
        "allows, or have it changed"
    ),
}


def _missing(target: Target) -> Outcome:
    reason = (
        Reason.DEPENDENCY_NOT_FOUND
        if target.kind in (TargetKind.PROJECT, TargetKind.SERVICE_ACCOUNT)
        else Reason.WORKLOAD_NOT_FOUND
    )
    return Waiting(reason, f"{target} does not exist in project {target.project_id}", after=_LOOK_AGAIN)


_BRAKED = 300.0  # seconds; the brake on removals counts by the hour

_LOOK_AGAIN = 15.0  # seconds; nothing tells us when somebody deploys a workload


def _reason(outcome: Outcome) -> Reason:
    return Reason.UP_TO_DATE if isinstance(outcome, InSync) else outcome.reason


def _of_grant(grant: Grant, state: GrantState, reason: str | None) -> GrantStatus:
    return _grant_status(grant.target, grant.role, _title(grant.condition), grant.member, state, reason)


def _title(condition: GrantCondition | None) -> str | None:
    return condition.title if condition else None


def _grant_status(
    target: Target | NoTarget,
    role: str,
    condition: str | None,
    member: str,
    state: GrantState,
    reason: str | None,
) -> GrantStatus:
    return GrantStatus(
        target=str(target), role=role, condition=condition, member=member, state=state, reason=reason
    )
