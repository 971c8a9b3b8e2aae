"""Decisions whether a principal has a permission on a resource, with the bindings that grant it.

An answer has three values. `DEPENDS` names what decides: the membership in a group, a condition, a deny
policy, a boundary, or a policy that could not be read. The evaluation is that of Google Cloud: deny policies
come before allow policies, and a principal access boundary limits both
(https://cloud.google.com/iam/docs/policy-types).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeVar

from .boundaries import Boundary
from .deny_rules import DenyRule, effect_on
from .grants import IAMCondition
from .memberships import Certain, Membership, membership
from .principals import PrincipalKind, normalise, parse

Item = TypeVar("Item")


class AccessResult(StrEnum):
    """Answer to the question whether a principal has a permission."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"


@dataclass(frozen=True, slots=True)
class AllowBinding:
    """One binding of the allow policy of a resource, or of a resource above it."""

    resource: str
    """The resource that has the policy, such as `Project shop-1234` or `Folder 12`."""
    role: str
    """Full name of the role."""
    members: tuple[str, ...]
    """Members as the policy writes them."""
    condition: IAMCondition | None = None
    """Condition of the binding; None for an unconditional one."""


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """Everything that decides about access to one resource, and what could not be read of it."""

    bindings: tuple[AllowBinding, ...] = ()
    """Bindings of the resource and of all resources above it."""
    permissions: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """Permissions by role; None if they could not be read. A role without an entry grants nothing."""
    deny_rules: tuple[DenyRule, ...] = ()
    """Rules of the deny policies of the project and above it."""
    boundaries: tuple[Boundary, ...] = ()
    """Principal access boundaries of the principals in the project, its folders and its organization."""
    unread_allow: tuple[str, ...] = ()
    """Allow policies that could not be read, with the reason."""
    unread_limits: tuple[str, ...] = ()
    """Deny policies and boundaries that could not be read, with the reason."""

    @property
    def unread(self) -> tuple[str, ...]:
        """All that could not be read."""
        return (*self.unread_allow, *self.unread_limits)

    def below(self, bindings: Iterable[AllowBinding], unread: Iterable[str] = ()) -> "AccessFacts":
        """Return the facts of a resource that inherits these facts and has these bindings."""
        return replace(
            self,
            bindings=(*bindings, *self.bindings),
            unread_allow=(*unread, *self.unread_allow),
        )


@dataclass(frozen=True, slots=True)
class AccessPath:
    """One binding that grants a permission, or may grant it."""

    binding: AllowBinding
    """The binding."""
    member: str
    """The member of the binding that is, or may be, the principal."""
    depends_on: tuple[str, ...] = ()
    """Facts that decide whether the binding grants the permission; empty if it does."""


@dataclass(frozen=True, slots=True)
class Access:
    """The answer for one principal."""

    principal: str
    """The principal, as in an allow policy."""
    result: AccessResult
    """The answer."""
    reasons: tuple[str, ...] = ()
    """Facts that the answer depends on, or the reason why it is no; empty if it is yes."""
    paths: tuple[AccessPath, ...] = ()
    """The bindings that grant the permission, or may grant it."""


def access_of(facts: AccessFacts, principal: str, permission: str, *, direct: bool = False) -> Access:
    """Return whether the principal has the permission on the resource.

    With `direct`, memberships that are not known do not count, such as those in groups: it is the answer for
    a member of a list that has the groups too.
    """
    paths = tuple(_paths(facts, principal, permission, direct=direct))
    if not paths and not facts.unread_allow:
        return Access(principal, AccessResult.NO, (f"no binding grants {permission}",))
    effects = [(rule, effect_on(rule, principal, permission)) for rule in facts.deny_rules]
    if denied := [rule for rule, effect in effects if isinstance(effect, Certain)]:
        return Access(principal, AccessResult.NO, (f"{denied[0].policy} denies it",), paths)
    certain = tuple(path for path in paths if not path.depends_on)
    reasons: list[str] = []
    if not certain:
        reasons += [each for path in paths for each in path.depends_on]
        reasons += facts.unread_allow
    reasons += [effect for _, effect in effects if isinstance(effect, str)]
    reasons += _boundaries(facts, principal)
    reasons += facts.unread_limits
    result = AccessResult.DEPENDS if reasons else AccessResult.YES
    return Access(principal, result, _distinct(reasons), certain or paths)


