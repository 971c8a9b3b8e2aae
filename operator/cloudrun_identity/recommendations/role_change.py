"""Values of `changes`: changes of declared objects, and recommendations that lead to none."""

from dataclasses import dataclass
from typing import NamedTuple

from cloudrun_identity.iam.admission import Denied
from cloudrun_identity.iam.google_findings import PermissionUsage, RoleRecommendation


class DeclaredKey(NamedTuple):
    """Key of a declared object."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class NewRole:
    """Custom role with the permissions that were used."""

    name: str
    """Name of the CustomRole."""
    role_id: str
    """ID of the role in Google Cloud."""
    permissions: tuple[str, ...]
    """Permissions of the role, sorted."""
    project: str
    """Name of the ManagedProject of the role: that of the entry."""


@dataclass(frozen=True, slots=True)
class RoleChange:
    """Change of one entry of `spec.roles` of an identity."""

    identity: DeclaredKey
    """The identity."""
    index: int
    """Index of the entry."""
    found: RoleRecommendation
    """Recommendation that the change follows."""
    usage: PermissionUsage | None
    """Use of the role, if Google shows it."""
    replace_by: tuple[str, ...] = ()
    """Predefined roles for the entry; without them and without a custom role, the entry is removed."""
    custom_role: NewRole | None = None
    """Custom role for the entry."""
    refusals: tuple[Denied, ...] = ()
    """Denials by the guardrails of the project; empty if they admit the change or are unknown."""

    @property
    def path(self) -> str:
        """Field of the entry."""
        return entry_path(self.index)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Recommendation that leads to no change of an identity."""

    found: RoleRecommendation
    """The recommendation."""
    usage: PermissionUsage | None
    """Use of the role, if Google shows it."""
    declared_by: str = ""
    """Object that declares the grant; empty if none does."""
    why: str = ""
    """Reason why an entry of an identity is not changed; empty for a grant that no identity declares."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Result of comparing the findings about a project with the declared objects."""

    roles: tuple[RoleChange, ...]
    """Changes of identities."""
    elsewhere: tuple[Elsewhere, ...]
    """Recommendations that no change of an identity follows."""


def entry_path(index: int) -> str:
    """Return the field of an entry of `spec.roles`."""
    return f"spec.roles[{index}]"
