"""Rules of deny policies, and their effect on a principal.

The forms of principals and permissions in deny policies differ from those in allow policies:
https://cloud.google.com/iam/docs/principal-identifiers and
https://cloud.google.com/iam/docs/deny-overview#permissions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .memberships import CERTAIN, Certain, Membership, is_individual, membership
from .patterns import matches
from .permission_forms import plain
from .wording import some


@dataclass(frozen=True, slots=True)
class DenyRule:
    """One rule of a deny policy."""

    policy: str
    """The policy and the resource that it is attached to, such as `deny policy lock on Project shop-1234`."""
    principals: tuple[str, ...]
    """Denied principals, in the form of deny policies."""
    permissions: tuple[str, ...]
    """Denied permissions, in the form of deny policies; `*` is a wildcard."""
    excepted_principals: tuple[str, ...] = ()
    """Principals that the rule does not deny."""
    excepted_permissions: tuple[str, ...] = ()
    """Permissions that the rule does not deny."""
    condition: str = ""
    """Expression that decides whether the rule applies; empty if it always does."""


def effect_on(rule: DenyRule, principal: str, permission: str) -> Membership:
    """Return whether the rule denies the permission to the principal, in the form of a membership."""
    if not _lists(rule.permissions, permission) or _lists(rule.excepted_permissions, permission):
        return None
    denied = _strongest(rule.principals, principal)
    if denied is None:
        # A rule for others may deny the permission to some members of a group.
        if is_individual(principal) or not rule.principals:
            return None
        return f"{rule.policy}, which denies it to {some([as_member(each) for each in rule.principals])}"
    excepted = _strongest(rule.excepted_principals, principal)
    if isinstance(excepted, Certain):
        return None
    unless = _others(rule.excepted_principals, principal)
    if isinstance(denied, Certain) and excepted is None and not rule.condition and not unless:
        return CERTAIN
    decided = [each for each in (denied, excepted) if isinstance(each, str)]
    if rule.condition:
        decided.append(f"its condition {rule.condition}")
    if unless and not decided:
        decided.append("its exceptions")
    return f"{rule.policy}, which denies it depending on {' and '.join(decided)}"


def as_member(principal: str) -> str:
    """Return a principal of a deny policy in the form of allow policies."""
    if principal == _PUBLIC:
        return "allUsers"
    for prefix, member in _FORMS.items():
        if principal.startswith(prefix):
            return member + principal.removeprefix(prefix)
    return principal


def denied_form(permission: str) -> str:
    """Return a permission or pattern of a deny policy in the form of roles.

    Resource Manager is the service whose domain differs from its name in roles.
    """
    short = plain(permission)
    return short.removeprefix("cloud") if short.startswith("cloudresourcemanager.") else short


def _lists(patterns: Iterable[str], permission: str) -> bool:
    return any(matches(plain(permission), denied_form(pattern)) for pattern in patterns)


def _strongest(principals: Iterable[str], principal: str) -> Membership:
    """Return the most certain membership in one of the principals."""
    found = [membership(as_member(each), principal) for each in principals]
    return next(
        (each for each in found if isinstance(each, Certain)),
        next((each for each in found if each is not None), None),
    )


def _others(excepted: Sequence[str], principal: str) -> bool:
    """Return whether an exception may cover some of the principals that `principal` stands for."""
    return bool(excepted) and not is_individual(principal)


_PUBLIC: Final = "principalSet://goog/public:all"
_FORMS: Final = {
    "principal://goog/subject/": "user:",
    "principalSet://goog/group/": "group:",
    "principal://iam.googleapis.com/projects/-/serviceAccounts/": "serviceAccount:",
}
"""Prefixes of the members of allow policies, by those of deny policies."""
