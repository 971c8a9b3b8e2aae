"""Entries of a CloudRunIdentity that declare grants: roles of the identity, and principals that act as it."""

from typing import Annotated, ClassVar

from pydantic import Field

from .expiry import TEMPORARY_GRANT_RULES, TemporaryGrantFields
from .members import Member, Principal
from .references import (
    CONDITIONS_WHERE_ACCEPTED,
    EXPIRY_BY_GOOGLE_WHERE_ACCEPTED,
    NO_CONDITION_ON_BASIC_ROLES,
    BindingCondition,
    CustomRoleRef,
    NamespaceName,
    ObjectName,
    ProjectRef,
    Role,
    TargetRef,
)
from .schema import ApiModel, Rule, exactly_one_of, matches


class RoleGrant(TemporaryGrantFields):
    """RoleGrant is a role that the identity is granted on a target."""

    rules: ClassVar = (
        exactly_one_of("role", "customRoleRef"),
        CONDITIONS_WHERE_ACCEPTED,
        NO_CONDITION_ON_BASIC_ROLES,
        *TEMPORARY_GRANT_RULES,
        EXPIRY_BY_GOOGLE_WHERE_ACCEPTED,
    )

    role: Role | None = None
    """Full name of the role, such as roles/cloudsql.client."""
    custom_role_ref: CustomRoleRef | None = None
    """CustomRole in the same namespace."""
    target: TargetRef | None = None
    """Resource that the role is granted on. If unset, the project."""
    project_ref: ProjectRef | None = None
    """ManagedProject of the target. If unset, the identity's own."""
    condition: BindingCondition | None = None
    """IAM condition of the grant. If unset, the grant is unconditional."""


class KubernetesServiceAccount(ApiModel):
    """KubernetesServiceAccount is a service account in a GKE cluster with Workload Identity."""

    project_ref: ProjectRef
    """ManagedProject of the cluster."""
    namespace: Annotated[
        NamespaceName, matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be the name of a namespace")
    ]
    """Namespace of the Kubernetes service account in the cluster."""
    service_account: Annotated[
        ObjectName,
        matches(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "must be the name of a Kubernetes service account"),
    ]
    """Name of the Kubernetes service account."""


class WorkloadIdentityUser(TemporaryGrantFields):
    """WorkloadIdentityUser is a principal outside Cloud Run that may act as the identity."""

    rules: ClassVar = (exactly_one_of("kubernetes", "principal"), *TEMPORARY_GRANT_RULES)

    kubernetes: KubernetesServiceAccount | None = None
    """Kubernetes service account that may act as the identity."""
    principal: Principal | None = None
    """Principal as IAM writes it, such as `principal://…`."""


class UsableFrom(ApiModel):
    """UsableFrom is a project whose Cloud Run workloads may run as the identity."""

    project_ref: ProjectRef
    """ManagedProject of the workloads."""


NO_PUBLIC_MEMBERS = Rule(
    "self.all(m, !has(m.principal) || !(m.principal in ['allUsers', 'allAuthenticatedUsers']))",
    "must not contain allUsers or allAuthenticatedUsers: every caller could act as the service account",
    reason="FieldValueForbidden",
)

Users = Annotated[tuple[Member, ...], Field(max_length=64), NO_PUBLIC_MEMBERS]
"""Members that act as the identity."""
