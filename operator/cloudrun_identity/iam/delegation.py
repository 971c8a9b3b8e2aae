"""How far Google itself can hold the operator to the guardrails: the condition of its grant on a project."""

from dataclasses import dataclass

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind


@dataclass(frozen=True, slots=True)
class Delegation:
    """What the guardrails admit on the project's own policy.

    `roles` are named literally. `patterns` are not: IAM's conditions compare whole names, so a grant under
    the condition does not reach what only a pattern admits.
    """

    roles: tuple[str, ...]
    patterns: tuple[str, ...]

    @property
    def expression(self) -> str:
        """The condition under which the operator may change the policy: for these roles alone."""
        listed = ", ".join(f"'{role}'" for role in self.roles)
        return f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{listed}])"


def delegation(project: ManagedProject) -> Delegation:
    """What the operator has to be able to grant on the project itself."""
    roles = {role for entry in entries_on(project, TargetKind.PROJECT) for role in entry.roles}
    return Delegation(
        tuple(sorted(role for role in roles if "*" not in role)),
        tuple(sorted(role for role in roles if "*" in role)),
    )


def entries_on(project: ManagedProject, kind: TargetKind) -> tuple[GrantAdmission, ...]:
    """The guardrails' own entries, the defaults aside, that admit grants on targets of a kind."""
    return tuple(entry for entry in project.spec.guardrails.grants if kind in (entry.target_kinds or ()))
