"""Guardrail decisions about custom roles: `guardrails.customRoles` of a ManagedProject."""

from collections.abc import Collection

from cloudrun_identity.api import ManagedProject

from .admission import Admitted, Decision, Denied, GuardrailFacts, may_use_project, named
from .escalation import escalating, reasons_for
from .guardrail_entries import is_for
from .patterns import matches_any
from .permission_forms import plain
from .proposals import Proposal, proposed_value
from .wording import some


def home_of(role: str) -> tuple[str, str] | None:
    """Return the project and the ID of a project's custom role, from its full name; None for other roles."""
    match role.split("/"):
        case ["projects", project_id, "roles", role_id]:
            return project_id, role_id
        case _:
            return None


def is_listed(permission: str, patterns: Collection[str]) -> bool:
    """Return whether a pattern admits a permission, as it is written or without the domain of Google."""
    return matches_any(permission, patterns) or matches_any(plain(permission), patterns)


def may_define(
    project: ManagedProject, namespace: str, permissions: Collection[str], guardrail_facts: GuardrailFacts
) -> Decision:
    """Decide whether objects of the namespace may define a custom role with these permissions.

    A custom role can be granted on the whole project, so the permissions must not escalate there.
    """
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    admission = project.spec.guardrails.custom_roles
    listed = admission.permissions
    if listed and admission.namespaces is None and not is_for(project, None, namespace):
        return Denied(
            f"spec.guardrails.customRoles of {named(project)} has no namespaces and admits nothing; add the "
            "namespaces that it is for",
            invalid_entry=True,
        )
    lacking: list[str] = []
    proposals: list[Proposal] = []
    path = "/spec/guardrails/customRoles"
    if not is_for(project, admission.namespaces, namespace):
        lacking.append(f"does not admit custom roles of namespace {namespace}")
        proposals.append(
            proposed_value(project, f"{path}/namespaces", (*(admission.namespaces or ()), namespace))
        )
    unlisted = [each for each in sorted(permissions) if not is_listed(each, listed)]
    if unlisted:
        lacking.append(f"does not admit {some(unlisted)} in a custom role")
        proposals.append(proposed_value(project, f"{path}/permissions", (*listed, *unlisted)))
    climbing = sorted(escalating(permissions))
    if climbing and not admission.allow_escalation:
        lacking.append(
            f"does not admit {some(climbing)} in a custom role without allowEscalation, because its holder "
            f"{reasons_for(climbing)}"
        )
        proposals.append(proposed_value(project, f"{path}/allowEscalation", value=True))
    if not lacking:
        return Admitted()
    denial = f"guardrails.customRoles of {named(project)} {'; it '.join(lacking)}"
    return Denied(denial, proposals=tuple(proposals))
