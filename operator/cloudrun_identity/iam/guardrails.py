"""Which grants a project allows: the decision over `guardrails.grants` of a ManagedProject.

A project is closed unless opened. Guardrails are asked before reads, writes, creates and restores; releasing
what the ledger holds and deleting an account that is recorded as ours are never asked again, so a tightened
guardrail freezes and does not revoke. Where two projects meet, each is asked for itself. The questions about
namespaces, workloads and accounts alone are answered in `iam.admission`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind

from .acting_roles import ACTING_ROLES
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
from .basic_roles import BASIC_ROLES
from .escalation import Reach, escalating, reason_for
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
    """One grant that an object declares.

    `namespace` is the declaring object's. `permissions` are all that the role holds, None where it cannot be
    expanded. `owner` is the identity whose account the target is, for as long as the account has no e-mail by
    which `Surroundings.identities` would tell. `exclusive`: nobody else is to keep the role on the target.
    """

    namespace: str
    target: Target
    role: str
    member: str | DeclaredIdentity
    permissions: frozenset[str] | None
    owner: DeclaredIdentity | None = None
    exclusive: bool = False


def decide(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether the project allows the grant: one entry has to admit all of it."""
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
    """A request with everything looked up that the entries are compared with.

    `member` is in the form that patterns match. `escalating` are the permissions that escalate where they are
    granted, None where the role cannot be expanded.
    """

    request: GrantRequest
    project: ManagedProject
    member: str
    owner: DeclaredIdentity | None
    reach: Reach
    escalating: frozenset[str] | None

    @property
    def escalates(self) -> bool:
        return self.escalating is None or bool(self.escalating)


