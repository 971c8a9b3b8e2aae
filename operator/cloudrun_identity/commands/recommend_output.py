"""Formats of recommendations: text and JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cloudrun_identity.exporting.suggestions import Suggestion
    from cloudrun_identity.iam.google_findings import (
        LateralMovement,
        RoleRecommendation,
        UnusedAccount,
        WorkloadIdentityRecommendation,
    )
    from cloudrun_identity.recommendations.role_change import Elsewhere, RoleChange

SCHEMA_VERSION = 1
"""Version of the JSON schema. It rises if a field is removed or changes its meaning."""


class Markable(NamedTuple):
    """Recommendation whose state can be set."""

    project_id: str
    found: "RoleRecommendation | WorkloadIdentityRecommendation"


@dataclass(slots=True)
class Report:
    """Recommendations about all projects."""

    roles: "list[RoleChange]" = field(default_factory=list)
    """Changes of identities."""
    elsewhere: "list[tuple[str, Elsewhere]]" = field(default_factory=list)
    """Recommendations about grants that no identity declares, with the IDs of their projects."""
    unused: "list[UnusedAccount]" = field(default_factory=list)
    """Accounts without use."""
    movements: "list[tuple[str, LateralMovement]]" = field(default_factory=list)
    """Accounts of other projects that can act as accounts of a project, with its ID."""
    workloads: "list[WorkloadIdentityRecommendation]" = field(default_factory=list)
    """Recommendations about services on the default account."""
    suggestions: "Sequence[Suggestion]" = ()
    """Identities for these services."""
    unreadable: list[str] = field(default_factory=list)
    """Sources that could not be read."""
    markable: "list[Markable]" = field(default_factory=list)
    """Recommendations whose state should be set."""
    sources: int = 0
    """Number of sources that were asked."""

    @property
    def is_empty(self) -> bool:
        """True if nothing is recommended."""
        return not (self.roles or self.elsewhere or self.unused or self.movements or self.workloads)


def as_text(report: Report) -> Iterator[str]:
    """Yield the recommendations by object, and the summary."""
    from cloudrun_identity.exporting.suggestion_manifests import admission_lines
    from cloudrun_identity.iam.gcloud_bindings import removal_command
    from cloudrun_identity.recommendations.manifests import reason, replacement

    from .suggest_output import as_text as suggestions_as_text

    heading = ""
    for change in report.roles:
        if str(change.identity) != heading:
            heading = str(change.identity)
            yield heading
        instead = replacement(change)
        line = f"{change.path}: {change.found.role}" + (f" → {instead}" if instead else "")
        yield f"  {'~' if instead else '-'} {line}: {reason(change)}"
        for refusal in change.refusals:
            yield from (f"    ! {line}" for line in admission_lines(refusal))
    for project_id, each in report.elsewhere:
        yield from _elsewhere(project_id, each)
    for unused in report.unused:
        since = f"since {unused.last_used:%Y-%m-%d}" if unused.last_used else "in the last 90 days"
        yield f"{unused.email} has not authenticated {since}: delete its identity, or set spec.disabled: true"
    for project_id, movement in report.movements:
        yield (
            f"{movement.impersonator} of another project can act as accounts of {project_id} with "
            f"{movement.role}: name it in spec.users of the identities that it needs, and run"
        )
        yield f"  {removal_command(project_id, movement.role, f'serviceAccount:{movement.impersonator}')}"
    if report.suggestions:
        *lines, _ = suggestions_as_text(report.suggestions)
        yield from lines
    yield summary(report)


def summary(report: Report) -> str:
    """Return one sentence with the counts. An empty answer is no evidence of least privilege."""
    if report.is_empty:
        return "Google recommends nothing. It may not have observed enough yet."
    counts = (
        ("change", "changes", len(report.roles)),
        ("other grant", "other grants", len(report.elsewhere)),
        ("unused account", "unused accounts", len(report.unused)),
        ("account of another project", "accounts of other projects", len(report.movements)),
        ("service on the default account", "services on the default account", len(report.workloads)),
    )
    listed = ", ".join(f"{count} {one if count == 1 else many}" for one, many, count in counts if count)
    refused = sum(bool(change.refusals) for change in report.roles)
    return f"Recommended: {listed}{f'; {refused} not admitted by guardrails' if refused else ''}."


def as_json(report: Report, manifests: Sequence[Any]) -> str:
    """Return the recommendations for `-o json`. docs/how-to/recommendations.md documents the fields."""
    answer = {
        "schemaVersion": SCHEMA_VERSION,
        "result": "NoRecommendations" if report.is_empty else "Recommendations",
        "changes": [_change_json(each) for each in report.roles],
        "otherGrants": [
            {
                "projectID": project_id,
                "member": each.found.member,
                "role": each.found.role,
                "condition": each.found.condition or None,
                "replaceBy": list(each.found.replace_by),
                "declaredBy": each.declared_by or None,
                "why": each.why or None,
                "recommendation": each.found.name,
            }
            for project_id, each in report.elsewhere
        ],
        "unusedAccounts": [
            {"email": each.email, "lastUsed": each.last_used.isoformat() if each.last_used else None}
            for each in report.unused
        ],
        "accountsOfOtherProjects": [
            {"projectID": project_id, "email": each.impersonator, "role": each.role}
            for project_id, each in report.movements
        ],
        "servicesOnDefaultAccount": [
            {"location": each.location, "name": each.service, "recommendation": each.name}
            for each in report.workloads
        ],
        "unreadable": report.unreadable,
        "manifests": list(manifests),
    }
    return json.dumps(answer, indent=2, ensure_ascii=False)


def _change_json(change: "RoleChange") -> dict[str, Any]:
    usage = change.usage
    return {
        "kind": change.identity.kind,
        "namespace": change.identity.namespace,
        "name": change.identity.name,
        "path": change.path,
        "role": change.found.role,
        "replaceBy": list(change.replace_by),
        "customRole": change.custom_role.name if change.custom_role else None,
        "usedPermissions": list(usage.used) if usage else None,
        "permissionCount": usage.total if usage else None,
        "notAdmitted": [each.reason for each in change.refusals],
        "recommendation": change.found.name,
        "state": change.found.state.value,
    }


def _elsewhere(project_id: str, each: "Elsewhere") -> Iterator[str]:
    from cloudrun_identity.iam.gcloud_bindings import removal_command

    found = each.found
    instead = f" → {', '.join(found.replace_by)}" if found.replace_by else ""
    instead = instead or (" → a CustomRole" if found.is_customizable else "")
    only = f" if {found.condition}" if found.condition else ""
    yield f"{found.member}: {found.role} on project {project_id}{only}{instead}"
    if each.why:
        yield f"  {each.declared_by} declares it, and stays as it is: {each.why}"
    elif each.declared_by:
        yield f"  {each.declared_by} declares it: change it by hand"
    else:
        command = removal_command(project_id, found.role, found.member, found.condition)
        yield f"  no object declares it: {command}"
