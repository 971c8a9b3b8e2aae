"""Delegation: the IAM condition under which Google enforces the guardrails on the operator's own grant."""

from dataclasses import dataclass

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind


@dataclass(frozen=True, slots=True)
class Delegation:
    """Roles that the guardrails admit on the project's own policy."""

    roles: tuple[str, ...]
    """Roles that entries name literally."""
    patterns: tuple[str, ...]
    """Patterns of roles. An IAM condition compares whole names, so it cannot express them."""

    @property
    def expression(self) -> str:
        """The IAM condition that lets the operator grant these roles only."""
        listed = ", ".join(f"'{role}'" for role in self.roles)
        return f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{listed}])"


def delegation(project: ManagedProject) -> Delegation:
    """Return the roles that the operator must be able to grant on the project itself."""
    roles = {role for entry in entries_on(project, TargetKind.PROJECT) for role in entry.roles}
    return Delegation(
        tuple(sorted(role for role in roles if "*" not in role)),
        tuple(sorted(role for role in roles if "*" in role)),
    )


def entries_on(project: ManagedProject, kind: TargetKind) -> tuple[GrantAdmission, ...]:
    """Return the entries of the guardrails, without the defaults, that admit grants on targets of a kind."""
    return tuple(entry for entry in project.spec.guardrails.grants if kind in (entry.target_kinds or ()))
