"""IAMBinding: members of a role on one resource."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .ledger_records import MAX_PRINCIPALS
from .members import BindingMember
from .references import (
    CONDITIONS_WHERE_ACCEPTED,
    MEMBER_EXPIRY_BY_GOOGLE_WHERE_ACCEPTED,
    NO_CONDITION_ON_BASIC_ROLES,
    BindingCondition,
    CustomRoleRef,
    Role,
    TargetRef,
    is_one_of,
    listed,
)
from .resource import Column
from .schema import Clipped, Rule, exactly_one_of, immutable
from .spec import (
    EXPIRY_COLUMN,
    MESSAGE_COLUMN,
    READY_COLUMNS,
    STALLED_COLUMN,
    ExistingGrants,
    ProjectScopedResource,
    ProjectScopedSpec,
)
from .status import ProjectScopedStatus
from .target_kinds import kinds_where


class Authority(StrEnum):
    """Claims on the role: beside members that are not declared, or exclusive."""

    ADDITIVE = "Additive"
    EXCLUSIVE = "Exclusive"


class BindingDeletionPolicy(StrEnum):
    """Policies for the grants when the object is deleted."""

    DELETE = "Delete"
    ABANDON = "Abandon"


_WITHOUT_PUBLIC_MEMBERS = kinds_where(lambda kind: not kind.accepts_public_members)

_PUBLIC_MEMBERS_WHERE_ACCEPTED = Rule(
    f"!{is_one_of(_WITHOUT_PUBLIC_MEMBERS, 'self.target')}"
    " || self.members.all(m, !has(m.principal) || !(m.principal in ['allUsers', 'allAuthenticatedUsers']))",
    "must not contain allUsers or allAuthenticatedUsers for kinds "
    f"{listed(_WITHOUT_PUBLIC_MEMBERS)}: their IAM policies accept no public members",
    field_path=".members",
    reason="FieldValueForbidden",
)


class IAMBindingSpec(ProjectScopedSpec):
    """IAMBindingSpec defines the members of a role on one resource."""

    rules: ClassVar = (
        exactly_one_of("role", "customRoleRef"),
        CONDITIONS_WHERE_ACCEPTED,
        NO_CONDITION_ON_BASIC_ROLES,
        _PUBLIC_MEMBERS_WHERE_ACCEPTED,
        MEMBER_EXPIRY_BY_GOOGLE_WHERE_ACCEPTED,
    )

    target: Annotated[TargetRef, immutable("target")]
    """Resource that the role is granted on. Immutable."""
    role: Role | None = None
    """Full name of the role, such as roles/run.invoker."""
    custom_role_ref: CustomRoleRef | None = None
    """CustomRole in the same namespace."""
    members: Annotated[tuple[BindingMember, ...], Field(min_length=1, max_length=MAX_PRINCIPALS)]
    """Members that are granted the role. Google Cloud accepts as many principals in one IAM policy. The spec
    should not exceed 200 KiB, because client-side apply keeps a copy in an annotation; use a group, or
    server-side apply, for more."""
    condition: BindingCondition | None = None
    """IAM condition of the grants. If unset, the grants are unconditional."""
    authority: Authority = Authority.ADDITIVE
    """Additive leaves other members of the role alone. Exclusive removes every other member of this role,
    under this condition, on this resource; an entry of guardrails.grants must permit it."""
    existing_grants: ExistingGrants = ExistingGrants.KEEP
    """Policy on deletion for a grant that the IAM policy contained before this object. Keep leaves it. Claim
    removes it."""
    deletion_policy: BindingDeletionPolicy = BindingDeletionPolicy.DELETE
    """Policy for the grants when this object is deleted. Delete removes them. Abandon leaves them."""


class IAMBindingStatus(ProjectScopedStatus):
    """IAMBindingStatus is the observed state of the binding."""

    target: Annotated[str, Clipped(512)] | None = None
    """Resource, such as `Service europe-west1/checkout`."""
    role: Annotated[str, Clipped(256)] | None = None
    """Full name of the role."""
    member_count: Annotated[int, Field(ge=0)] | None = None
    """Number of distinct members that the binding declares."""


class IAMBinding(ProjectScopedResource):
    """IAMBinding declares the members of a role on one resource."""

    plural: ClassVar = "iambindings"
    singular: ClassVar = "iambinding"
    short_names: ClassVar = ("iamb", "iambs")
    columns: ClassVar = (
        Column("Target", ".status.target"),
        Column("Role", ".status.role"),
        Column("Members", ".status.memberCount", "integer"),
        *READY_COLUMNS,
        Column("Project", ".status.projectID", wide=True),
        EXPIRY_COLUMN,
        STALLED_COLUMN,
        MESSAGE_COLUMN,
    )

    kind: Literal["IAMBinding"] = "IAMBinding"
    spec: IAMBindingSpec
    status: IAMBindingStatus = IAMBindingStatus()
