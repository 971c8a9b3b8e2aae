"""Exclusive bindings: their unmanaged, protected and conflicting members."""

from collections.abc import Callable, Collection, Iterable, Mapping

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.api.predefined_roles import BASIC_ROLES
from cloudrun_identity.iam.grants import Grant, Target, order
from cloudrun_identity.iam.principals import PrincipalKind, Tombstone, email, is_google_managed, parse

from .desired_grants import DesiredGrants
from .registered_forms import retained_forms

_PROJECT_MEMBERS = frozenset(
    {PrincipalKind.PROJECT_OWNER, PrincipalKind.PROJECT_EDITOR, PrincipalKind.PROJECT_VIEWER}
)


def is_protected(member: str) -> bool:
    """Return whether a member is never removed: a service agent, a project's basic member, a tombstone."""
    if parse(member).kind in _PROJECT_MEMBERS or Tombstone.parse(member):
        return True
    return is_google_managed(email(member))


def may_be_exclusive(role: str) -> bool:
    """Return whether a binding of the role may be exclusive.

    Basic roles and roles of service agents may not: without their members a project stops working.
    """
    return role not in BASIC_ROLES and not role.lower().endswith("serviceagent")


def unmanaged(
    target: Target,
    declared: Iterable[DesiredGrants],
    present: Collection[Grant],
    entries: Mapping[Grant, LedgerEntry],
    protected: Callable[[str], bool],
) -> Iterable[Grant]:
    """Return the unmanaged grants in exclusive bindings. Protected members do not count.

    The registered form of a managed grant is not unmanaged.
    """
    exclusive = {
        binding_key for each in declared for binding_key in each.exclusive if binding_key.target == target
    }
    if not exclusive:
        return
    desired = {wanted.grant for each in declared for wanted in each.on(target)}
    managed = retained_forms(entries)
    for grant in sorted(present, key=order):
        if (
            grant.binding_key in exclusive
            and grant not in managed
            and grant not in desired
            and not protected(grant.member)
        ):
            yield grant


def conflicting(
    target: Target, declared: Iterable[DesiredGrants], entries: Mapping[Grant, LedgerEntry]
) -> dict[str, Grant]:
    """Return, by owner key, a managed grant of another object in an exclusive binding of the owner."""
    found = {}
    for each in declared:
        owner_key = each.owner.owner_key
        exclusive = {binding_key for binding_key in each.exclusive if binding_key.target == target}
        for grant, entry in entries.items() if exclusive else ():
            if grant.binding_key in exclusive and entry.owner_keys - {owner_key}:
                found[owner_key] = grant
    return found
