"""Predefined roles and custom roles with their permissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from google.cloud import iam_admin_v1 as iam

from cloudrun_identity_playground.emulator.errors import invalid

BASIC_ROLES = frozenset({"roles/owner", "roles/editor", "roles/viewer"})

# Nearly every Google API has such a role for its service agent, and real policies contain many of them.
_SERVICE_AGENT = re.compile(r"roles/[A-Za-z0-9]+\.(?:[A-Za-z0-9]+S|[sS])erviceAgent")


@dataclass(frozen=True)
class PredefinedRole:
    """A role that Google maintains. `permissions` is empty if the table does not list them."""

    name: str
    title: str
    permissions: tuple[str, ...]


@cache
def predefined_roles() -> Mapping[str, PredefinedRole]:
    """Return the predefined roles that the emulator knows, by name (`roles/run.admin`)."""
    text = resources.files(__package__).joinpath("predefined_roles.yaml").read_text()
    table: dict[str, PredefinedRole] = {}
    for name, entry in yaml.safe_load(text).items():
        included = (
            permission for role in entry.get("includes", ()) for permission in table[role].permissions
        )
        permissions = {*included, *entry.get("permissions", ())}
        table[name] = PredefinedRole(name, entry["title"], tuple(sorted(permissions)))
    return table


@cache
def _predefined_permissions(role: str) -> frozenset[str]:
    known = predefined_roles().get(role)
    return frozenset(known.permissions) if known is not None else frozenset()


class RoleTable:
    """The roles that policies can name."""

    def __init__(self) -> None:
        self._custom: dict[str, iam.Role] = {}
        self._permissions: dict[str, frozenset[str]] = {}  # of the custom roles; used at every call

    @property
    def custom(self) -> Mapping[str, iam.Role]:
        """Return the custom roles by their full name, including deleted ones."""
        return self._custom

    def store(self, role: iam.Role) -> None:
        """Store a custom role."""
        idle = role.deleted or role.stage == iam.Role.RoleLaunchStage.DISABLED
        self._custom[role.name] = role
        self._permissions[role.name] = frozenset(() if idle else role.included_permissions)

    def permissions(self, role: str) -> frozenset[str]:
        """Return the permissions of a role; none if it is unknown, deleted or disabled."""
        custom = self._permissions.get(role)
        return _predefined_permissions(role) if custom is None else custom

    def check_grantable(self, role: str, resource: str, permission_prefix: str) -> None:
        """Check that `role` exists and can be granted on `resource`.

        Raises GoogleError: INVALID_ARGUMENT.
        """
        if role.startswith("roles/"):
            self._check_predefined(role, permission_prefix)
        elif role.startswith("projects/"):
            self._check_custom(role, resource)
        elif not re.fullmatch(r"organizations/\d+/roles/[A-Za-z0-9_.]{3,64}", role):
            raise invalid(f"Role {role} is not supported for this resource.")

    def _check_predefined(self, role: str, permission_prefix: str) -> None:
        known = predefined_roles().get(role)
        if known is None and not _SERVICE_AGENT.fullmatch(role):
            raise invalid(f"Role {role} is not supported for this resource.")
        permissions = known.permissions if known is not None else ()
        if permission_prefix and not any(each.startswith(permission_prefix) for each in permissions):
            raise invalid(f"Role {role} is not supported for this resource.")

    def _check_custom(self, role: str, resource: str) -> None:
        project = "/".join(resource.split("/")[:2])
        if role not in self._custom or not role.startswith(f"{project}/roles/"):
            raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
