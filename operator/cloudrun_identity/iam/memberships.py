"""Membership of principals in the members of policies: certain, dependent on something, or excluded.

The members are those of https://cloud.google.com/iam/docs/principal-identifiers.
"""

import re
from dataclasses import dataclass
from typing import Final

from .principals import PrincipalKind, parse, same_member


@dataclass(frozen=True, slots=True)
class Certain:
    """The principal certainly belongs to the member."""


CERTAIN: Final = Certain()

Membership = Certain | str | None
"""CERTAIN, or what decides about the membership (a text), or None if the principal does not belong to it."""


def membership(member: str, principal: str) -> Membership:
    """Return whether a principal belongs to a member of a policy.

    The members of a group are not known, and neither are the attributes of a federated identity. A principal
    that stands for several, such as a group, belongs to itself and to the public members only.
    """
    if same_member(member, principal):
        return CERTAIN
    kind = parse(principal).kind
    match parse(member).kind:
        case PrincipalKind.ALL_USERS:
            return CERTAIN
        case PrincipalKind.ALL_AUTHENTICATED_USERS:
            return _authenticated(kind)
        case _ if is_individual(principal):
            return _of_individual(member, principal, kind)
        case _:
            return None


def is_individual(principal: str) -> bool:
    """Return whether the principal is one user, account or federated identity."""
    return parse(principal).kind in _INDIVIDUALS


def _of_individual(member: str, principal: str, kind: PrincipalKind) -> Membership:
    """Return whether one user, account or federated identity belongs to a member that is not public."""
    match parse(member).kind:
        case PrincipalKind.GROUP:
            return f"the membership of {principal} in {member}"
        case PrincipalKind.DOMAIN:
            return f"whether {principal} is an account of {member}" if kind is PrincipalKind.USER else None
        case PrincipalKind.PRINCIPAL_SET:
            return _in_set(member, principal)
        case PrincipalKind.PROJECT_OWNER | PrincipalKind.PROJECT_EDITOR | PrincipalKind.PROJECT_VIEWER:
            return f"whether {principal} is in {member}"
        case PrincipalKind.PRINCIPAL | PrincipalKind.KUBERNETES_SERVICE_ACCOUNT:
            workload = _kubernetes_workload(member)
            return CERTAIN if workload and workload == _kubernetes_workload(principal) else None
        case PrincipalKind.OPAQUE if not member.startswith(_DELETED):
            return f"the meaning of the member {member}, which this version does not know"
        case _:
            return None


def _authenticated(kind: PrincipalKind) -> Membership:
    """Return whether allAuthenticatedUsers covers a principal of this kind.

    It covers "all service accounts and all users on the internet who have authenticated with a Google
    Account", and not identities of external identity providers
    (https://cloud.google.com/iam/docs/principals-overview).
    """
    match kind:
        case PrincipalKind.USER | PrincipalKind.SERVICE_ACCOUNT | PrincipalKind.GROUP:
            return CERTAIN
        case PrincipalKind.PRINCIPAL | PrincipalKind.KUBERNETES_SERVICE_ACCOUNT:
            return "whether allAuthenticatedUsers covers identities of external identity providers"
        case _:
            return None


def _in_set(member: str, principal: str) -> Membership:
    depends = f"whether {principal} is in {member}"
    pool = _POOL.match(member)
    if not pool:
        return depends  # all principals of a project, folder, organization or customer
    if not principal.startswith(f"principal{pool[1]}/"):
        workload = _kubernetes_workload(principal)
        return depends if workload and pool[1].endswith(f"/{workload[0]}") else None
    return CERTAIN if member == f"principalSet{pool[1]}/*" else depends


def _kubernetes_workload(principal: str) -> tuple[str, str, str] | None:
    """Return the pool, namespace and name of a service account of GKE, in either of its two forms."""
    found = _KUBERNETES.fullmatch(principal) or _KUBERNETES_SUBJECT.fullmatch(principal)
    return (found[1], found[2], found[3]) if found else None


_DELETED: Final = "deleted:"
_INDIVIDUALS: Final = frozenset(
    {
        PrincipalKind.USER,
        PrincipalKind.SERVICE_ACCOUNT,
        PrincipalKind.KUBERNETES_SERVICE_ACCOUNT,
        PrincipalKind.PRINCIPAL,
    }
)
_POOL: Final = re.compile(
    r"principalSet(://iam\.googleapis\.com/.+?/(?:workloadIdentityPools|workforcePools)/[^/]+)/"
)
_KUBERNETES: Final = re.compile(r"serviceAccount:([^\[\]]+\.svc\.id\.goog)\[([^/\[\]]+)/([^/\[\]]+)\]")
_KUBERNETES_SUBJECT: Final = re.compile(
    r"principal://iam\.googleapis\.com/projects/[^/]+/locations/global/workloadIdentityPools/"
    r"([^/]+\.svc\.id\.goog)/subject/ns/([^/]+)/sa/([^/]+)"
)
