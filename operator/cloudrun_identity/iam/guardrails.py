"""Guardrail decisions about grants: `guardrails.grants` of a ManagedProject.

A project admits nothing that its guardrails do not admit. The operator asks the guardrails before it reads,
writes, creates or restores anything. It does not ask them to release a grant that the ledger records, or to
delete an account that the ledger records as managed: guardrails that were tightened retain what exists and
revoke nothing. Where a request concerns two projects, each decides for itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloudrun_identity.api import TARGET_KINDS, GrantAdmission, ManagedProject, TargetKind, WorkloadKind
from cloudrun_identity.api.predefined_roles import BASIC_ROLES

from .admission import (
    Admitted,
    Decision,
    DeclaredIdentity,
    Denied,
    GuardrailFacts,
    as_yaml,
    may_name_account,
    may_use_project,
    may_use_workload,
    named,
)
from .escalation import Reach, escalating, reach_of, reason_for
from .grants import Target
from .patterns import matches_any
from .principals import (
    PrincipalKind,
    email,
    is_public,
    is_service_account,
    is_typewide,
    lower_email,
    normalise,
    parse,
)


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
    """CloudRunIdentity whose account is the target, while `GuardrailFacts.identities` lacks its e-mail."""
    exclusive: bool = False
    """True if the object declares that no other member holds the role on the target."""


def decide(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether the project admits the grant. One entry has to admit all of it."""
    case = _case(request, project, guardrail_facts)
    barred = _barred(case, guardrail_facts)
    if barred:
        return barred
    entries = [entry for entry in _entries(case) if _admits(entry, case)]
    if any(entry.allow_escalation or not case.escalates for entry in entries):
        return Admitted()
    incomplete = _incomplete_entry(case)
    if incomplete:
        return Denied(incomplete, invalid_entry=True)
    return Denied(_refusal(case, only_escalation_lacks=bool(entries)))


