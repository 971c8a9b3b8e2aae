"""Rules for the content of a policy, by the kind of its resource."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeGuard

from cloudrun_identity.api import TargetKindDescriptor
from cloudrun_identity_playground.emulator.access.conditions import problem_of
from cloudrun_identity_playground.emulator.errors import invalid

from .members import PUBLIC, Member
from .role_table import BASIC_ROLES

MAX_PRINCIPALS = 1500
MAX_GROUPS = 250
MAX_CONDITIONS_OF_ONE_GRANT = 20


class PolicyRules(Protocol):
    """Rules for the content of the policy of a resource."""

    @property
    def takes_conditions(self) -> bool:
        """True if bindings may have conditions."""

    @property
    def takes_public_members(self) -> bool:
        """True if `allUsers` and `allAuthenticatedUsers` may be members."""

    @property
    def permission_prefix(self) -> str:
        """Prefix that at least one permission of a role must have to be granted on the resource."""


@dataclass(frozen=True)
class TargetRules:
    """Rules for a resource of a target kind, from the table of kinds."""

    descriptor: TargetKindDescriptor
    has_object_acls: bool = False
    """True for a bucket without uniform bucket-level access."""

    @property
    def takes_conditions(self) -> bool:
        """True if bindings may have conditions. On a bucket, they require uniform bucket-level access.

        https://cloud.google.com/storage/docs/access-control/iam#conditions
        """
        return self.descriptor.accepts_conditions and not self.has_object_acls

    @property
    def takes_public_members(self) -> bool:
        """True if `allUsers` and `allAuthenticatedUsers` may be members."""
        return self.descriptor.accepts_public_members

    @property
    def permission_prefix(self) -> str:
        """Prefix that at least one permission of a role must have to be granted on the resource."""
        return f"{self.descriptor.permission_prefix.partition('.')[0]}."


class ResourceKind(Enum):
    """The kind of resource that a policy belongs to, for the APIs that are emulated one by one."""

    ORGANIZATION = "organization"
    FOLDER = "folder"
    PROJECT = "project"
    SERVICE_ACCOUNT = "serviceAccount"
    RUN_SERVICE = "service"
    RUN_JOB = "job"
    RUN_WORKER_POOL = "workerPool"

    @property
    def takes_conditions(self) -> bool:
        """True if bindings may have conditions. In Cloud Run, only services' may.

        Source: https://cloud.google.com/iam/docs/resource-types-with-conditional-roles
        """
        return self not in (ResourceKind.RUN_JOB, ResourceKind.RUN_WORKER_POOL)

    @property
    def takes_public_members(self) -> bool:
        """True if `allUsers` and `allAuthenticatedUsers` may be members."""
        return self in (ResourceKind.RUN_SERVICE, ResourceKind.SERVICE_ACCOUNT)

    @property
    def permission_prefix(self) -> str:
        """Prefix that at least one permission of a role must have to be granted on the resource."""
        match self:
            case ResourceKind.ORGANIZATION | ResourceKind.FOLDER | ResourceKind.PROJECT:
                return ""
            case ResourceKind.SERVICE_ACCOUNT:
                return "iam.serviceAccount"
            case ResourceKind.RUN_SERVICE | ResourceKind.RUN_JOB | ResourceKind.RUN_WORKER_POOL:
                return "run."


@dataclass
class Binding:
    """A role and a condition with their members, in the order of the write."""

    role: str
    condition: Any = None  # google.type.Expr
    members: list[Member] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, bytes]:
        """Key of the binding; bindings with the same key are merged."""
        condition = (
            self.condition.SerializeToString(deterministic=True) if self.condition is not None else b""
        )
        return self.role, condition


def check_limits(
    bindings: Sequence[Binding], named: Callable[[Member], Member], audit_configs: Iterable[Any] = ()
) -> None:
    """Check the numbers of principals, groups and conditions in a policy, counted as Google Cloud counts.

    A principal counts once for each of its role bindings, and also if it is exempted from audit logging. A
    group counts once, and a domain once for each of its role bindings:
    https://cloud.google.com/iam/docs/allow-policies#limits-all-principals. The message about principals is
    that of terraform-provider-google issue 25093.

    Only bindings with conditions count against their limit for one role and member:
    https://cloud.google.com/iam/quotas.

    `named` returns a known user or group by its address.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    members = [named(member) for binding in bindings for member in binding.members]
    exempted = [
        member
        for config in audit_configs
        for log in config.audit_log_configs
        for member in log.exempted_members
    ]
    principals = len(members) + len(exempted)
    if principals > MAX_PRINCIPALS:
        raise invalid(
            f"The number of members in the policy ({principals:,}) is larger than the maximum allowed size "
            f"{MAX_PRINCIPALS:,}."
        )
    groups = len({member.lower() for member in members if _has_prefix(member, "group:")})
    groups += sum(_has_prefix(member, "domain:") for member in members)
    if groups > MAX_GROUPS:
        raise invalid(f"Groups in a policy must be at most {MAX_GROUPS}; the policy has {groups}.")
    grants = Counter(
        (binding.role, member)
        for binding in bindings
        if binding.condition is not None
        for member in binding.members
    )
    if grants and max(grants.values()) > MAX_CONDITIONS_OF_ONE_GRANT:
        raise invalid(
            f"One role and member may be in at most {MAX_CONDITIONS_OF_ONE_GRANT} conditional bindings."
        )


def _has_prefix(member: Member, prefix: str) -> TypeGuard[str]:
    return isinstance(member, str) and member.startswith(prefix)


def check_binding(binding: Binding, kind: PolicyRules) -> None:
    """Check that the condition and public members of `binding` are allowed on such a resource.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    _check_condition(binding, kind)
    _check_public_members(binding, kind)


def _check_condition(binding: Binding, kind: PolicyRules) -> None:
    if binding.condition is None:
        return
    if not kind.takes_conditions:
        raise invalid(f"Conditions are not supported on this resource; role '{binding.role}' has one.")
    if binding.role in BASIC_ROLES:
        raise invalid(f"Conditions cannot be set on the basic role '{binding.role}'.")
    if public := [member for member in binding.members if member in PUBLIC]:
        # https://cloud.google.com/iam/docs/conditions-overview, “Conditions in allow policies”
        raise invalid(f"Conditions cannot be set for {public[0]} (role '{binding.role}').")
    if not binding.condition.expression:
        raise invalid(f"The condition of role '{binding.role}' has no expression.")
    if problem := problem_of(binding.condition.expression):
        raise invalid(f"Invalid condition of role '{binding.role}': {problem}")


def _check_public_members(binding: Binding, kind: PolicyRules) -> None:
    if kind.takes_public_members:
        return
    for member in binding.members:
        if member in PUBLIC:
            raise invalid(f"Member {member} is not allowed on this resource (role '{binding.role}').")
