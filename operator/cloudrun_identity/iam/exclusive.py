"""Who is never removed from a binding that an object has to itself, and which roles nobody may have alone."""

from .basic_roles import BASIC_ROLES
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
