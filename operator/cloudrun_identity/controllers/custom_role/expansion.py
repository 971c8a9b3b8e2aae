"""Permission expansion: check that every holder of a role may have the permissions that the role gains.

Each holder must be admitted by the guardrails as if the role were granted to it with the new permissions: a
managed grant for the namespace of its objects, any other for the namespace of the CustomRole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from cloudrun_identity.api import ManagedProject, Reason, RoleStage
from cloudrun_identity.iam.admission import Denied, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.permission_forms import lacking
from cloudrun_identity.iam.principals import Tombstone
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.ledger.temporary_grants import OwnerAndGrant, by_granted
from cloudrun_identity.reconcile.outcomes import Outcome, Refused
from cloudrun_identity.reconcile.refusals import refusal

from .holders import left_grants
from .role import RoleSeen, RoleWant


@dataclass(frozen=True, slots=True)
class _Holder:
    """A member that holds the role, and the namespace that must be able to grant it to the member."""

    grant: Grant
    namespace: str
    description: str
    """Beginning of a message: how the member holds the role."""
    lasts: timedelta | None = None
    """Time for which the grant lasts; None for a permanent grant."""
    is_foreign: bool = False
    """True if an object of another namespace declares the grant. Its guardrails are not shown."""


def expands(want: RoleWant, seen: RoleSeen) -> bool:
    """Return whether the declared role gives its holders permissions that the role, as read, does not."""
    role = seen.role
    if role is None or role.deleted or role.stage == RoleStage.DISABLED:
        return True
    return bool(lacking(want.fields(seen.unsupported).permissions, role.permissions))


def refusal_to_expand(want: RoleWant, seen: RoleSeen) -> Outcome | None:
    """Return why the role must not gain permissions; None if all holders may have them.

    A role that only loses permissions, or is only renamed, expands nothing. An object that requests the role
    later is checked against the new permissions too (`reconcile.grants.resolver`).
    """
    if want.project is None or want.facts is None or not expands(want, seen):
        return None
    permissions = want.fields(seen.unsupported).permissions
    if seen.role and seen.role.deleted:  # it is undeleted with its old permissions, and updated after that
        permissions |= seen.role.permissions
    managed = list(want.holders())
    denied = _denial(_managed(managed, want), permissions, want.project, want.facts)
    if denied:
        return denied
    holders = seen.known_holders
    left_since = left_grants(want.ledgers(), want.name) - holders.left_before  # the policies may lack them
    known = {grant for grant, _ in managed}
    unmanaged = sorted((holders.grants | left_since) - known, key=lambda grant: (grant.target, grant.member))
    return _denial(_unmanaged(unmanaged, want), permissions, want.project, want.facts) or holders.unreadable


def _denial(
    holders: Iterable[_Holder], permissions: frozenset[str], project: ManagedProject, facts: GuardrailFacts
) -> Outcome | None:
    for holder in holders:
        grant = holder.grant
        request = GrantRequest(
            holder.namespace,
            grant.target,
            grant.role,
            grant.member,
            permissions,
            condition=grant.condition,
            lasts=holder.lasts,
        )
        decision = decide(request, project, facts)
        if isinstance(decision, Denied) and holder.is_foreign:
            return Refused(
                Reason.DENIED_BY_GUARDRAIL,
                f"spec.permissions: {holder.description}, and the guardrails do not admit the new "
                "permissions for it; ask the administrators of the project",
            )
        if isinstance(decision, Denied):
            return refusal(decision, f"spec.permissions: {holder.description}")
    return None


def _managed(managed: Iterable[tuple[Grant, Owner]], want: RoleWant) -> Iterator[_Holder]:
    """Yield the grants of objects. Objects of other namespaces are not named."""
    temporary: dict[OwnerAndGrant, tuple[Grant, timedelta]] = {}
    for ledger in want.ledgers():
        temporary |= by_granted(ledger.temporary)
    for granted, owner in managed:
        grant, lasts = temporary.get((owner.owner_key, granted), (granted, None))
        is_foreign = owner.namespace != want.obj.metadata.namespace
        granting = (
            f"an object of another namespace grants the role to {grant.member} already"
            if is_foreign
            else f"{owner.kind} {owner.namespace}/{owner.name} grants the role already"
        )
        yield _Holder(grant, owner.namespace, granting, lasts, is_foreign)


def _unmanaged(grants: Iterable[Grant], want: RoleWant) -> Iterator[_Holder]:
    """Yield the other grants. A deleted member may be undeleted, and would hold the role again."""
    for grant in grants:
        tombstone = Tombstone.parse(grant.member)
        holder = grant if tombstone is None else grant.of(tombstone.member)
        yield _Holder(
            holder,
            want.obj.metadata.namespace,
            f"{grant.member} holds the role on {grant.target} already, by a grant that no object declares; "
            "remove that grant, or have it admitted",
        )
