"""What a policy may hold, by the kind of the resource that it is attached to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cloudrun_identity_playground.emulator.errors import invalid

from .members import PUBLIC, Member
from .role_table import BASIC_ROLES

MAX_PRINCIPALS = 1500
MAX_GROUPS = 250
MAX_CONDITIONS_OF_ONE_GRANT = 20


class ResourceKind(Enum):
    """What a policy is attached to, as far as it decides what the policy may hold."""

    ORGANIZATION = "organization"
    FOLDER = "folder"
    PROJECT = "project"
    SERVICE_ACCOUNT = "serviceAccount"
    RUN_SERVICE = "service"
    RUN_JOB = "job"
    RUN_WORKER_POOL = "workerPool"
    SECRET = "secret"  # noqa: S105 - a kind of resource

    @property
    def takes_conditions(self) -> bool:
        """Of Cloud Run, services alone take conditions; secrets do.

        https://cloud.google.com/iam/docs/resource-types-with-conditional-roles lists both.
        """
        return self not in (ResourceKind.RUN_JOB, ResourceKind.RUN_WORKER_POOL)

    @property
    def takes_public_members(self) -> bool:
        """Whether `allUsers` and `allAuthenticatedUsers` may be members."""
        return self in (ResourceKind.RUN_SERVICE, ResourceKind.SERVICE_ACCOUNT, ResourceKind.SECRET)

    @property
    def permission_prefix(self) -> str:
        """A role can be granted on the resource if one of its permissions begins so."""
        match self:
            case ResourceKind.ORGANIZATION | ResourceKind.FOLDER | ResourceKind.PROJECT:
                return ""
            case ResourceKind.SERVICE_ACCOUNT:
                return "iam.serviceAccount"
            case ResourceKind.SECRET:
                return "secretmanager."
            case ResourceKind.RUN_SERVICE | ResourceKind.RUN_JOB | ResourceKind.RUN_WORKER_POOL:
                return "run."


@dataclass
class Binding:
    """A role and a condition with their members, in the order they were written."""

    role: str
    condition: Any = None  # google.type.Expr
    members: list[Member] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, bytes]:
        """Bindings of one key are one binding."""
        condition = (
            self.condition.SerializeToString(deterministic=True) if self.condition is not None else b""
        )
        return self.role, condition


def check_limits(bindings: Sequence[Binding]) -> None:
    """Whether a policy may hold so many principals, groups and conditions.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    members = [member for binding in bindings for member in binding.members]
    if len(members) > MAX_PRINCIPALS:
        raise invalid(f"Policy members must be at most {MAX_PRINCIPALS}; the policy has {len(members)}.")
    groups = sum(isinstance(member, str) and member.startswith("group:") for member in members)
    if groups > MAX_GROUPS:
        raise invalid(f"Groups in a policy must be at most {MAX_GROUPS}; the policy has {groups}.")
    grants = Counter((binding.role, member) for binding in bindings for member in binding.members)
    if grants and max(grants.values()) > MAX_CONDITIONS_OF_ONE_GRANT:
        raise invalid(
            f"One role and member may stand in at most {MAX_CONDITIONS_OF_ONE_GRANT} conditional bindings."
        )


def check_binding(binding: Binding, kind: ResourceKind) -> None:
    """Whether the condition and the public members of `binding` are possible on such a resource.

    Raises GoogleError: INVALID_ARGUMENT.
    """
    _check_condition(binding, kind)
    _check_public_members(binding, kind)


def _check_condition(binding: Binding, kind: ResourceKind) -> None:
    if binding.condition is None:
        return
    if not kind.takes_conditions:
        raise invalid(f"Conditions are not supported on this resource; role '{binding.role}' has one.")
    if binding.role in BASIC_ROLES:
        raise invalid(f"Conditions cannot be set on the basic role '{binding.role}'.")
    if not binding.condition.expression:
        raise invalid(f"The condition of role '{binding.role}' has no expression.")


def _check_public_members(binding: Binding, kind: ResourceKind) -> None:
    if kind.takes_public_members:
        return
    for member in binding.members:
        if member in PUBLIC:
            raise invalid(f"Member {member} is not allowed on this resource (role '{binding.role}').")