def incomplete_entries(project: ManagedProject) -> tuple[str, ...]:
    """Return the paths of the entries without `targetKinds`, which admit nothing.

    The schema requires the field of every entry that is written. Such an entry was stored by a version that
    had the field under another name, which the API server removed.
    """
    return tuple(
        f"spec.guardrails.grants[{index}]"
        for index, entry in enumerate(project.spec.guardrails.grants)
        if entry.target_kinds is None
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """A request with everything that the entries are compared with."""

    request: GrantRequest
    project: ManagedProject
    member: str
    """The member in the form that patterns match."""
    owner: DeclaredIdentity | None
    """CloudRunIdentity whose account is the target."""
    reach: Reach
    """Scope of the grant."""
    escalating: frozenset[str] | None
    """Permissions of the role that escalate where it is granted; None if the role cannot be read."""

    @property
    def escalates(self) -> bool:
        return self.escalating is None or bool(self.escalating)


def _case(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> _Case:
    owner = _owner(request, guardrail_facts)
    reach = reach_of(request.target.kind, own_identity=owner is not None)
    held = request.permissions
    return _Case(
        request=request,
        project=project,
        member=str(_resolved(request.member, guardrail_facts)),
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


def _barred(case: _Case, guardrail_facts: GuardrailFacts) -> Denied | None:
    """Return why no entry of `guardrails.grants` can admit the grant; None if one can."""
    decisions = (_may_grant_there(case, guardrail_facts), _may_be_granted(case))
    return next((decision for decision in decisions if isinstance(decision, Denied)), None)


def _may_grant_there(case: _Case, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether the namespace may change the target's policy, whatever the role and the member."""
    project, namespace, target = case.project, case.request.namespace, case.request.target
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    if target.kind.value in _WORKLOADS:
        return may_use_workload(project, namespace, target, guardrail_facts)
    if case.owner:
        return _may_grant_on_account_of(case.owner, case)
    if target.is_service_account:
        return may_name_account(project, target.name, guardrail_facts)
    return entrance


def _may_grant_on_account_of(owner: DeclaredIdentity, case: _Case) -> Decision:
    if owner.namespace == case.request.namespace:
        return Admitted()
    return Denied(
        f"{case.request.target} belongs to {owner}: only objects in namespace {owner.namespace} may grant "
        f"{case.request.role} on it, not objects in {case.request.namespace}"
    )


def _may_be_granted(case: _Case) -> Decision:
    """Decide whether any guardrail can admit such a role and member on such a target."""
    role, target = case.request.role, case.request.target
    if _is_of_another_project(role, target):
        return Denied(f"{role} belongs to another project than {target} and cannot be granted there")
    grant = f"{role} on {target} cannot be granted to {case.request.member}"
    if isinstance(case.request.member, str) and parse(case.request.member).kind in _NOT_GRANTABLE:
        return Denied(f"{grant}; use a documented form, such as group:EMAIL or principal://…")
    if not target.descriptor.accepts_member_sets and _stands_for_many(case.member):
        return Denied(
            f"{grant}: no guardrail of {named(case.project)} admits public or type-wide members on a "
            f"{target.descriptor.display_name}; name each member"
        )
    return Admitted()


def _is_of_another_project(role: str, target: Target) -> bool:
    return role.startswith("projects/") and role.split("/")[1] != target.project_id


def _entries(case: _Case) -> Iterator[GrantAdmission]:
    """Yield the project's entries, and the default entry for the target."""
    guardrails, target = case.project.spec.guardrails, case.request.target
    yield from guardrails.grants
    default = _DEFAULT_ENTRIES.get(target.kind)
    # On an account, the default is for the namespace's own identities. Other accounts need an entry.
    if guardrails.default_grants and default and (case.owner or not target.is_service_account):
        yield default


def _admits(entry: GrantAdmission, case: _Case) -> bool:
    """Return whether the entry admits all of the grant, apart from escalation."""
    request = case.request
    return (
        _admits_role(entry, request.role)
        and request.target.kind in (entry.target_kinds or ())
        and _admits_name(entry, request.target)
        and _admits_member(entry, case.member)
        and (entry.namespaces is None or request.namespace in entry.namespaces)
        and (entry.exclusive or not request.exclusive)
    )


def _admits_role(entry: GrantAdmission, role: str) -> bool:
    return role in entry.roles or (role not in BASIC_ROLES and matches_any(role, entry.roles))


def _admits_name(entry: GrantAdmission, target: Target) -> bool:
    if entry.names is None:
        return not target.descriptor.is_admitted_by_name_only
    return matches_any(target.short_name, entry.names)


def _admits_member(entry: GrantAdmission, member: str) -> bool:
    patterns = [normalise(_ALIASES.get(pattern, pattern)) for pattern in entry.members]
    return member in patterns or (not _stands_for_many(member) and matches_any(member, patterns))


def _stands_for_many(member: str) -> bool:
    return is_public(member) or is_typewide(member)


def _incomplete_entry(case: _Case) -> str:
    """Return why an entry that lacks only `targetKinds` does not admit the grant; empty if there is none."""
    kind = case.request.target.kind
    for index, entry in enumerate(case.project.spec.guardrails.grants):
        completed = entry.model_copy(update={"target_kinds": (kind,)})
        sufficient = _admits(completed, case) and (entry.allow_escalation or not case.escalates)
        if entry.target_kinds is None and sufficient:
            return (
                f"spec.guardrails.grants[{index}] of {named(case.project)} has no targetKinds and admits "
                f"nothing; add targetKinds: [{kind}] to it"
            )
    return ""


def _refusal(case: _Case, only_escalation_lacks: bool) -> str:
    request = case.request
    why = f" without allowEscalation, because {_why_it_escalates(case)}" if only_escalation_lacks else ""
    return (
        f"guardrails.grants of {named(case.project)} does not admit {request.role} on {request.target} for "
        f"{case.member}{why}; add an entry such as {_admitting_entry(case)}"
    )


def _why_it_escalates(case: _Case) -> str:
    if case.escalating is None:
        return "the operator cannot read the permissions of the role"
    permissions = sorted(case.escalating)
    shown, hidden = permissions[:_SHOWN], len(permissions) - _SHOWN
    more = f" and {hidden} more" if hidden > 0 else ""
    reasons = dict.fromkeys(reason_for(permission, case.reach) for permission in shown)
    return f"its holder {', '.join(reasons)} ({', '.join(shown)}{more})"


def _admitting_entry(case: _Case) -> str:
    """Return the narrowest entry that admits the grant."""
    request = case.request
    names = {} if request.target.is_project else {"names": [request.target.short_name]}
    entry = {
        "roles": [request.role],
        "targetKinds": [request.target.kind.value],
        **names,
        "members": [case.member],
        "namespaces": [request.namespace],
    }
    flags = {"allowEscalation": case.escalates, "exclusive": request.exclusive}
    return as_yaml(entry | {flag: True for flag, needed in flags.items() if needed})


_SHOWN = 3
_ALIASES = {"identities": "identity:*"}
_WORKLOADS = frozenset(kind.value for kind in WorkloadKind)

# Forms that Google itself writes into policies, and undocumented forms.
_NOT_GRANTABLE = frozenset(
    {
        PrincipalKind.PROJECT_OWNER,
        PrincipalKind.PROJECT_EDITOR,
        PrincipalKind.PROJECT_VIEWER,
        PrincipalKind.DELETED,
        PrincipalKind.OPAQUE,
    }
)

_DEFAULT_ENTRIES: Mapping[TargetKind, GrantAdmission] = {
    kind: GrantAdmission(roles=descriptor.default_roles, target_kinds=(kind,), members=("*",))
    for kind, descriptor in TARGET_KINDS.items()
    if descriptor.default_roles
}
"""The entry that `guardrails.defaultGrants` stands for, by target kind."""
