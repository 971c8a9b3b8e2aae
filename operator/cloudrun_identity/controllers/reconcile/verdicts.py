"""What became of an object's grants: the status of each, and an outcome for each that is not as declared."""

from collections.abc import Iterator

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


def judged(
    wishes: Wishes, convergence: Convergence, *, observe: bool = False
) -> tuple[tuple[GrantStatus, ...], list[Outcome]]:
    """The status of every grant, what needs a look first, and an outcome for each that is not as declared.

    Where we only `observe`, what differs is reported, and nothing is waited for.
    """
    order = {state: rank for rank, state in enumerate(_SHOWN_FIRST)}
    listed = sorted(
        _listed(wishes, convergence),
        key=lambda grant: (order[grant.state], grant.target, grant.role, grant.member),
    )
    return tuple(listed), list(_outcomes(wishes, convergence, observe=observe))


_SHOWN_FIRST = (GrantState.REJECTED, GrantState.PENDING, GrantState.RELEASING, GrantState.GRANTED)


def _listed(wishes: Wishes, convergence: Convergence) -> Iterator[GrantStatus]:
    yield from map(_status_of_verdict, convergence.verdicts)
    for each in wishes.obstacles:
        title, reason = _title(each.condition), _reason(each.outcome)
        yield _grant_status(each.target, each.role, title, each.member, each.state, reason)
    for grant in convergence.releasing:
        yield _of_grant(grant, GrantState.RELEASING, Reason.UPDATING)
    for grant in convergence.halted:
        yield _of_grant(grant, GrantState.RELEASING, Reason.SUSPENDED)


def _outcomes(wishes: Wishes, convergence: Convergence, *, observe: bool) -> Iterator[Outcome]:
    for each in wishes.obstacles:
        yield each.outcome
    for target, fault in convergence.faults.items():
        yield outcome_of(fault, f"the IAM policy of {target}")
    for target in convergence.missing:
        yield _missing(target)
    unread = {*convergence.missing, *convergence.faults}
    for verdict in convergence.verdicts:
        if verdict.state is not GrantState.GRANTED and verdict.grant.target not in unread:
            yield _outcome_of_verdict(verdict, observe=observe)
    for grant in convergence.contested:
        message = f"spec.authority: another object declares {grant}, so it is not Exclusive"
        yield Refused(Reason.CONFLICT, message)
    for grant in convergence.intruders:
        yield _outcome_of_intruder(grant, observe=observe)
    for grant in convergence.halted:
        yield Waiting(Reason.DEPENDENCY_NOT_READY, waits_for_project(grant))
    for first in convergence.releasing[:1]:
        yield Waiting(Reason.UPDATING, f"letting go of {first}", after=1.0)


def _status_of_verdict(verdict: Verdict) -> GrantStatus:
    granted = verdict.state is GrantState.GRANTED
    reason = None if granted else _reason(_outcome_of_verdict(verdict, observe=False))
    return _of_grant(verdict.grant, verdict.state, reason)


def _outcome_of_verdict(verdict: Verdict, *, observe: bool) -> Outcome:
    """What becomes of a grant that does not stand."""
    grant = verdict.grant
    match verdict.setback:
        case None if observe:
            return Paused(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case None:
            return Waiting(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case Setback(error=None) as contested:
            message = (
                f"{grant}: somebody takes it away again and again; find out who writes this policy besides "
                "the operator, Google's audit logs tell"
            )
            return Failing(Reason.CONFLICT, message, after=contested.wait)
        case Setback(propagating=True) as propagating:
            message = f"{grant}: Google does not know the account everywhere yet"
            return Waiting(Reason.PROPAGATION_PENDING, message, propagating.wait)
        case Setback(error=error):
            return Refused(Reason.REJECTED, f"{grant}: {_refusal(error) if error else ''}")


def _outcome_of_intruder(grant: Grant, *, observe: bool) -> Outcome:
    if observe:
        return Paused(Reason.DRIFT_DETECTED, f"{grant} is not declared")
    message = f"{grant} is not declared; guardrails.maxRemovalsPerHour lets it stay for now"
    return Waiting(Reason.DRIFT_DETECTED, message, after=_BRAKED)


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
