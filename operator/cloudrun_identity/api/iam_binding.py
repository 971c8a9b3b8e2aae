"""IAMBinding: members of a role on one resource's IAM policy."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .references import (
    CONDITIONS_ON_SERVICES_ONLY,
    NO_CONDITION_ON_BASIC_ROLES,
    BindingCondition,
    CustomRoleRef,
    Member,
    Role,
    TargetRef,
)
from .resource import Column
from .schema import Clipped, Rule, exactly_one_of, immutable
from .spec import MESSAGE_COLUMN, READY_COLUMNS, ExistingGrants, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus


class Authority(StrEnum):
    """Whether others may hold the role beside the declared members."""

    ADDITIVE = "Additive"
    EXCLUSIVE = "Exclusive"


class BindingDeletionPolicy(StrEnum):
    """What becomes of the grants when the object is deleted."""

    DELETE = "Delete"
    ABANDON = "Abandon"


_PUBLIC_MEMBERS_WHERE_THEY_ARE_TAKEN = Rule(
    "!(self.target.kind in ['Project', 'ServiceAccount', 'Job'])"
    " || self.members.all(m, !has(m.principal) || !(m.principal in ['allUsers', 'allAuthenticatedUsers']))",
    "allUsers and allAuthenticatedUsers are not taken by a Project, a ServiceAccount or a Job",
    field_path=".members",
    reason="FieldValueForbidden",
)


class IAMBindingSpec(ProjectScopedSpec):
    """Members, a role and the resource that the role is granted on."""

    rules: ClassVar = (
        exactly_one_of("role", "customRoleRef"),
        CONDITIONS_ON_SERVICES_ONLY,
        NO_CONDITION_ON_BASIC_ROLES,
        _PUBLIC_MEMBERS_WHERE_THEY_ARE_TAKEN,
    )

    target: Annotated[TargetRef, immutable("target")]
    """The resource that the role is granted on."""
    role: Role | None = None
    """The role's full name, such as roles/run.invoker."""
    custom_role_ref: CustomRoleRef | None = None
    """A CustomRole of the same namespace."""
    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=250)]
    """Who is granted the role."""
    condition: BindingCondition | None = None
    """When the grants hold. Unset: always."""
    authority: Authority = Authority.ADDITIVE
    """Exclusive: nobody else holds this role, under this condition, on this resource."""
    existing_grants: ExistingGrants = ExistingGrants.KEEP
    """Whose a grant is that stood before this object: Keep leaves it on deletion, Claim removes it."""
    deletion_policy: BindingDeletionPolicy = BindingDeletionPolicy.DELETE
    """What becomes of the grants when this object is deleted."""


class IAMBindingStatus(ProjectScopedStatus):
    """What the binding came to."""

    target: Annotated[str, Clipped(512)] | None = None
    """The resource, such as `Service europe-west1/checkout`."""
    role: Annotated[str, Clipped(256)] | None = None
    """The role's full name."""
    member_count: Annotated[int, Field(ge=0)] | None = None
    """How many different members the binding declares."""


class IAMBinding(ProjectScopedResource):
    """Members of a role on one resource's IAM policy."""

    plural: ClassVar = "iambindings"
    singular: ClassVar = "iambinding"
    short_names: ClassVar = ("iamb",)
    columns: ClassVar = (
        Column("Target", ".status.target"),
        Column("Role", ".status.role"),
        Column("Members", ".status.memberCount", "integer"),
        *READY_COLUMNS,
        Column("Project", ".status.projectID", wide=True),
        MESSAGE_COLUMN,
    )

    kind: Literal["IAMBinding"] = "IAMBinding"
    spec: IAMBindingSpec
    status: IAMBindingStatus = IAMBindingStatus()
