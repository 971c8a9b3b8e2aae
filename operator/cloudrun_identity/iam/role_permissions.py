"""Which custom roles a project allows: the decision over `guardrails.customRoles` of a ManagedProject."""

from collections.abc import Collection

from cloudrun_identity.api import ManagedProject

from .admission import Admitted, Decision, Denied, GuardrailFacts, as_yaml, may_use_project, named
from .escalation import escalating, reason_for
from .patterns import matches_any

_SHOWN = 3


def home_of(role: str) -> tuple[str, str] | None:
    """The project and the id of a project's custom role by its full name; None for any other role."""
    match role.split("/"):
        case ["projects", project_id, "roles", role_id]:
            return project_id, role_id
        case _:
            return None


def may_define(
    project: ManagedProject, namespace: str, permissions: Collection[str], guardrail_facts: GuardrailFacts
) -> Decision:
    """Whether objects of the namespace may give a custom role these permissions.

    Escalation is judged as for the whole project, which is as far as a custom role can be granted.
    """
    entrance = may_use_project(project, namespace, guardrail_facts)
    if isinstance(entrance, Denied):
        return entrance
    admission = project.spec.guardrails.custom_roles
    strangers = [each for each in sorted(permissions) if not matches_any(each, admission.permissions)]
    if strangers:
        entry = as_yaml({"permissions": [*admission.permissions, *strangers]})
        return Denied(
            f"guardrails.customRoles of {named(project)} admits no {_some(strangers)} in a custom role; "
            f"{entry} would"
        )
    climbing = sorted(escalating(permissions))
    if climbing and not admission.allow_escalation:
        reasons = ", ".join(dict.fromkeys(reason_for(each) for each in climbing[:_SHOWN]))
        return Denied(
            f"guardrails.customRoles of {named(project)} admits no {_some(climbing)} in a custom role "
            f"without allowEscalation, because its holder {reasons}"
        )
    return Admitted()


def _some(permissions: list[str]) -> str:
    more = f" and {len(permissions) - _SHOWN} more" if len(permissions) > _SHOWN else ""
    return f"{', '.join(permissions[:_SHOWN])}{more}"
