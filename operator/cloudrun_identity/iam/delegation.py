"""Delegation: the IAM condition under which Google enforces the guardrails on the operator's own grant."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind

from .role_catalog import known_permissions


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


def policy_permissions(project: ManagedProject) -> Mapping[str, tuple[str, ...]]:
    """Return the permissions on policies of the APIs that the guardrails list for target.resource, by API.

    An API is not known to have other permissions than those in predefined roles. Those of a collection that
    no entry names, such as `functions` in `locations/*/functions/*`, are left out.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries_on(project, TargetKind.RESOURCE):
        segments = {segment for name in entry.names or () for segment in name.split("/")}
        for service in entry.services or ():
            known = _policy_permissions_of(service.partition(".")[0])
            named = {each for each in known if each.split(".")[1] in segments}
            found[service] |= named or known
    return {service: tuple(sorted(permissions)) for service, permissions in sorted(found.items())}


def _policy_permissions_of(service: str) -> frozenset[str]:
    return frozenset(
        permission
        for permission in known_permissions()
        if permission.startswith(f"{service}.")
        and permission.rpartition(".")[2] in ("getIamPolicy", "setIamPolicy")
    )


def entries_on(project: ManagedProject, kind: TargetKind) -> tuple[GrantAdmission, ...]:
    """Return the entries of the guardrails, without the defaults, that admit grants on targets of a kind."""
    return tuple(entry for entry in project.spec.guardrails.grants if kind in (entry.target_kinds or ()))
