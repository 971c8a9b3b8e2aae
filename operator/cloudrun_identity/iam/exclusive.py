"""Bindings that an object has to itself: which can be, who is in the way there, and who always stays."""

from collections.abc import Callable, Collection, Iterable, Mapping

from .basic_roles import BASIC_ROLES
from .claims import Declaration
from .grants import Grant, Target, order
from .ledger import Holding
from .principals import PrincipalKind, Tombstone, email, is_google_managed, parse

_SPARED = frozenset({PrincipalKind.PROJECT_OWNER, PrincipalKind.PROJECT_EDITOR, PrincipalKind.PROJECT_VIEWER})


def is_spared(member: str) -> bool:
    """Whether a member always stays: Google's own agents, a project's basic members, tombstones."""
    if parse(member).kind in _SPARED or Tombstone.parse(member):
        return True
    return is_google_managed(email(member))


def may_be_exclusive(role: str) -> bool:
    """Whether a role may be had alone: without a basic role or a service agent's a project stops working."""
    return role not in BASIC_ROLES and not role.lower().endswith("serviceagent")


def intruders(
    target: Target,
    declarations: Iterable[Declaration],
    standing: Collection[Grant],
    holdings: Mapping[Grant, Holding],
    spared: Callable[[str], bool],
) -> Iterable[Grant]:
    """Who stands in a binding that somebody has to itself, and is none of ours. Tombstones are nobody."""
    slots = {slot for declaration in declarations for slot in declaration.exclusive if slot.target == target}
    if not slots:
        return
    declared = {claim.grant for declaration in declarations for claim in declaration.on(target)}
    for grant in sorted(standing, key=order):
        if (
            grant.slot in slots
            and grant not in holdings
            and grant not in declared
            and not spared(grant.member)
        ):
            yield grant


def contested(
    target: Target, declarations: Iterable[Declaration], holdings: Mapping[Grant, Holding]
) -> dict[str, Grant]:
    """Claims of our other objects in a binding that one object wants alone: these are never its victims."""
    found = {}
    for declaration in declarations:
        seat = declaration.claimant.seat
        for slot in declaration.exclusive:
            for grant, holding in holdings.items() if slot.target == target else ():
                if grant.slot == slot and holding.seats - {seat}:
                    found[seat] = grant
    return found
