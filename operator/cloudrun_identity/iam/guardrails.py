"""Guardrail decisions about grants: `guardrails.grants` of a ManagedProject.

A project admits nothing that its guardrails do not admit. The operator asks the guardrails before it reads,
writes, creates or restores anything. It does not ask them to release a grant that the ledger records, or to
delete an account that the ledger records as managed: guardrails that were tightened retain what exists and
revoke nothing. Where a request concerns two projects, each decides for itself.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from cloudrun_identity.api import (
    CONVENIENCE_VALUE,
    DELETED_PRINCIPAL,
    TARGET_KINDS,
    GrantAdmission,
    ManagedProject,
    TargetKind,
    go_duration,
)

from .admission import (
    Admitted,
    Decision,
    DeclaredIdentity,
    Denied,
    GuardrailFacts,
    may_name_account,
    may_use_project,
    may_use_workload,
    named,
)
from .escalation import reasons_for
from .grant_matching import (
    GrantCase,
    GrantRequest,
    case_of,
    entry_matches,
    flags_of,
    matches_apart_from_duration,
    needed_flags,
)
from .grants import Target
from .guardrail_entries import entry_path, is_for
from .principal_forms import documented_form
from .principals import PrincipalKind, parse
from .proposals import Proposal, Value, proposed_entry
from .wording import some


def decide(request: GrantRequest, project: ManagedProject, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether the project admits the grant. One entry has to admit all of it.

    A denial lists everything that is missing, unless no guardrail could admit the grant.
    """
    entrance = may_use_project(project, request.namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    case = case_of(request, project, guardrail_facts)
    if inadmissible := _inadmissible(case):
        return inadmissible
    denials = [
        decision
        for decision in (_may_grant_there(case, guardrail_facts), _decide_by_entries(case))
        if isinstance(decision, Denied)
    ]
    if not denials:
        return Admitted()
    impossible = next((each for each in denials if not each.proposals and not each.invalid_entry), None)
    return impossible or _all_of(denials)


def _all_of(denials: Sequence[Denied]) -> Denied:
    return Denied(
        "; ".join(each.reason for each in denials),
        invalid_entry=any(each.invalid_entry for each in denials),
        proposals=tuple(proposal for each in denials for proposal in each.proposals),
    )


def _decide_by_entries(case: GrantCase) -> Decision:
    """Decide by `guardrails.grants` and the default entries."""
    needed = needed_flags(case)
    lacking = [needed - flags_of(entry) for entry in _entries(case) if entry_matches(entry, case)]
    fewest = min(lacking, key=len, default=None)
    if fewest is not None and not fewest:
        return Admitted()
    if too_long := _too_long(case):
        return too_long
    incomplete = _incomplete_entry(case)
    if incomplete:
        return Denied(incomplete, invalid_entry=True)
    return Denied(_refusal(case, fewest), proposals=(_admitting_entry(case),))


def _too_long(case: GrantCase) -> Denied | None:
    """Return the denial of a grant that an entry admits, but not for so long; None if there is none.

    The remedy is the author's: an end, or an earlier one. A longer duration is a change of the entries.
    """
    request, needed = case.request, needed_flags(case)
    limits = [
        (entry.max_duration, index)
        for index, entry in enumerate(case.project.spec.guardrails.grants)
        if entry.max_duration is not None
        and matches_apart_from_duration(entry, case)
        and needed <= flags_of(entry)
    ]
    if not limits:
        return None
    limit, index = max(limits, key=lambda each: each[0].timedelta)
    lasts = "it is permanent" if request.lasts is None else f"it lasts {go_duration(request.lasts)}"
    return Denied(
        f"{entry_path('grants', index)} of {named(case.project)} admits {request.role} on {request.target} "
        f"for {case.member} for at most {limit} from when it is first granted (maxDuration), and {lasts}; "
        f"set duration: {limit}, or an expiresAt that is no later",
        proposals=() if request.lasts is None else (_admitting_entry(case),),
    )


def _may_grant_there(case: GrantCase, guardrail_facts: GuardrailFacts) -> Decision:
    """Decide whether the namespace may change the target's policy, whatever the role and the member."""
    project, namespace, target = case.project, case.request.namespace, case.request.target
    if target.is_workload:
        return may_use_workload(project, namespace, target, guardrail_facts)
    if case.owner:
        return _may_grant_on_account_of(case.owner, case)
    if target.is_service_account:
        return may_name_account(project, namespace, target.name, guardrail_facts)
    return Admitted()


def _may_grant_on_account_of(owner: DeclaredIdentity, case: GrantCase) -> Decision:
    if owner.namespace == case.request.namespace:
        return Admitted()
    return Denied(
        f"{case.request.target} belongs to {owner}: only objects in namespace {owner.namespace} may grant "
        f"{case.request.role} on it, not objects in {case.request.namespace}"
    )


def _inadmissible(case: GrantCase) -> Denied | None:
    """Return why no guardrail can admit such a role and member on such a target; None if one can."""
    role, target = case.request.role, case.request.target
    if _is_of_another_project(role, target):
        if target.descriptor.contains_projects:
            return Denied(
                f"{role} belongs to a project and cannot be granted on {target}; use a predefined "
                "role or one of the organization"
            )
        return Denied(f"{role} belongs to another project than {target} and cannot be granted there")
    grant = f"{role} on {target} cannot be granted to {case.request.member}"
    if isinstance(case.request.member, str):
        if (kind := parse(case.request.member).kind) in _NOT_GRANTABLE:
            return Denied(f"{grant}: the member {_NOT_GRANTABLE[kind]}")
        if documented := documented_form(case.request.member):
            return Denied(f"{grant}; write it as {documented}")
    if target.descriptor.contains_projects and case.request.exclusive:
        return Denied(
            f"{role} on {target} cannot be Exclusive: other ManagedProjects may grant it there, too; use "
            "spec.authority: Additive"
        )
    if not target.descriptor.accepts_member_sets and case.stands_for_many:
        return Denied(
            f"{grant}: no guardrail of {named(case.project)} admits public or type-wide members on a "
            f"{target.descriptor.display_name}; name each member"
        )
    return None


def _is_of_another_project(role: str, target: Target) -> bool:
    """Return whether the role is a custom role that cannot be granted on the target.

    A custom role of a project can be granted in that project only, and on nothing that contains projects.
    """
    own = "" if target.descriptor.contains_projects else target.project_id
    return role.startswith("projects/") and role.split("/")[1] != own


def _entries(case: GrantCase) -> Iterator[GrantAdmission]:
    """Yield the project's entries, and the default entry for the target."""
    guardrails, target = case.project.spec.guardrails, case.request.target
    yield from guardrails.grants
    default = _DEFAULT_ENTRIES.get(target.kind)
    # On an account, the default is for the namespace's own identities. Other accounts need an entry.
    if guardrails.default_grants and default and (case.owner or not target.is_service_account):
        yield default


def _incomplete_entry(case: GrantCase) -> str:
    """Return why an entry that lacks only required fields admits nothing; empty if there is none."""
    kind, namespace = case.request.target.kind, case.request.namespace
    for index, entry in enumerate(case.project.spec.guardrails.grants):
        remedies = {}
        if entry.target_kinds is None:
            remedies["targetKinds"] = f"targetKinds: [{kind}]"
        if entry.namespaces is None and not _is_for_all(case):
            remedies["namespaces"] = "the namespaces that it is for"
        completed = entry.model_copy(
            update={
                "target_kinds": entry.target_kinds or (kind,),
                "namespaces": entry.namespaces or (namespace,),
            }
        )
        if remedies and entry_matches(completed, case) and needed_flags(case) <= flags_of(entry):
            return (
                f"{entry_path('grants', index)} of {named(case.project)} has no {' and no '.join(remedies)} "
                f"and admits nothing; add {' and '.join(remedies.values())} to it"
            )
    return ""


def _is_for_all(case: GrantCase) -> bool:
    """Return whether an entry without namespaces is for the namespace of the grant."""
    if case.request.target.descriptor.contains_projects:
        return False
    return is_for(case.project, None, case.request.namespace)


def _refusal(case: GrantCase, lacking: frozenset[str] | None) -> str:
    """Return the denial.

    `lacking` are the flags of an entry that would otherwise admit the grant; None if there is no such entry.
    """
    request = case.request
    # In quotes, because the author of the grant could write an instruction to the reader into it.
    expression = json.dumps(request.condition.expression, ensure_ascii=False) if request.condition else ""
    when = f" under the condition {expression}" if expression else ""
    whys = {
        "allowEscalation": f"allowEscalation, because {_why_it_escalates(case)}",
        "exclusive": "exclusive, because spec.authority is Exclusive",
        "claim": "claim, because spec.existingGrants is Claim",
    }
    needs = needed_flags(case) if lacking is None else lacking
    verb = "; an entry for it needs" if lacking is None else ", without"
    without = "".join(f"{verb} {why}" for flag, why in whys.items() if flag in needs)
    return (
        f"guardrails.grants of {named(case.project)} does not admit {request.role} on {request.target} for "
        f"{case.member}{when} in namespace {request.namespace}{without}"
    )


def _why_it_escalates(case: GrantCase) -> str:
    if case.escalating is None:
        return "the operator cannot read the permissions of the role"
    permissions = sorted(case.escalating)
    return f"its holder {reasons_for(permissions, case.reach)} ({some(permissions)})"


def _admitting_entry(case: GrantCase) -> Proposal:
    """Return the narrowest entry that admits the grant."""
    request, target = case.request, case.request.target
    entry: dict[str, Value | None] = {
        "roles": (request.role,),
        "targetKinds": (target.kind.value,),
        "services": (target.service,) if target.service else None,
        "names": None if target.is_project else (target.short_name,),
        "locations": (target.location,) if target.location else None,
        "members": (case.member,),
        "namespaces": (request.namespace,),
        "conditions": (request.condition.expression,) if request.condition else None,
        "maxDuration": go_duration(request.lasts) if request.lasts else None,
    }
    needed = needed_flags(case)
    flags = {flag: True for flag in ("allowEscalation", "exclusive", "claim") if flag in needed}
    return proposed_entry(case.project, "grants", entry | flags)


_NOT_GRANTABLE: Mapping[PrincipalKind, str] = {
    **dict.fromkeys(
        (PrincipalKind.PROJECT_OWNER, PrincipalKind.PROJECT_EDITOR, PrincipalKind.PROJECT_VIEWER),
        CONVENIENCE_VALUE,
    ),
    PrincipalKind.DELETED: DELETED_PRINCIPAL,
    PrincipalKind.OPAQUE: "must be of a documented form, such as group:EMAIL or principal://…",
}
"""Forms that Google itself writes into policies, and undocumented forms, with the reason and the remedy."""

_DEFAULT_ENTRIES: Mapping[TargetKind, GrantAdmission] = {
    kind: GrantAdmission(
        roles=descriptor.default_roles, target_kinds=(kind,), members=("*",), namespaces=("*",)
    )
    for kind, descriptor in TARGET_KINDS.items()
    if descriptor.default_roles
}
"""The entry that `guardrails.defaultGrants` stands for, by target kind."""
