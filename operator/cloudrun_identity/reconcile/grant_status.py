"""Status of each grant of an object, and an outcome for each grant that is not as declared."""

from collections.abc import Iterator

from cloudrun_identity.api import GrantState, GrantStatus, Reason
from cloudrun_identity.gcp.errors import Fault, GoogleError
from cloudrun_identity.iam.audited_changes import Cause, DeltaAction
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.principals import email
from cloudrun_identity.iam.service_agents import project_number_of, service_agents
from cloudrun_identity.policy.backoff import GrantBackoff
from cloudrun_identity.policy.results import GrantResult, GrantSyncResult
from cloudrun_identity.reconcile.references import Unresolved

from .change_log import NO_CAUSES, Causes
from .grants.release import waits_for_project
from .grants.resolver import ResolvedGrants
from .outcomes import Failing, InSync, Outcome, Paused, Refused, Waiting, outcome_of


def grant_statuses(
    resolved: ResolvedGrants,
    synced: GrantSyncResult,
    *,
    observe: bool = False,
    causes: Causes = NO_CAUSES,
) -> tuple[tuple[GrantStatus, ...], list[Outcome]]:
    """Return the status of every grant, failures first, and an outcome for each that is not as declared.

    With `observe`, differences are reported and nothing waits for them. `causes` reports who removes a grant.
    """
    order = {state: rank for rank, state in enumerate(_SHOWN_FIRST)}
    listed = sorted(
        _listed(resolved, synced),
        key=lambda grant: (order[grant.state], grant.target, grant.role, grant.member),
    )
    return tuple(listed), list(_outcomes(resolved, synced, observe=observe, causes=causes))


_SHOWN_FIRST = (
    GrantState.REJECTED,
    GrantState.PENDING,
    GrantState.RELEASING,
    GrantState.GRANTED,
    GrantState.EXPIRED,
)
_MET = (GrantState.GRANTED, GrantState.EXPIRED)


def _listed(resolved: ResolvedGrants, synced: GrantSyncResult) -> Iterator[GrantStatus]:
    yield from map(_status_of_result, synced.grant_results)
    for each in resolved.failures:
        title, reason = _title(each.condition), _reason(each.outcome)
        yield _grant_status(each.target, each.role, title, each.member, each.state, reason)
    for grant in synced.releasing:
        yield _of_grant(grant, GrantState.RELEASING, Reason.UPDATING)
    for grant in synced.halted:
        yield _of_grant(grant, GrantState.RELEASING, Reason.SUSPENDED)
    leaving = {*synced.releasing, *synced.halted}
    for ended in resolved.ended:
        if ended.grant not in leaving:
            status = _of_grant(ended.grant, GrantState.EXPIRED, Reason.EXPIRED)
            yield status.model_copy(update={"expires_at": ended.end})


def _outcomes(
    resolved: ResolvedGrants, synced: GrantSyncResult, *, observe: bool, causes: Causes
) -> Iterator[Outcome]:
    for each in resolved.failures:
        yield each.outcome
    yield from _outcomes_of_targets(synced)
    unread = {*synced.missing, *synced.replaced, *synced.faults}
    for result in synced.grant_results:
        if result.state not in _MET and result.grant.target not in unread:
            yield _outcome_of_result(result, observe=observe, causes=causes)
    for grant in synced.conflicting:
        message = f"spec.authority: another object declares {grant}, so it is not Exclusive"
        yield Refused(Reason.CONFLICT, message)
    for grant in synced.unmanaged:
        yield _outcome_of_unmanaged(grant, observe=observe)
    for grant in synced.halted:
        yield Waiting(Reason.DEPENDENCY_NOT_READY, waits_for_project(grant))
    for first in synced.releasing[:1]:
        if observe and first in {each.grant for each in resolved.ended}:
            yield Paused(Reason.DRIFT_DETECTED, f"{first} is over, and is not removed while it is observed")
        else:
            yield Waiting(Reason.UPDATING, f"Releasing {first}", after=1.0)


def _outcomes_of_targets(synced: GrantSyncResult) -> Iterator[Outcome]:
    """Return an outcome for each target without a complete sync."""
    for target, fault in synced.faults.items():
        yield outcome_of(fault, f"the IAM policy of {target}")
    yield from map(_missing, synced.missing)
    yield from map(_replaced, synced.replaced)


def _status_of_result(result: GrantResult) -> GrantStatus:
    status = _of_grant(result.grant, result.state, _reason_of_result(result))
    shown = {"registered_member": result.registered_member, "expires_at": result.expires_at}
    return status.model_copy(update={name: value for name, value in shown.items() if value})


