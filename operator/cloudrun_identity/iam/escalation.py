"""Privilege escalation: decide whether the holder of a permission can gain further permissions with it.

Permissions decide whether a role escalates, never its name. Google adds permissions to predefined roles, and
a custom role can contain any permission. Whether a permission escalates also depends on where it is granted:
see `Reach`.

The table lists the permissions. A permission that is in neither the table nor the catalog of predefined roles
is newer than both. It escalates if the table covers its service, unless it only reads.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from cloudrun_identity.api import TARGET_KINDS, TargetKind

from .escalation_table import TABLE, Escalation, Reach
from .patterns import matches
from .permission_forms import plain
from .role_catalog import known_permissions
from .wording import SHOWN

__all__ = [
    "SERVICES",
    "TABLE",
    "UNKNOWN",
    "Escalation",
    "Reach",
    "escalating",
    "group_of",
    "reach_of",
    "reason_for",
    "reasons_for",
]

UNKNOWN: Final = "has a permission that this version of the operator does not know"
"""Reason why an unknown permission escalates, to follow "its holder"."""


def reach_of(kind: TargetKind, *, own_identity: bool) -> Reach:
    """Return the scope of a grant on a target of a kind.

    `own_identity`: the target is the account of a CloudRunIdentity.
    """
    if TARGET_KINDS[kind].is_inherited:
        return Reach.PROJECT
    return Reach.OWN_IDENTITY if own_identity else Reach.RESOURCE


def escalating(permissions: Iterable[str], reach: Reach = Reach.PROJECT) -> frozenset[str]:
    """Return the permissions that escalate when granted in that scope."""
    return _escalating(frozenset(permissions), reach)


def reason_for(permission: str, reach: Reach = Reach.PROJECT) -> str:
    """Return why the permission escalates in that scope, to follow "its holder"; empty if it does not."""
    group = group_of(permission, reach)
    if group:
        return group.reason
    return UNKNOWN if _is_unknown(permission) else ""


def reasons_for(permissions: Sequence[str], reach: Reach = Reach.PROJECT) -> str:
    """Return why the permissions that `some` names escalate in that scope, to follow "its holder"."""
    return ", ".join(dict.fromkeys(reason_for(each, reach) for each in permissions[:SHOWN]))


def group_of(permission: str, reach: Reach = Reach.PROJECT) -> Escalation | None:
    """Return the first group of the table that has the permission, in any form, and applies in that scope."""
    return next((group for group in _groups(plain(permission)) if reach in group.reaches), None)


# A role can have 13,000 permissions, and each of its grants asks again.
@lru_cache(maxsize=256)
def _escalating(permissions: frozenset[str], reach: Reach) -> frozenset[str]:
    return frozenset(permission for permission in permissions if reason_for(permission, reach))


@lru_cache(maxsize=1 << 15)
def _groups(permission: str) -> Sequence[Escalation]:
    found = [
        *_EXACT.get(permission, ()),
        *(
            number
            for number, pattern in _WITH_WILDCARDS.get(_service(permission), ())
            if matches(permission, pattern)
        ),
        *(number for number, pattern in _WITH_WILDCARDS.get("*", ()) if matches(permission, pattern)),
    ]
    return tuple(TABLE[number] for number in sorted(set(found)))


def _is_unknown(permission: str) -> bool:
    """Return whether the permission must count as escalating because it is not classified.

    Permissions to read are new in many predefined roles each month. They are harmless, except in a service
    where the table has such a permission already.
    """
    permission = plain(permission)
    service, verb = _service(permission), permission.rpartition(".")[2]
    if service not in SERVICES or (verb in _READING and service not in _READING_ESCALATES):
        return False
    return permission not in _known()


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """Return all permissions of the catalog, without the domains of Google."""
    return frozenset(map(plain, known_permissions()))


def _service(permission: str) -> str:
    """Return the first part of a permission or pattern; `*` if a pattern starts with a wildcard."""
    return permission.partition(".")[0]


_READING: Final = frozenset({"get", "list", "getIamPolicy", "listEffectiveTags", "listTagBindings"})
"""Verbs of permissions that show resources and their policies, and nothing secret in them."""

_NUMBERED: Final = [(number, pattern) for number, group in enumerate(TABLE) for pattern in group.patterns]
_EXACT: Final[dict[str, list[int]]] = {}
_WITH_WILDCARDS: Final[dict[str, list[tuple[int, str]]]] = {}
for _number, _pattern in _NUMBERED:
    if "*" in _pattern:
        _WITH_WILDCARDS.setdefault(_service(_pattern), []).append((_number, _pattern))
    else:
        _EXACT.setdefault(_pattern, []).append(_number)

SERVICES: Final = frozenset(_service(pattern) for _, pattern in _NUMBERED) - {"*"}
"""Services with permissions in the table, by the first part of their permissions."""

_READING_ESCALATES: Final = frozenset(
    _service(pattern) for _, pattern in _NUMBERED if pattern.rpartition(".")[2] in ("get", "list")
)
"""Services in which a permission with such a verb is in the table."""
