"""Principal access boundaries: policies that limit the resources to which principals can have access.

https://cloud.google.com/iam/docs/principal-access-boundary-policies describes them. Which permissions a
boundary limits depends on its enforcement version, so that it never decides alone: it may limit a principal.
"""

from dataclasses import dataclass
from typing import Final

from .principals import PrincipalKind, parse


@dataclass(frozen=True, slots=True)
class Boundary:
    """A principal access boundary that is bound to a set of principals."""

    policy: str
    """Text that names the policy."""
    bound_to: str
    """Full resource name of the set of principals."""
    project_id: str = ""
    """ID of the project if the set is a project: its service accounts and its pools."""

    def may_limit(self, principal: str) -> bool:
        """Return whether the boundary may limit the principal."""
        parsed = parse(principal)
        if self.project_id:
            domain = parsed.identifier.rpartition("@")[2]
            of_other = domain.endswith(_ACCOUNTS) and domain != f"{_host(self.project_id)}{_ACCOUNTS}"
            return parsed.kind in _OF_PROJECTS and not of_other
        if _WORKSPACE in self.bound_to:
            return parsed.kind in _OF_WORKSPACES
        if "Pools/" in self.bound_to:
            return self.bound_to.removeprefix("//iam.googleapis.com/") in parsed.identifier
        return True  # a folder or an organization


def _host(project_id: str) -> str:
    domain, _, name = project_id.rpartition(":")
    return f"{name}.{domain}" if domain else name


_ACCOUNTS: Final = ".iam.gserviceaccount.com"
_WORKSPACE: Final = "/workspace/"
_OF_PROJECTS: Final = frozenset(
    {
        PrincipalKind.SERVICE_ACCOUNT,
        PrincipalKind.KUBERNETES_SERVICE_ACCOUNT,
        PrincipalKind.PRINCIPAL,
        PrincipalKind.PRINCIPAL_SET,
        PrincipalKind.GROUP,
        PrincipalKind.OPAQUE,
    }
)
_OF_WORKSPACES: Final = frozenset({PrincipalKind.USER, PrincipalKind.GROUP, PrincipalKind.DOMAIN})
