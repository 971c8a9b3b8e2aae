"""IAMBinding: members of a role on one resource's IAM policy."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .references import (
    CONDITIONS_WHERE_ACCEPTED,
    NO_CONDITION_ON_BASIC_ROLES,
    BindingCondition,
    CustomRoleRef,
    Member,
    Role,
    TargetRef,
    cel_list,
    listed,
)
from .resource import Column
from .schema import Clipped, Rule, exactly_one_of, immutable
from .spec import MESSAGE_COLUMN, READY_COLUMNS, ExistingGrants, ProjectScopedResource, ProjectScopedSpec
from .status import ProjectScopedStatus
from .target_kinds import kinds_where


class Authority(StrEnum):
    """Whether others may hold the role beside the declared members."""

    ADDITIVE = "Additive"
    EXCLUSIVE = "Exclusive"


class BindingDeletionPolicy(StrEnum):
    """What becomes of the grants when the object is deleted."""

    DELETE = "Delete"
    ABANDON = "Abandon"


_WITHOUT_PUBLIC_MEMBERS = kinds_where(lambda kind: not kind.accepts_public_members)

_PUBLIC_MEMBERS_WHERE_ACCEPTED = Rule(
    f"!(self.target.kind in {cel_list(_WITHOUT_PUBLIC_MEMBERS)})"
    " || self.members.all(m, !has(m.principal) || !(m.principal in ['allUsers', 'allAuthenticatedUsers']))",
    "must not contain allUsers or allAuthenticatedUsers for kinds "
    f"{listed(_WITHOUT_PUBLIC_MEMBERS)}: their IAM policies accept no public members",
    field_path=".members",
    reason="FieldValueForbidden",
)


class IAMBindingSpec(ProjectScopedSpec):
    """Members, a role and the resource that the role is granted on."""

    rules: ClassVar = (
        exactly_one_of("role", "customRoleRef"),
        CONDITIONS_WHERE_ACCEPTED,
        NO_CONDITION_ON_BASIC_ROLES,
        _PUBLIC_MEMBERS_WHERE_ACCEPTED,
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
