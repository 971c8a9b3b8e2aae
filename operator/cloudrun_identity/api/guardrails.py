"""The guardrails of a ManagedProject: what a namespace may do in the project. Closed unless opened."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from .references import NamespaceName, ServiceAccountEmail, TargetKind, WorkloadKind
from .schema import SET, ApiModel, Rule

Glob = Annotated[str, Field(min_length=1, max_length=512)]
"""A pattern in which `*` alone is special and matches any run of characters."""


class GrantAdmission(ApiModel):
    """Grants that are allowed: those whose role, target, member and namespace this entry admits."""

    rules: ClassVar = (
        Rule(
            "!('Secret' in self.on) || has(self.names)",
            "must be set where on has Secret: secrets are admitted by name",
            field_path=".names",
            reason="FieldValueRequired",
        ),
    )

    roles: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET]
    """Role patterns. Basic roles (owner, editor, viewer) count only where they are listed literally."""
    on: Annotated[tuple[TargetKind, ...], Field(min_length=1, max_length=8), SET]
    """The kinds of targets. In YAML the key is written in quotes: a bare `on` is read as true."""
    names: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Patterns of the target's name (a project's ID, a service account's account ID). Unset: any."""
    members: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET]
    """Patterns of members: principals, `identity:NAMESPACE/NAME` for declared identities, `identities` for
    all of them. Public and type-wide members count only where they are listed literally."""
    namespaces: Annotated[tuple[NamespaceName, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Namespaces of the declaring object. Unset: every admitted one."""
    allow_escalation: bool = False
    """Whether roles are admitted whose permissions let their holder gain further ones."""
    exclusive: bool = False
    """Whether a binding may remove everybody else from the role."""


class WorkloadAdmission(ApiModel):
    """Workloads that namespaces may attach identities to or grant roles on."""

    namespaces: Annotated[tuple[NamespaceName, ...], Field(min_length=1, max_length=64), SET] | None = None
    """Namespaces of the declaring object. Unset: every admitted one."""
    kinds: Annotated[tuple[WorkloadKind, ...], Field(min_length=1, max_length=3), SET] = tuple(WorkloadKind)
    """The kinds of workloads."""
    locations: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] = ("*",)
    """Patterns of locations."""
    names: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=64), SET] = ("*",)
    """Patterns of names."""


class CustomRoleAdmission(ApiModel):
    """Custom roles that namespaces may define."""

    permissions: Annotated[tuple[Glob, ...], Field(max_length=256), SET] = ()
    """Patterns of permissions. Unset: none."""
    allow_escalation: bool = False
    """Whether permissions are admitted that let their holder gain further ones."""


class KeyAdmission(StrEnum):
    """Whether user-managed keys may be made."""

    DENIED = "Denied"
    ALLOWED = "Allowed"


class Naming(ApiModel):
    """What identities must be called."""

    account_id_pattern: Annotated[str, Field(max_length=256)] = ""
    """A pattern that account IDs must match, in which `*` is any run of characters. Empty: any."""
    require_display_name: bool = False
    """Whether displayName must be set."""
    require_description: bool = False
    """Whether description must be set."""


class Guardrails(ApiModel):
    """What the admitted namespaces may do in the project."""

    default_grants: bool = True
    """Whether the usual grants are allowed without an entry: use, impersonation and workload identity of a
    namespace's own identities, and roles/run.invoker on workloads it may use, never for public members."""
    grants: Annotated[tuple[GrantAdmission, ...], Field(max_length=64)] = ()
    """Grants that are allowed; a grant passes if one entry admits all of it."""
    workloads: Annotated[tuple[WorkloadAdmission, ...], Field(max_length=64)] = ()
    """Who may attach to or grant on which workload. Unset: anybody on any, only while a single namespace has
    the project."""
    accounts: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=64), SET] = ()
    """Service accounts that may be named by e-mail; never default accounts, never a credential account."""
    adoptable_accounts: Annotated[tuple[ServiceAccountEmail, ...], Field(max_length=64), SET] = ()
    """Existing service accounts that may be adopted."""
    custom_roles: CustomRoleAdmission = CustomRoleAdmission()
    """Custom roles that may be defined."""
    keys: KeyAdmission = KeyAdmission.DENIED
    """Whether user-managed keys may be made."""
    naming: Naming = Naming()
    """What identities must be called."""
    max_removals_per_hour: Annotated[int, Field(ge=0, le=10000)] = 100
    """How many grants drift repair and Exclusive bindings may remove in an hour; beyond it they wait."""
