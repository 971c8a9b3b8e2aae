"""Bindings that an object has to itself: which can be, who is in the way there, and who always stays."""

from collections.abc import Callable, Collection, Iterable, Mapping

from cloudrun_identity.api import LedgerEntry
from cloudrun_identity.api.predefined_roles import BASIC_ROLES
from cloudrun_identity.iam.grants import Grant, Target, order
from cloudrun_identity.iam.principals import PrincipalKind, Tombstone, email, is_google_managed, parse

from .desired_grants import DesiredGrants

_SPARED = frozenset({PrincipalKind.PROJECT_OWNER, PrincipalKind.PROJECT_EDITOR, PrincipalKind.PROJECT_VIEWER})


def is_protected(member: str) -> bool:
    """Whether a member always stays: Google's own agents, a project's basic members, tombstones."""
    if parse(member).kind in _SPARED or Tombstone.parse(member):
        return True
    return is_google_managed(email(member))


def may_be_exclusive(role: str) -> bool:
    """Whether a role may be had alone: without a basic role or a service agent's a project stops working."""
    return role not in BASIC_ROLES and not role.lower().endswith("serviceagent")


def unmanaged(
    target: Target,
    all_desired: Iterable[DesiredGrants],
    present: Collection[Grant],
    entries: Mapping[Grant, LedgerEntry],
    protected: Callable[[str], bool],
) -> Iterable[Grant]:
    """Who stands in a binding that somebody has to itself, and is none of ours. Tombstones are nobody."""
    slots = {
        binding_key
        for desired in all_desired
        for binding_key in desired.exclusive
        if binding_key.target == target
    }
    if not slots:
        return
    declared = {desired_grant.grant for desired in all_desired for desired_grant in desired.on(target)}
    for grant in sorted(present, key=order):
        if (
            grant.binding_key in slots
            and grant not in entries
            and grant not in declared
            and not protected(grant.member)
        ):
            yield grant


def contested(
    target: Target, all_desired: Iterable[DesiredGrants], entries: Mapping[Grant, LedgerEntry]
) -> dict[str, Grant]:
    """Claims of our other objects in a binding that one object wants alone: these are never its victims."""
    found = {}
    for desired in all_desired:
        owner_key = desired.owner.owner_key
        for binding_key in desired.exclusive:
            for grant, entry in entries.items() if binding_key.target == target else ():
                if grant.binding_key == binding_key and entry.owner_keys - {owner_key}:
                    found[owner_key] = grant
    return found
