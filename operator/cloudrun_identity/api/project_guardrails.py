"""The `guardrails` of a ManagedProject: what the admitted namespaces may do in the project.

A project admits nothing that no field here admits.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from .references import NamespaceName, ServiceAccountEmail, WorkloadKind, listed
from .schema import SET, ApiModel, Rule, cel_string
from .target_kinds import TargetKind, kinds_where

_BY_NAME_ONLY = kinds_where(lambda kind: kind.is_admitted_by_name_only)

Glob = Annotated[str, Field(min_length=1, max_length=512)]
"""A pattern. `*` matches any run of characters; every other character matches itself."""


class GrantAdmission(ApiModel):
    """GrantAdmission admits the grants that match all of its fields."""

    rules: ClassVar = (
        Rule(
            "has(self.targetKinds)",
            "must be set: name the kinds of targets that the entry admits grants on, such as [Project]",
            field_path=".targetKinds",
            reason="FieldValueRequired",
        ),
        Rule(
            "!has(self.targetKinds) || has(self.names) || "
            + " && ".join(f"!({cel_string(kind)} in self.targetKinds)" for kind in _BY_NAME_ONLY),
            f"must be set where targetKinds contains {listed(_BY_NAME_ONLY, 'or')}: it is admitted by name",
            field_path=".names",
            reason="FieldValueRequired",
        ),
    )

    roles: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET]
    """Patterns of roles. Basic roles (such as roles/owner) match only where they are listed literally."""
    target_kinds: Annotated[tuple[TargetKind, ...], Field(min_length=1, max_length=8), SET] | None = None
    """Kinds of targets. Required. An entry without this field was stored by an earlier version and admits
    nothing."""
    names: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Patterns of target names: the ID of a project, the account ID of a service account, the name of any
    other target. If unset, every name matches."""
    members: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET]
    """Patterns of members. A principal is written as in IAM, a CloudRunIdentity as `identity:NAMESPACE/NAME`;
    `identities` matches every CloudRunIdentity. Public and type-wide members match only where they are listed
    literally."""
    namespaces: Annotated[tuple[NamespaceName, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Namespaces of the objects that declare the grant. If unset, every admitted namespace matches."""
    allow_escalation: bool = False
    """Admits roles with permissions that let their holder gain further permissions."""
    exclusive: bool = False
    """Permits an Exclusive binding to remove all other members from the role."""


class WorkloadAdmission(ApiModel):
    """WorkloadAdmission admits workloads that namespaces may attach identities to and grant roles on."""

    namespaces: Annotated[tuple[NamespaceName, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Namespaces of the objects that use the workload. If unset, every admitted namespace matches."""
    kinds: Annotated[tuple[WorkloadKind, ...], Field(min_length=1, max_length=3), SET] = tuple(WorkloadKind)
    """Kinds of workloads."""
    locations: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] = ("*",)
    """Patterns of locations."""
    names: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] = ("*",)
    """Patterns of workload names."""


class CustomRoleAdmission(ApiModel):
    """CustomRoleAdmission admits the custom roles that namespaces may define."""

    permissions: Annotated[tuple[Glob, ...], Field(max_length=256), SET] = ()
    """Patterns of permissions that a custom role may contain. If unset, no custom role is admitted."""
    allow_escalation: bool = False
    """Permits a custom role to contain permissions that let its holder gain further permissions."""


class KeyAdmission(StrEnum):
    """Admission of user-managed keys."""

    DENIED = "Denied"
    ALLOWED = "Allowed"


class Naming(ApiModel):
    """Naming restricts how service accounts may be named."""

    account_id_pattern: Annotated[str, Field(max_length=256)] = ""
    """Pattern that account IDs must match; `*` matches any run of characters. If empty, every ID matches."""
    require_display_name: bool = False
    """Requires every CloudRunIdentity to set displayName."""
    require_description: bool = False
    """Requires every CloudRunIdentity to set description."""


class Guardrails(ApiModel):
    """Guardrails declare what the admitted namespaces may do in the project."""

    default_grants: bool = True
    """Admits the usual grants without an entry: the roles to use, impersonate and federate a namespace's own
    identities, and roles/run.invoker on workloads that the namespace may use. Public members are never
    included."""
    grants: Annotated[tuple[GrantAdmission, ...], Field(max_length=64)] = ()
    """Grants that are admitted. A grant is admitted if one entry matches all of it."""
    workloads: Annotated[tuple[WorkloadAdmission, ...], Field(max_length=64)] = ()
    """Workloads that namespaces may attach identities to and grant roles on. If unset, every workload is
    admitted while exactly one existing namespace is admitted, and none otherwise."""
    accounts: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=64), SET] = ()
    """Service accounts that objects may refer to by e-mail. Default accounts and accounts that the operator
    acts as are never admitted."""
    adoptable_accounts: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=64), SET] = ()
    """Existing service accounts that a CloudRunIdentity may adopt."""
    custom_roles: CustomRoleAdmission = CustomRoleAdmission()
    """Custom roles that may be defined."""
    keys: KeyAdmission = KeyAdmission.DENIED
    """Admission of user-managed keys: Denied or Allowed."""
    restore_to_default_account: bool = False
    """Permits an IdentityAttachment with deletionPolicy Restore to return a workload to the default account
    of the project. That account is an editor in many projects."""
    naming: Naming = Naming()
    """Rules for the names of service accounts."""
    max_removals_per_hour: Annotated[int, Field(ge=0, le=10000)] = 100
    """Number of grants that drift repair and Exclusive bindings may remove from the project's policies in an
    hour. Further removals wait."""
