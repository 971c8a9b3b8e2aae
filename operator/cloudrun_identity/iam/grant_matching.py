"""Guardrail entries of `guardrails.grants` compared with one requested grant."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from cloudrun_identity.api import GrantAdmission, ManagedProject
from cloudrun_identity.api.predefined_roles import BASIC_ROLES

from .admission import DeclaredIdentity, GuardrailFacts
from .escalation import Reach, escalating, reach_of
from .grants import IAMCondition, Target
from .guardrail_entries import is_for
from .patterns import matches_any
from .principal_forms import is_typewide
from .principals import email, is_public, is_service_account, lower_email, normalise

MAX_CACHED_ENTRIES = 1024
"""Entries of which the members are kept in the form that they are compared in."""


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """One grant that an object declares."""

    namespace: str
    """Namespace of the object."""
    target: Target
    """Resource to grant the role on."""
    role: str
    """Full name of the role."""
    member: str | DeclaredIdentity
    """Member to grant the role to."""
    permissions: frozenset[str] | None
    """All permissions of the role; None if the operator cannot read the role."""
    owner: DeclaredIdentity | None = None
    """CloudRunIdentity of the target account, if `GuardrailFacts.identities` does not contain its e-mail."""
    condition: IAMCondition | None = None
    """Condition of the grant; None for an unconditional grant."""
    exclusive: bool = False
    """True if the object declares that no other member holds the role on the target."""
    claim: bool = False
    """True if the object removes the grant on its deletion, even if the grant existed before the object."""
    lasts: timedelta | None = None
    """Time from the start of the grant to its end; None for a permanent grant."""


@dataclass(frozen=True, slots=True)
class GrantCase:
    """A request with everything that the entries are compared with."""

    request: GrantRequest
    project: ManagedProject
    member: str
    """The member in the form that patterns match."""
    is_identity: bool
    """True if a CloudRunIdentity declares the member."""
    owner: DeclaredIdentity | None
    """CloudRunIdentity that declares the target account."""
    reach: Reach
    """Scope of the grant."""
    escalating: frozenset[str] | None
    """Permissions of the role that escalate where it is granted; None if the role cannot be read."""

    @property
    def escalates(self) -> bool:
        """True if the holder of the role may gain further permissions."""
        return self.escalating is None or bool(self.escalating)

    @property
    def stands_for_many(self) -> bool:
        """True if the member is public or type-wide."""
        return not self.is_identity and (is_public(self.member) or is_typewide(self.member))


def case_of(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> GrantCase:
    """Return the request with everything that entries are compared with."""
    owner = _owner(request, guardrail_facts)
    reach = reach_of(request.target.kind, own_identity=owner is not None)
    held, member = request.permissions, _resolved(request.member, guardrail_facts)
    return GrantCase(
        request=request,
        project=project,
        member=str(member),
        is_identity=isinstance(member, DeclaredIdentity),
        owner=owner,
        reach=reach,
        escalating=None if held is None else escalating(held, reach),
    )


def _resolved(member: str | DeclaredIdentity, guardrail_facts: GuardrailFacts) -> str | DeclaredIdentity:
    """Return the member to match: the CloudRunIdentity that declares the e-mail, if one does."""
    if isinstance(member, DeclaredIdentity):
        return member
    if is_service_account(member):
        return guardrail_facts.identities.get(lower_email(email(member)), normalise(member))
    return normalise(member)


def _owner(request: GrantRequest, guardrail_facts: GuardrailFacts) -> DeclaredIdentity | None:
    if not request.target.is_service_account:
        return None
    return guardrail_facts.identities.get(lower_email(request.target.name), request.owner)


def entry_matches(entry: GrantAdmission, case: GrantCase) -> bool:
    """Return whether the entry admits all of the grant, apart from what its flags permit."""
    return matches_apart_from_duration(entry, case) and admits_duration(entry, case.request.lasts)


def admits_duration(entry: GrantAdmission, lasts: timedelta | None) -> bool:
    """Return whether the entry admits a grant that lasts this long; None for a permanent grant."""
    if entry.max_duration is None:
        return True
    return lasts is not None and lasts <= entry.max_duration.timedelta


def matches_apart_from_duration(entry: GrantAdmission, case: GrantCase) -> bool:
    """Return whether the entry admits all of the grant, apart from its duration and its flags."""
    request = case.request
    return (  # the cheapest comparisons first: an entry may list thousands of names and members
        _admits_role(entry, request.role)
        and request.target.kind in (entry.target_kinds or ())
        and _admits_namespace(entry, case)
        and covers_target(entry, request.target)
        and _admits_member(entry, case)
        and _admits_condition(entry, request.condition)
    )


def covers_target(entry: GrantAdmission, target: Target) -> bool:
    """Return whether the entry admits grants on the target."""
    return (
        target.kind in (entry.target_kinds or ())
        and (not target.service or target.service in (entry.services or ()))
        and _admits_name(entry, target)
        and (entry.locations is None or matches_any(target.location, entry.locations))
    )


def _admits_role(entry: GrantAdmission, role: str) -> bool:
    return role in entry.roles or (role not in BASIC_ROLES and matches_any(role, entry.roles))


def _admits_name(entry: GrantAdmission, target: Target) -> bool:
    if entry.names is None:
        return not target.descriptor.is_admitted_by_name_only
    if target.descriptor.contains_projects:
        return target.short_name in entry.names
    return matches_any(target.short_name, entry.names)


def _admits_namespace(entry: GrantAdmission, case: GrantCase) -> bool:
    namespace = case.request.namespace
    if case.request.target.descriptor.contains_projects:
        return namespace in (entry.namespaces or ())
    return is_for(case.project, entry.namespaces, namespace)


def _admits_member(entry: GrantAdmission, case: GrantCase) -> bool:
    patterns = _member_patterns(entry.members)
    return case.member in patterns or (not case.stands_for_many and matches_any(case.member, patterns))


@lru_cache(maxsize=MAX_CACHED_ENTRIES)
def _member_patterns(members: tuple[str, ...]) -> tuple[str, ...]:
    """Return the patterns of an entry in the form that members are compared in."""
    return tuple(normalise(_ALIASES.get(pattern, pattern)) for pattern in members)


def _admits_condition(entry: GrantAdmission, condition: IAMCondition | None) -> bool:
    """Return whether the entry admits the condition, or none. A condition only narrows a grant."""
    return entry.conditions is None or (condition is not None and condition.expression in entry.conditions)


def needed_flags(case: GrantCase) -> frozenset[str]:
    """Return the flags without which no entry admits the grant."""
    flags = {
        "allowEscalation": case.escalates,
        "exclusive": case.request.exclusive,
        "claim": case.request.claim,
    }
    return frozenset(flag for flag, needed in flags.items() if needed)


def flags_of(entry: GrantAdmission) -> frozenset[str]:
    """Return the flags that the entry sets."""
    flags = {"allowEscalation": entry.allow_escalation, "exclusive": entry.exclusive, "claim": entry.claim}
    return frozenset(flag for flag, is_set in flags.items() if is_set)


_ALIASES = {"identities": "identity:*"}
