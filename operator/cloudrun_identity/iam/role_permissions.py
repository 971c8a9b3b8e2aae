"""Guardrail decisions about custom roles: `guardrails.customRoles` of a ManagedProject."""

from collections.abc import Collection

from cloudrun_identity.api import ManagedProject

from .admission import Admitted, Decision, Denied, GuardrailFacts, as_yaml, may_use_project, named
from .escalation import escalating, reason_for
from .patterns import matches_any

_SHOWN = 3


def home_of(role: str) -> tuple[str, str] | None:
    """Return the project and the ID of a project's custom role, from its full name; None for other roles."""
    match role.split("/"):
        case ["projects", project_id, "roles", role_id]:
            return project_id, role_id
        case _:
            return None


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
    unlisted = [each for each in sorted(permissions) if not matches_any(each, admission.permissions)]
    if unlisted:
        admitting = as_yaml({"permissions": [*admission.permissions, *unlisted]})
        return Denied(
            f"guardrails.customRoles of {named(project)} does not admit {_some(unlisted)} in a custom role; "
            f"set it to {admitting}"
        )
    climbing = sorted(escalating(permissions))
    if climbing and not admission.allow_escalation:
        reasons = ", ".join(dict.fromkeys(reason_for(each) for each in climbing[:_SHOWN]))
        return Denied(
            f"guardrails.customRoles of {named(project)} does not admit {_some(climbing)} in a custom role "
            f"without allowEscalation, because its holder {reasons}"
        )
    return Admitted()


def _some(permissions: list[str]) -> str:
    more = f" and {len(permissions) - _SHOWN} more" if len(permissions) > _SHOWN else ""
    return f"{', '.join(permissions[:_SHOWN])}{more}"
