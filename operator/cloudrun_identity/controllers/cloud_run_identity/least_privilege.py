"""Advice on what an identity declares, as its status shows it."""

from collections.abc import Iterable

from cloudrun_identity.api import ConditionStatus, Recommendation
from cloudrun_identity.gcp.roles import Roles
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.recommendations import Advice, DeclaredGrant, advise
from cloudrun_identity.reconcile.conditions import Finding
from cloudrun_identity.reconcile.grants.members import GrantMember
from cloudrun_identity.reconcile.grants.resolver import RequestedGrant

AGENT_FIELD = "spec.usableFrom"
"""What is granted to Google's own service agents is no choice of whoever declares it."""


def recommendations(requested_grants: Iterable[RequestedGrant], roles: Roles) -> tuple[Recommendation, ...]:
    """What is advised, by what is known of the roles: those that were admitted have been read."""
    given = [
        DeclaredGrant(
            requested.path,
            requested.target,
            requested.role,
            requested.member.member,
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
    """The condition LeastPrivilege."""
    if not found:
        return Finding(ConditionStatus.TRUE, "NoAdvice", "nothing to recommend")
    kinds = ", ".join(dict.fromkeys(each.kind for each in found))
    return Finding(ConditionStatus.FALSE, "Advice", f"{kinds}: see status.recommendations")


def _recommendation(advice: Advice) -> Recommendation:
    return Recommendation(kind=advice.kind, text=advice.text)
