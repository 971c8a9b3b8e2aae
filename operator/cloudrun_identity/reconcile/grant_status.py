"""What became of an object's grants: the status of each, and an outcome for each that is not as declared."""

from collections.abc import Iterator

from cloudrun_identity.api import GrantState, GrantStatus, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.policy.backoff import GrantBackoff
from cloudrun_identity.policy.sync import GrantResult
from cloudrun_identity.policy.syncers import GrantSyncResult

from .grants.release import waits_for_project
from .grants.resolver import ResolvedGrants
from .grants.targets import NoTarget
from .outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting, outcome_of


def grant_statuses(
    requested_grants: ResolvedGrants, sync_result: GrantSyncResult, *, observe: bool = False
) -> tuple[tuple[GrantStatus, ...], list[Outcome]]:
    """The status of every grant, what needs a look first, and an outcome for each that is not as declared.

    Where we only `observe`, what differs is reported, and nothing is waited for.
    """
    order = {state: rank for rank, state in enumerate(_SHOWN_FIRST)}
    listed = sorted(
        _listed(requested_grants, sync_result),
        key=lambda grant: (order[grant.state], grant.target, grant.role, grant.member),
    )
    return tuple(listed), list(_outcomes(requested_grants, sync_result, observe=observe))


_SHOWN_FIRST = (GrantState.REJECTED, GrantState.PENDING, GrantState.RELEASING, GrantState.GRANTED)


def _listed(requested_grants: ResolvedGrants, sync_result: GrantSyncResult) -> Iterator[GrantStatus]:
    yield from map(_status_of_result, sync_result.grant_results)
    for each in requested_grants.failures:
        title, reason = _title(each.condition), _reason(each.outcome)
        yield _grant_status(each.target, each.role, title, each.member, each.state, reason)
    for grant in sync_result.releasing:
        yield _of_grant(grant, GrantState.RELEASING, Reason.UPDATING)
    for grant in sync_result.halted:
        yield _of_grant(grant, GrantState.RELEASING, Reason.SUSPENDED)


def _outcomes(
    requested_grants: ResolvedGrants, sync_result: GrantSyncResult, *, observe: bool
) -> Iterator[Outcome]:
    for each in requested_grants.failures:
        yield each.outcome
    for target, fault in sync_result.faults.items():
        yield outcome_of(fault, f"the IAM policy of {target}")
    for target in sync_result.missing:
        yield _missing(target)
    unread = {*sync_result.missing, *sync_result.faults}
    for grant_result in sync_result.grant_results:
        if grant_result.state is not GrantState.GRANTED and grant_result.grant.target not in unread:
            yield _outcome_of_result(grant_result, observe=observe)
    for grant in sync_result.conflicting:
        message = f"spec.authority: another object declares {grant}, so it is not Exclusive"
        yield Refused(Reason.CONFLICT, message)
    for grant in sync_result.unmanaged:
        yield _outcome_of_unmanaged(grant, observe=observe)
    for grant in sync_result.halted:
        yield Waiting(Reason.DEPENDENCY_NOT_READY, waits_for_project(grant))
    for first in sync_result.releasing[:1]:
        yield Waiting(Reason.UPDATING, f"letting go of {first}", after=1.0)


def _status_of_result(grant_result: GrantResult) -> GrantStatus:
    granted = grant_result.state is GrantState.GRANTED
    reason = None if granted else _reason(_outcome_of_result(grant_result, observe=False))
    return _of_grant(grant_result.grant, grant_result.state, reason)


def _outcome_of_result(grant_result: GrantResult, *, observe: bool) -> Outcome:
    """What becomes of a grant that does not stand."""
    grant = grant_result.grant
    match grant_result.backoff:
        case None if observe:
            return Paused(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case None:
            return Waiting(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case GrantBackoff(error=None) as contested:
            message = (
                f"{grant}: somebody takes it away again and again; find out who writes this policy besides "
                "the operator, Google's audit logs tell"
            )
            return Failing(Reason.CONFLICT, message, after=contested.wait)
        case GrantBackoff(propagating=True) as propagating:
            message = f"{grant}: Google does not know the account everywhere yet"
            return Waiting(Reason.PROPAGATION_PENDING, message, propagating.wait)
        case GrantBackoff(error=error):
            return Refused(Reason.REJECTED, f"{grant}: {_refusal(error) if error else ''}")


def _outcome_of_unmanaged(grant: Grant, *, observe: bool) -> Outcome:
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
    reason = target.descriptor.missing_reason
    return Waiting(reason, f"{target} does not exist in project {target.project_id}", after=_LOOK_AGAIN)


_BRAKED = 300.0  # seconds; the brake on removals counts by the hour

_LOOK_AGAIN = 15.0  # seconds; nothing tells us when somebody deploys a workload


def _reason(outcome: Outcome) -> Reason:
    return Reason.UP_TO_DATE if isinstance(outcome, InSync) else outcome.reason


def _of_grant(grant: Grant, state: GrantState, reason: str | None) -> GrantStatus:
    return _grant_status(grant.target, grant.role, _title(grant.condition), grant.member, state, reason)


def _title(condition: IAMCondition | None) -> str | None:
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
