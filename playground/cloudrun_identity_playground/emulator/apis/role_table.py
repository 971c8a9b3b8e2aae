"""Predefined roles and custom roles with their permissions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from google.cloud import iam_admin_v1 as iam

from cloudrun_identity.iam.role_catalog import role_catalog
from cloudrun_identity_playground.emulator.errors import invalid

from .grantable_roles import is_grantable

BASIC_ROLES = frozenset({"roles/owner", "roles/editor", "roles/viewer"})


@cache
def _predefined_permissions(role: str) -> frozenset[str]:
    known = role_catalog().get(role)
    return frozenset(known.permissions) if known is not None else frozenset()


class RoleTable:
    """The roles that policies can name."""

    def __init__(self, ancestors: Callable[[str], Iterable[str]]) -> None:
        """`ancestors` returns the folders and organizations above a resource, and the resource's own."""
        self._ancestors = ancestors
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
            if not is_grantable(role, permission_prefix, on_project=resource.startswith("projects/")):
                raise invalid(f"Role {role} is not supported for this resource.")
        elif role.startswith("projects/") or re.fullmatch(
            r"organizations/\d+/roles/[A-Za-z0-9_.]{3,64}", role
        ):
            self._check_custom(role, resource)
        else:
            raise invalid(f"Role {role} is not supported for this resource.")

    def _check_custom(self, role: str, resource: str) -> None:
        """Check that a custom role exists in the project of the resource, or in an organization above it."""
        holder = role.partition("/roles/")[0]
        if role not in self._custom or holder not in self._ancestors(resource):
            raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
