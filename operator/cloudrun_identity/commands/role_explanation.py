"""Explanation of a role: which of its permissions escalate, why, and on which targets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloudrun_identity.iam.escalation import UNKNOWN, Reach, escalating, group_of, reason_for

UNKNOWN_GROUP: Final = "unknown"
"""Name of the group of permissions that the operator does not know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Permissions of a role that escalate for one reason."""

    group: str
    """Name of the group in the table of `docs/reference/escalation.md`."""
    reason: str
    """Reason why the permissions escalate, to follow "its holder"."""
    reaches: tuple[Reach, ...]
    """Scopes in which they escalate."""
    permissions: tuple[str, ...]
    """Permissions, sorted."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A role with everything that escalates in it."""

    role: str
    """Full name of the role, or the name of its file."""
    source: str
    """Origin of the permissions, to follow "permissions from"."""
    count: int
    """Number of permissions in the role."""
    findings: tuple[Finding, ...]
    """Escalations, in the order of the table."""


def explain(role: str, source: str, permissions: Iterable[str]) -> Explanation:
    """Return what escalates in a role with these permissions."""
    held = frozenset(permissions)
    return Explanation(role, source, len(held), findings(held))


def findings(permissions: Iterable[str]) -> tuple[Finding, ...]:
    """Return the escalating permissions, by reason."""
    by_reason: dict[tuple[str, str, tuple[Reach, ...]], list[str]] = {}
    for permission in sorted(escalating(permissions)):
        group = group_of(permission)
        name, reason = (group.name, group.reason) if group else (UNKNOWN_GROUP, UNKNOWN)
        reaches = tuple(reach for reach in Reach if reason_for(permission, reach))
        by_reason.setdefault((name, reason, reaches), []).append(permission)
    return tuple(Finding(*key, tuple(listed)) for key, listed in sorted(by_reason.items()))


def as_text(explanation: Explanation) -> str:
    """Return the explanation for people."""
    return "\n".join(_lines(explanation))


def as_json(explanation: Explanation) -> Mapping[str, Any]:
    """Return the explanation for programs."""
    return {
        "role": explanation.role,
        "source": explanation.source,
        "escalates": bool(explanation.findings),
        "findings": [
            {
                "group": finding.group,
                "reason": finding.reason,
                "targets": [_TARGETS[reach] for reach in finding.reaches],
                "permissions": list(finding.permissions),
            }
            for finding in explanation.findings
        ],
    }


def _lines(explanation: Explanation) -> Iterator[str]:
    held = f"{explanation.count} permissions from {explanation.source}"
    if not explanation.findings:
        yield f"{explanation.role} does not escalate privileges ({held})."
        yield "A guardrails.grants entry admits it without allowEscalation."
        return
    yield f"{explanation.role} escalates privileges ({held})."
    for finding in explanation.findings:
        yield ""
        yield f"{finding.group}: its holder {finding.reason}"
        yield f"  escalates on: {', '.join(_TARGETS[reach] for reach in finding.reaches)}"
        yield from (f"  - {permission}" for permission in finding.permissions)
    yield ""
    yield "A guardrails.grants entry admits it on these targets only with allowEscalation: true."


_TARGETS: Final[Mapping[Reach, str]] = {
    Reach.PROJECT: "projects",
    Reach.RESOURCE: "single resources",
    Reach.OWN_IDENTITY: "accounts of the namespace's own identities",
}
"""Targets of grants by scope, as shown to users."""
