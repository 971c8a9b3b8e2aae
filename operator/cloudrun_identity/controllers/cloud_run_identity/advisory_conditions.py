"""Advisory conditions of an identity: CrossProjectReady, KeysAudited and LeastPrivilege."""

from collections.abc import Iterable

from cloudrun_identity.api import (
    CloudRunIdentity,
    ConditionStatus,
    EffectiveCrossProjectUsage,
    GrantState,
    ManagedProject,
    PreflightCheck,
    Recommendation,
    UnmanagedKey,
)
from cloudrun_identity.api.predefined_roles import TOKEN_CREATOR
from cloudrun_identity.controllers.cross_project import (
    Account,
    CrossProjectUse,
    act_as_check,
    cross_project_ready,
    org_policy_check,
    service_agent_check,
)
from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.gcp.permission_checks import AccessState
from cloudrun_identity.gcp.projects import cloud_run_service_agent
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.principals import service_account_member
from cloudrun_identity.iam.recommendations import Advice, DeclaredGrant, advise
from cloudrun_identity.reconcile.advice import advised
from cloudrun_identity.reconcile.cluster_state import ClusterState
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant

from .audit import Audit, usable_projects

AGENT_FIELD = "spec.usableFrom"
"""Field whose grants go to service agents of Google, so that a user has no choice of the role."""


def cross_project(
    obj: CloudRunIdentity, home: ManagedProject, account: Target, audit: Audit, cluster: ClusterState
) -> Finding | None:
    """Return the condition CrossProjectReady; None for an identity that no other project may use."""
    if not obj.spec.usable_from:
        return None
    delegated = Account(
        account.name,
        account.project_id,
        DeclaredIdentity(obj.metadata.namespace, obj.metadata.name),
        home.metadata.name,
        home.status.cross_project_usage or EffectiveCrossProjectUsage.UNKNOWN,
    )
    checks: list[PreflightCheck] = []
    for project in usable_projects(obj, cluster):
        use = CrossProjectUse(
            delegated,
            project.metadata.name,
            project.status.project_number or "",
            project.status.operator_identity or "",
        )
        checks += [
            act_as_check(use, audit.may_act.get(project.metadata.name, AccessState.UNKNOWN)),
            service_agent_check(use, _gets_tokens(account, use, cluster)),
            org_policy_check(use),
        ]
    return cross_project_ready(checks)


def keys_audited(found: tuple[UnmanagedKey, ...] | GoogleError, email: str) -> Finding:
    """Return the condition KeysAudited, from the unmanaged keys or from why keys cannot be listed."""
    if isinstance(found, GoogleError):
        return Finding(ConditionStatus.UNKNOWN, "NotObserved", f"Keys cannot be listed: {advised(found)}")
    if not found:
        return Finding(ConditionStatus.TRUE, "NoUnmanagedKeys", "Every user-managed key is declared")
    oldest = found[0]
    since = f", the oldest of {oldest.created_time:%Y-%m-%d}" if oldest.created_time else ""
    used = f", last used on {oldest.last_used}" if oldest.last_used else ""
    return Finding(
        ConditionStatus.FALSE,
        "UnmanagedKeys",
        f"{len(found)} user-managed keys that no IdentityKey declares{since}{used}; delete unused keys: "
        f"gcloud iam service-accounts keys delete {oldest.id} --iam-account={email}",
    )


def recommendations(requested_grants: Iterable[RequestedGrant], roles: Roles) -> tuple[Recommendation, ...]:
    """Return the advice on the grants, as far as the permissions of their roles have been read."""
    given = [
        DeclaredGrant(
            requested.path,
            requested.target,
            requested.role,
            requested.member.principal,
            roles.cached(requested.role, requested.target.project_id),
        )
        for requested in requested_grants
        if isinstance(requested.target, Target)
        and isinstance(requested.role, str)
        and isinstance(requested.member, GrantMember)
        and not requested.path.startswith(AGENT_FIELD)
    ]
    return tuple(map(_recommendation, advise(given)))


def least_privilege(found: tuple[Recommendation, ...]) -> Finding:
    """Return the condition LeastPrivilege."""
    if not found:
        return Finding(ConditionStatus.TRUE, "NoAdvice", "Nothing to recommend")
    kinds = ", ".join(dict.fromkeys(each.kind for each in found))
    return Finding(ConditionStatus.FALSE, "Advice", f"{kinds}: see status.recommendations")


def _gets_tokens(account: Target, use: CrossProjectUse, cluster: ClusterState) -> AccessState:
    """Return whether the ledger shows the grant of the service agent, which the operator makes."""
    agent = service_account_member(cloud_run_service_agent(use.project_number))
    entry = cluster.ledger(account).entries.get(Grant(account, TOKEN_CREATOR, agent))
    return AccessState.GRANTED if entry and entry.state is GrantState.GRANTED else AccessState.NOT_GRANTED


def _recommendation(advice: Advice) -> Recommendation:
    return Recommendation(kind=advice.kind, text=advice.text)
