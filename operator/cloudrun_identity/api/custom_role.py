"""CustomRole: a custom role of a project."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from .resource import Column
from .schema import SET, Clipped, Rule, at_most_bytes, immutable, matches
from .spec import (
    MESSAGE_COLUMN,
    READY_COLUMNS,
    STALLED_COLUMN,
    Adoption,
    Origin,
    ProjectScopedResource,
    ProjectScopedSpec,
)
from .status import ProjectScopedStatus

RoleID = Annotated[
    str,
    Field(max_length=64),
    matches(
        r"^[a-zA-Z0-9_.]{3,64}$",
        "must be the ID of a role, 3-64 letters, digits, _ and .: prefectRunner, not "
        "projects/PROJECT/roles/prefectRunner",
    ),
]

# "Custom roles" in https://cloud.google.com/iam/quotas, read in November 2026.
MAX_PERMISSIONS: Final = 3000
"""Maximum number of permissions of a custom role."""

MAX_TITLE_BYTES: Final = 100
"""Maximum number of bytes of the title of a custom role."""

MAX_DESCRIPTION_BYTES: Final = 300
"""Maximum number of bytes of the description of a custom role."""

MAX_ROLE_BYTES: Final = 64 * 1024
"""Maximum number of bytes of the title, the description and all permissions of a custom role."""

Permission = Annotated[
    str,
    Field(max_length=128),
    matches(
        r"^([a-z][a-zA-Z0-9.-]*\.|[a-z][a-z0-9-]*(\.[a-z0-9-]+)+/)[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+$",
        "must be a permission, SERVICE.RESOURCE.VERB or DOMAIN/RESOURCE.VERB, such as run.jobs.run or "
        "iam.googleapis.com/workloadIdentityPools.get",
    ),
]


class RoleStage(StrEnum):
    """Launch stages of a role. A role in stage DISABLED grants nothing."""

    GA = "GA"
    ALPHA = "ALPHA"
    BETA = "BETA"
    EAP = "EAP"
    DEPRECATED = "DEPRECATED"
    DISABLED = "DISABLED"


class RoleDeletionPolicy(StrEnum):
    """Policies for the role when the object is deleted."""

    DELETE_IF_CREATED = "DeleteIfCreated"
    DELETE = "Delete"
    ABANDON = "Abandon"


def _is_within_size(spec: "CustomRoleSpec") -> bool:
    texts = (spec.title or "", spec.description or "", *spec.permissions)
    return sum(len(text.encode()) for text in texts) <= MAX_ROLE_BYTES


class CustomRoleSpec(ProjectScopedSpec):
    """CustomRoleSpec defines the desired state of a custom role."""

    rules: ClassVar = (
        Rule(
            # A permission is ASCII.
            "(has(self.title) ? size(bytes(self.title)) : 0)"
            " + (has(self.description) ? size(bytes(self.description)) : 0)"
            f" + self.permissions.map(permission, size(permission)).sum() <= {MAX_ROLE_BYTES}",
            f"must have at most {MAX_ROLE_BYTES} bytes together with title and description: divide the "
            "permissions between two custom roles",
            field_path=".permissions",
            holds=_is_within_size,
        ),
    )

    role_id: Annotated[RoleID, immutable("roleID")]
    """Last part of the name of the role, projects/PROJECT/roles/ROLE_ID. Immutable."""
    title: Annotated[str, Field(max_length=MAX_TITLE_BYTES), at_most_bytes(MAX_TITLE_BYTES)] | None = None
    """Human-readable title of the role. If unset, the operator does not change it."""
    description: (
        Annotated[str, Field(max_length=MAX_DESCRIPTION_BYTES), at_most_bytes(MAX_DESCRIPTION_BYTES)] | None
    ) = None
    """Human-readable description of the role. If unset, the operator does not change it."""
    stage: RoleStage = RoleStage.GA
    """Launch stage of the role. In stage DISABLED the role grants no permissions."""
    permissions: Annotated[tuple[Permission, ...], Field(min_length=1, max_length=MAX_PERMISSIONS), SET]
    """Permissions of the role. guardrails.customRoles of the ManagedProject must admit each of them."""
    adoption: Adoption = Adoption.FAIL
    """Action if the role already exists. Fail reports a conflict. Adopt manages the existing role;
    guardrails.customRoles must then also admit its current permissions."""
    deletion_policy: RoleDeletionPolicy = RoleDeletionPolicy.DELETE_IF_CREATED
    """Policy for the role when this object is deleted. DeleteIfCreated deletes a role that the operator
    created and leaves an adopted one. Delete deletes the role. Abandon leaves the role. Google Cloud can
    restore a deleted role for 7 days."""


class CustomRoleStatus(ProjectScopedStatus):
    """CustomRoleStatus is the observed state of the role."""

    name: Annotated[str, Clipped(256)] | None = None
    """Full name of the role."""
    origin: Origin | None = None
    """Origin of the role: created or adopted by the operator."""
    deleted: bool | None = None
    """Indicates that the role is deleted and can still be undeleted."""
    permission_count: Annotated[int, Field(ge=0)] | None = None
    """Number of permissions of the role."""
    unsupported_permissions: Annotated[tuple[Annotated[str, Clipped(128)], ...], Clipped(100)] = ()
    """Declared permissions that custom roles do not support. The operator omits them."""


class CustomRole(ProjectScopedResource):
    """CustomRole declares a custom role of a project."""

    plural: ClassVar = "customroles"
    singular: ClassVar = "customrole"
    short_names: ClassVar = ("crole", "croles")
    columns: ClassVar = (
        Column("Role", ".spec.roleID"),
        Column("Permissions", ".status.permissionCount", "integer"),
        *READY_COLUMNS,
        Column("Name", ".status.name", wide=True),
        STALLED_COLUMN,
        MESSAGE_COLUMN,
    )

    kind: Literal["CustomRole"] = "CustomRole"
    spec: CustomRoleSpec
    status: CustomRoleStatus = CustomRoleStatus()

    def name_in(self, project_id: str) -> str:
        """Return the full name of the role in a project, as IAM policies contain it."""
        return f"projects/{project_id}/roles/{self.spec.role_id}"