def _case(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> _Case:
    owner = _owner(request, guardrail_facts)
    reach = _reach(request.target, owner)
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
    """Whom the patterns are matched with: an e-mail that an identity declares stands for that identity."""
    if isinstance(member, DeclaredIdentity):
        return member
    if is_service_account(member):
        return guardrail_facts.identities.get(lower_email(email(member)), normalise(member))
    return normalise(member)


def _owner(request: GrantRequest, guardrail_facts: GuardrailFacts) -> DeclaredIdentity | None:
    if request.target.kind is not TargetKind.SERVICE_ACCOUNT:
        return None
    return guardrail_facts.identities.get(lower_email(request.target.name), request.owner)


def _reach(target: Target, owner: DeclaredIdentity | None) -> Reach:
    if target.kind is TargetKind.PROJECT:
        return Reach.PROJECT
    return Reach.OWN_IDENTITY if owner else Reach.RESOURCE


def _barred(case: _Case, guardrail_facts: GuardrailFacts) -> Denied | None:
    """Why no entry of `guardrails.grants` could admit the grant, None where one could."""
    for decision in (_may_grant_there(case, guardrail_facts), _may_be_granted(case)):
        if isinstance(decision, Denied):
            return decision
    return None


def _may_grant_there(case: _Case, guardrail_facts: GuardrailFacts) -> Decision:
    """Whether the namespace may touch the target's policy at all, whatever the role and the member."""
    project, namespace, target = case.project, case.request.namespace, case.request.target
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    match target.kind:
        case TargetKind.SERVICE | TargetKind.JOB | TargetKind.WORKER_POOL:
            return may_use_workload(project, namespace, target, guardrail_facts)
        case TargetKind.SERVICE_ACCOUNT if case.owner:
            return _may_grant_on_account_of(case.owner, case)
        case TargetKind.SERVICE_ACCOUNT:
            return may_name_account(project, target.name, guardrail_facts)
        case TargetKind.PROJECT | TargetKind.SECRET:
            return entrance


def _may_grant_on_account_of(owner: DeclaredIdentity, case: _Case) -> Decision:
    if owner.namespace == case.request.namespace:
        return Admitted()
    return Denied(
        f"{case.request.target} belongs to {owner}: only objects of namespace {owner.namespace} may grant "
        f"{case.request.role} on it, not those of {case.request.namespace}"
    )


def _may_be_granted(case: _Case) -> Decision:
    """Whether such a member may be granted a role on such a target at all."""
    role, target = case.request.role, case.request.target
    if _is_of_another_project(role, target):
        return Denied(f"{role} belongs to another project than {target}, where it cannot be granted")
    grant = f"{role} on {target} cannot be granted to {case.request.member}"
    if isinstance(case.request.member, str) and parse(case.request.member).kind in _NOT_TO_BE_GRANTED:
        return Denied(f"{grant}: write a documented form, such as group:EMAIL or principal://…")
    if target.kind is TargetKind.SERVICE_ACCOUNT and _stands_for_many(case.member):
        return Denied(
            f"{grant}: no guardrail of {named(case.project)} admits public or type-wide members on service "
            f"accounts; name each member"
        )
    return Admitted()


def _is_of_another_project(role: str, target: Target) -> bool:
    return role.startswith("projects/") and role.split("/")[1] != target.project_id


def _entries(case: _Case) -> Iterator[GrantAdmission]:
    """Yield the project's entries, and the default one of such a target."""
    guardrails = case.project.spec.guardrails
    yield from guardrails.grants
    if guardrails.default_grants and case.owner:
        yield _ON_OWN_IDENTITIES
    if guardrails.default_grants:
        yield _ON_WORKLOADS


def _admits(entry: GrantAdmission, case: _Case) -> bool:
    """Whether the entry admits all of the grant, escalation aside."""
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
        return target.kind is not TargetKind.SECRET
    return matches_any(target_name(target), entry.names)


def _admits_member(entry: GrantAdmission, member: str) -> bool:
    patterns = [normalise(_ALIASES.get(pattern, pattern)) for pattern in entry.members]
    return member in patterns or (not _stands_for_many(member) and matches_any(member, patterns))


def _stands_for_many(member: str) -> bool:
    return is_public(member) or is_typewide(member)


def target_name(target: Target) -> str:
    """Name the target as `names` do: by a project's id, an account's id, else its name."""
    match target.kind:
        case TargetKind.PROJECT:
            return target.project_id
        case TargetKind.SERVICE_ACCOUNT:
            return target.name.partition("@")[0]
        case _:
            return target.name


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
        f"guardrails.grants of {named(case.project)} admits no {request.role} on {request.target} for "
        f"{case.member}{why}; an entry such as {_admitting_entry(case)} would"
    )


def _why_it_escalates(case: _Case) -> str:
    if case.escalating is None:
        return "what the role holds cannot be read"
    permissions = sorted(case.escalating)
    shown, hidden = permissions[:_SHOWN], len(permissions) - _SHOWN
    more = f" and {hidden} more" if hidden > 0 else ""
    reasons = dict.fromkeys(reason_for(permission, case.reach) for permission in shown)
    return f"its holder {', '.join(reasons)} ({', '.join(shown)}{more})"


def _admitting_entry(case: _Case) -> str:
    """Write the narrowest entry that admits the grant."""
    request = case.request
    names = {} if request.target.kind is TargetKind.PROJECT else {"names": [target_name(request.target)]}
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

# Forms that Google writes into policies by itself, or that nobody knows.
_NOT_TO_BE_GRANTED = frozenset(
    {
        PrincipalKind.PROJECT_OWNER,
        PrincipalKind.PROJECT_EDITOR,
        PrincipalKind.PROJECT_VIEWER,
        PrincipalKind.DELETED,
        PrincipalKind.OPAQUE,
    }
)

_ON_OWN_IDENTITIES = GrantAdmission(
    roles=ACTING_ROLES,
    target_kinds=(TargetKind.SERVICE_ACCOUNT,),
    members=("*",),
)
_ON_WORKLOADS = GrantAdmission(
    roles=("roles/run.invoker",),
    target_kinds=(TargetKind.SERVICE, TargetKind.JOB, TargetKind.WORKER_POOL),
    members=("*",),
)
