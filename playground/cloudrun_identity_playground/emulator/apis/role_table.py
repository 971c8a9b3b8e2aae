"""Predefined roles and custom roles with their permissions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from google.cloud import iam_admin_v1 as iam

from cloudrun_identity.iam.role_catalog import PredefinedRole, role_catalog
from cloudrun_identity_playground.emulator.errors import invalid

from .grantable_roles import is_grantable

BASIC_ROLES = frozenset({"roles/owner", "roles/editor", "roles/viewer"})


class RoleTable:
    """The roles that policies can name."""

    def __init__(self, ancestors: Callable[[str], Iterable[str]]) -> None:
        """`ancestors` returns the folders and organizations above a resource, and the resource's own."""
        self._ancestors = ancestors
        self._custom: dict[str, iam.Role] = {}
        self._later: dict[str, PredefinedRole] = {}
        self._permissions: dict[str, frozenset[str]] = {}  # of roles that were used; needed at every call

    @property
    def custom(self) -> Mapping[str, iam.Role]:
        """Return the custom roles by their full name, including deleted ones."""
        return self._custom

    def store(self, role: iam.Role) -> None:
        """Store a custom role."""
        idle = role.deleted or role.stage == iam.Role.RoleLaunchStage.DISABLED
        self._custom[role.name] = role
        self._permissions[role.name] = frozenset(() if idle else role.included_permissions)

    def add_predefined(self, role: PredefinedRole) -> None:
        """Add a role that Google has and the catalog of the emulator does not have."""
        self._later[role.name] = role

    def predefined(self, role: str) -> PredefinedRole | None:
        """Return the predefined role of this name."""
        return self._later.get(role) or role_catalog().get(role)

    def all_predefined(self) -> Mapping[str, PredefinedRole]:
        """Return the predefined roles by name."""
        return {**role_catalog(), **self._later} if self._later else role_catalog()

    def permissions(self, role: str) -> frozenset[str]:
        """Return the permissions of a role; none if it is unknown, deleted or disabled."""
        known = self._permissions.get(role)
        if known is None:
            predefined = self.predefined(role)
            known = self._permissions[role] = frozenset(predefined.permissions if predefined else ())
        return known

    def check_grantable(self, role: str, resource: str, permission_prefix: str) -> None:
        """Check that `role` exists and can be granted on `resource`.

        Raises GoogleError: INVALID_ARGUMENT.
        """
        if role.startswith("roles/"):
            on_project = resource.startswith("projects/")
            if not is_grantable(role, self.predefined(role), permission_prefix, on_project=on_project):
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