def _reason_of_result(result: GrantResult) -> Reason | None:
    match result.state:
        case GrantState.GRANTED:
            return None
        case GrantState.EXPIRED:
            return Reason.EXPIRED
        case _:
            return _reason(_outcome_of_result(result, observe=False))


def _outcome_of_result(result: GrantResult, *, observe: bool, causes: Causes = NO_CAUSES) -> Outcome:
    """Return the outcome for a grant that is absent from the policy."""
    grant = result.grant
    match result.backoff:
        case None if observe:
            return Paused(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case None:
            return Waiting(Reason.DRIFT_DETECTED, f"{grant} is missing")
        case GrantBackoff(error=None) as conflicting:
            writer = _writer(causes.of_grant(grant, DeltaAction.REMOVE))
            message = f"{grant}: another writer removes it repeatedly; {writer}"
            return Failing(Reason.CONFLICT, message, after=conflicting.wait)
        case GrantBackoff(propagating=True) as propagating:
            message = f"{grant}: the account has not propagated in Google Cloud yet"
            return Waiting(Reason.PROPAGATION_PENDING, message, propagating.wait)
        case GrantBackoff(error=error):
            return Refused(Reason.REJECTED, f"{grant}: {_refusal(grant, error) if error else ''}")


def _writer(cause: Cause | None) -> str:
    """Return who removes a grant repeatedly, or where to find out."""
    if cause is None or not cause.principal:
        return "Google Cloud's audit logs show who else writes this policy"
    if cause.is_assumed:
        return f"the policy was last {cause.described('written')}"
    return f"it was last {cause.described('removed')}"


def _outcome_of_unmanaged(grant: Grant, *, observe: bool) -> Outcome:
    if observe:
        return Paused(Reason.DRIFT_DETECTED, f"{grant} is not declared")
    message = f"{grant} is not declared; it stays until guardrails.maxRemovalsPerHour allows its removal"
    return Waiting(Reason.DRIFT_DETECTED, message, after=REMOVAL_RECHECK)


def _refusal(grant: Grant, error: GoogleError) -> str:
    """Return Google's reason for refusing a grant, with the remedy. The operator's own errors contain one."""
    if not error.code:
        return error.message
    remedy = _create_agent(grant.member) if error.fault is Fault.INVALID_ARGUMENT else ""
    remedy = remedy or _REMEDIES.get(error.fault, "")
    return f"{error.message.rstrip('.')}; {remedy}" if remedy else error.message


def _create_agent(member: str) -> str:
    """Return how to create a service agent that the project lacks; empty for any other member.

    Google creates an agent when its service is first used:
    https://cloud.google.com/iam/docs/create-service-agents
    """
    address = email(member)
    service = service_agents().service_of(address)
    if not service:
        return ""
    return (
        "if the project has not used the service yet, create its service agent: gcloud beta services "
        f"identity create --service={service} --project={project_number_of(address)}"
    )


_REMEDIES = {
    Fault.INVALID_ARGUMENT: (
        "check that the member exists, and that the resource accepts this kind of member, role and condition"
    ),
    Fault.FAILED_PRECONDITION: (
        "if an organization policy such as iam.allowedPolicyMemberDomains forbids it, name a member that the "
        "policy allows, or ask an administrator to change the policy"
    ),
}


def _missing(target: Target) -> Outcome:
    reason = target.descriptor.missing_reason
    message = (
        f"{target} does not exist in project {target.project_id}; create it, or correct the target in the "
        "spec"
    )
    return Waiting(reason, message, after=TARGET_RECHECK)


def _replaced(target: Target) -> Outcome:
    message = (
        f"{target} was deleted and created again by another client; nothing is granted on it until its "
        "CloudRunIdentity takes it over (spec.whenReplaced: Regrant)"
    )
    return Waiting(Reason.DEPENDENCY_NOT_READY, message, after=TARGET_RECHECK)


REMOVAL_RECHECK = 300.0
"""Seconds until a removal that the hourly limit delays is tried again."""

TARGET_RECHECK = 15.0
"""Seconds until a missing target is looked for again: its creation does not wake the object."""


def _reason(outcome: Outcome) -> Reason:
    return Reason.UP_TO_DATE if isinstance(outcome, InSync) else outcome.reason


def _of_grant(grant: Grant, state: GrantState, reason: str | None) -> GrantStatus:
    return _grant_status(grant.target, grant.role, _title(grant.condition), grant.member, state, reason)


def _title(condition: IAMCondition | None) -> str | None:
    return condition.title if condition else None


def _grant_status(
    target: Target | Unresolved,
    role: str,
    condition: str | None,
    member: str,
    state: GrantState,
    reason: str | None,
) -> GrantStatus:
    return GrantStatus(
        target=str(target), role=role, condition=condition, member=member, state=state, reason=reason
    )