def members_with(facts: AccessFacts, *permissions: str) -> tuple[str, ...]:
    """Return the members of the bindings that grant one of the permissions, sorted, without deleted ones."""
    found: dict[str, str] = {}
    for permission in permissions:
        for binding in facts.bindings:
            if _includes(facts, binding.role, permission) is not False:
                for member in binding.members:
                    if not member.startswith(_DELETED):
                        found.setdefault(normalise(member), member)
    return tuple(sorted(found.values()))


def paths_of(facts: AccessFacts, principal: str) -> tuple[AccessPath, ...]:
    """Return the bindings that give, or may give, the principal a role."""
    found = (_path(binding, principal, includes=True) for binding in facts.bindings)
    return tuple(path for path in found if path)


def combined(principal: str, needed: Iterable[Access]) -> Access:
    """Return the answer to a question for which the principal needs each of the accesses."""
    parts = tuple(needed)
    paths = _distinct(path for part in parts for path in part.paths)
    if refused := [part for part in parts if part.result is AccessResult.NO]:
        return Access(principal, AccessResult.NO, refused[0].reasons, paths)
    reasons = _distinct(reason for part in parts for reason in part.reasons)
    return Access(principal, AccessResult.DEPENDS if reasons else AccessResult.YES, reasons, paths)


def best(answers: Iterable[Access]) -> Access:
    """Return the first answer with the best result, of at least one: yes before depends before no."""
    return min(answers, key=lambda each: _RANK[each.result])


def _boundaries(facts: AccessFacts, principal: str) -> Iterator[str]:
    """Yield the boundaries that may limit a principal. A caller without authentication has none."""
    if parse(principal).kind is PrincipalKind.ALL_USERS:
        return
    for boundary in facts.boundaries:
        if boundary.may_limit(principal):
            yield f"{boundary.policy}, which limits the principals of {boundary.bound_to}"


def _paths(facts: AccessFacts, principal: str, permission: str, *, direct: bool) -> Iterator[AccessPath]:
    """Yield the bindings that grant the permission, or may grant it."""
    for binding in facts.bindings:
        includes = _includes(facts, binding.role, permission)
        path = None if includes is False else _path(binding, principal, includes=includes, direct=direct)
        if path:
            yield path


def _path(
    binding: AllowBinding, principal: str, *, includes: bool | None, direct: bool = False
) -> AccessPath | None:
    """Return the path through the closest member of the binding; None if the principal is in none."""
    matches = [(member, membership(member, principal)) for member in binding.members]
    found = [
        (member, match)
        for member, match in matches
        if match is not None and not (direct and isinstance(match, str))
    ]
    if not found:
        return None
    member, match = min(found, key=lambda each: isinstance(each[1], str))
    return AccessPath(binding, member, tuple(_conditions(binding, match, includes=includes)))


def _conditions(binding: AllowBinding, match: Membership, *, includes: bool | None) -> Iterator[str]:
    if isinstance(match, str):
        yield match
    if binding.condition is not None:
        title = f"{binding.condition.title}: " if binding.condition.title else ""
        expression = binding.condition.expression
        unread = ", and resource tags are not read" if _TAG_FUNCTION.search(expression) else ""
        yield f"the condition {title}{expression}{unread}"
    if includes is None:
        yield f"the permissions of {binding.role}, which could not be read"


def _includes(facts: AccessFacts, role: str, permission: str) -> bool | None:
    """Return whether a role has a permission; None if that is not known."""
    permissions = facts.permissions.get(role, frozenset())
    return None if permissions is None else permission in permissions


def _distinct(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))


_DELETED: Final = "deleted:"
_TAG_FUNCTION: Final = re.compile(r"\bresource\.(?:matchTag(?:Id)?|hasTagKey(?:Id)?)\(")
"""Functions of conditions that test the tags of a resource
(https://cloud.google.com/iam/docs/conditions-attribute-reference#resource-tags)."""
_RANK: Final = {AccessResult.YES: 0, AccessResult.DEPENDS: 1, AccessResult.NO: 2}
