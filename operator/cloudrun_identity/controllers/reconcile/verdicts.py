"""What became of an object's grants: the status of each, and an outcome for each that is not as declared."""

from collections.abc import Iterable

from cloudrun_identity.api import GrantState, GrantStatus, Reason, TargetKind
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
from cloudrun_identity.iam.grants import Condition, Grant, Target


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


def paused(outcome: Outcome) -> Outcome:
    """In Observe mode what is missing is reported, and nothing is waited for."""
    match outcome:
        case Waiting(Reason.DRIFT_DETECTED, message):
            return Paused(Reason.DRIFT_DETECTED, message)
        case _:
            return outcome


_SHOWN_FIRST = (GrantState.REJECTED, GrantState.PENDING, GrantState.RELEASING, GrantState.GRANTED)


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


def _title(condition: Condition | None) -> str | None:
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
