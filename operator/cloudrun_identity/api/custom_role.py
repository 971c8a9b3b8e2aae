"""CustomRole: a custom role of a project, with just the permissions needed."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .resource import Column
from .schema import SET, Clipped, immutable, matches
from .spec import MESSAGE_COLUMN, READY_COLUMNS, Adoption, Origin, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus

RoleID = Annotated[
    str,
    Field(max_length=64),
    matches(
        r"^[a-zA-Z0-9_.]{3,64}$",
        "must be a role's ID alone, 3-64 letters, digits, _ and .: prefectRunner, not "
        "projects/PROJECT/roles/prefectRunner",
    ),
]

Permission = Annotated[
    str,
    Field(max_length=128),
    matches(
        r"^[a-z][a-zA-Z0-9.-]*\.[a-zA-Z0-9-]+\.[a-zA-Z0-9-]+$",
        "must be a permission, SERVICE.RESOURCE.VERB, such as run.jobs.run",
    ),
]


class RoleStage(StrEnum):
    """How mature a role is; a disabled one grants nothing."""

    GA = "GA"
    ALPHA = "ALPHA"
    BETA = "BETA"
    EAP = "EAP"
    DEPRECATED = "DEPRECATED"
    DISABLED = "DISABLED"


class RoleDeletionPolicy(StrEnum):
    """What happens to the role when the object is deleted."""

    DELETE_IF_CREATED = "DeleteIfCreated"
    DELETE = "Delete"
    ABANDON = "Abandon"


class CustomRoleSpec(ProjectScopedSpec):
    """A custom role as it shall be."""

    role_id: Annotated[RoleID, immutable("roleID")]
    """The last part of the role's name: projects/PROJECT/roles/ROLE_ID."""
    title: Annotated[str, Field(max_length=100)] | None = None
    """What people read in the console. Unset: left as it is."""
    description: Annotated[str, Field(max_length=256)] | None = None
    """What the role is for. Unset: left as it is."""
    stage: RoleStage = RoleStage.GA
    """How mature the role is. DISABLED: whoever holds the role has nothing of it."""
    permissions: Annotated[tuple[Permission, ...], Field(min_length=1, max_length=500), SET]
    """What the role permits; guardrails.customRoles of the ManagedProject must admit every one of them."""
    adoption: Adoption = Adoption.FAIL
    """What to do where the role exists already. Adopt: guardrails.customRoles must admit what it permits
    now, too."""
    deletion_policy: RoleDeletionPolicy = RoleDeletionPolicy.DELETE_IF_CREATED
    """What happens to the role when this object is deleted. DeleteIfCreated deletes a role that the operator
    created and leaves an adopted one. Delete deletes the role. Abandon leaves the role. Google Cloud can
    restore a deleted role for 7 days."""


class CustomRoleStatus(ProjectScopedStatus):
    """What the role came to."""

    name: Annotated[str, Clipped(256)] | None = None
    """The role's full name."""
    origin: Origin | None = None
    """Whether the operator made the role or took it over."""
    deleted: bool | None = None
    """Whether the role is deleted and can still be brought back."""
    permission_count: Annotated[int, Field(ge=0)] | None = None
    """How many permissions the role holds."""
    unsupported_permissions: Annotated[tuple[Annotated[str, Clipped(128)], ...], Clipped(100)] = ()
    """Declared permissions that custom roles cannot hold; they are left out."""


class CustomRole(ProjectScopedResource):
    """A custom role of a project, with just the permissions needed."""

    plural: ClassVar = "customroles"
    singular: ClassVar = "customrole"
    short_names: ClassVar = ("crole",)
    columns: ClassVar = (
        Column("Role", ".spec.roleID"),
        Column("Permissions", ".status.permissionCount", "integer"),
        *READY_COLUMNS,
        Column("Name", ".status.name", wide=True),
        MESSAGE_COLUMN,
    )

    kind: Literal["CustomRole"] = "CustomRole"
    spec: CustomRoleSpec
    status: CustomRoleStatus = CustomRoleStatus()

    def name_in(self, project_id: str) -> str:
        """The role's full name in a project, as policies and the IAM API have it."""
        return f"projects/{project_id}/roles/{self.spec.role_id}"
