"""IAM v1: predefined roles, and custom roles."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from functools import cache

from google.cloud import iam_admin_v1 as iam

from cloudrun_identity.iam.permission_forms import plain
from cloudrun_identity.iam.role_catalog import PredefinedRole, role_catalog
from cloudrun_identity_playground.emulator.errors import (
    aborted,
    already_exists,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
)

from .grantable_roles import is_grantable
from .paging import page, page_size
from .policy_rules import TargetRules
from .projects import ProjectRegistry
from .role_table import RoleTable
from .rpc import serves
from .target_names import target_name

MAX_CUSTOM_ROLES = 300
MAX_PERMISSIONS = 3000
UNDELETE_WITHIN = 7 * 24 * 3600
"""Seconds during which a deleted role can be undeleted. Its id stays reserved for longer."""

_ID = re.compile(r"[A-Za-z0-9_.]{3,64}")
_PREDEFINED_ETAG = base64.b64decode("AA==")
_PREFIXES: Mapping[str, str] = {
    "serviceAccounts": "iam.serviceAccount",
    **dict.fromkeys(("services", "jobs", "workerPools"), "run."),
}
"""Permissions of the resources in a collection; those of projects and above have any."""
# "Custom roles" in https://cloud.google.com/iam/quotas, read in November 2026.
_SIZE = 64 << 10  # bytes of title, description and permissions
_Support = iam.Permission.CustomRolesSupportLevel
_LONGEST: Mapping[str, int] = {"title": 100, "description": 300}
_CHANGEABLE = ("title", "description", "included_permissions", "stage")


class Roles:
    """The roles of `google.iam.admin.v1.IAM`. Deleted custom roles remain, marked as deleted."""

    def __init__(self, projects: ProjectRegistry, table: RoleTable, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._table = table
        self._custom = table.custom
        self._clock = clock
        self._deleted_at: dict[str, float] = {}

    @serves("google.iam.admin.v1.IAM/GetRole")
    def get(self, request: iam.GetRoleRequest) -> iam.Role:
        """Return a predefined or custom role with its permissions."""
        predefined = self._table.predefined(request.name)
        return _message(predefined, full=True) if predefined is not None else self._find(request.name)

    @serves("google.iam.admin.v1.IAM/ListRoles")
    def list(self, request: iam.ListRolesRequest) -> iam.ListRolesResponse:
        """List the predefined roles, or a parent's custom roles; with permissions only in the FULL view."""
        full = request.view == iam.RoleView.FULL
        size = page_size(request.page_size, 300, 1000)
        if not request.parent:
            predefined, token = page(self._table.all_predefined(), request.page_token, size)
            messages = [_message(role, full=full) for role in predefined]
            return iam.ListRolesResponse(roles=messages, next_page_token=token)
        roles = self._custom_of(request.parent)
        listed = {name: role for name, role in roles.items() if request.show_deleted or not role.deleted}
        shown, token = page(listed, request.page_token, size)
        return iam.ListRolesResponse(
            roles=[role if full else _basic(role) for role in shown], next_page_token=token
        )

    @serves("google.iam.admin.v1.IAM/CreateRole")
    def create(self, request: iam.CreateRoleRequest) -> iam.Role:
        """Create a custom role; the id of a deleted one is reserved."""
        parent = self._parent(request.parent)
        if not _ID.fullmatch(request.role_id):
            raise invalid(
                f"Invalid role ID '{request.role_id}': it has 3 to 64 characters of A-Z, a-z, 0-9, _ and ."
            )
        name = f"{parent}/roles/{request.role_id}"
        if name in self._custom:
            if self._custom[name].deleted:
                raise failed_precondition(
                    f"You can't create a role_id ({request.role_id}) which has been marked for deletion."
                )
            raise already_exists(f"A role named {request.role_id} in {parent} already exists.")
        if len(self._custom_of(parent)) >= MAX_CUSTOM_ROLES:
            # As users report it (https://github.com/winglang/wing/issues/5236).
            raise exhausted(f"Maximum number of roles reached. Maximum is: {MAX_CUSTOM_ROLES}")
        role = iam.Role(request.role)
        role.name = name
        _check(role)
        role.deleted = False
        return self._store(role)

    @serves("google.iam.admin.v1.IAM/UpdateRole")
    def update(self, request: iam.UpdateRoleRequest) -> iam.Role:
        """Change the fields in the mask, or all mutable fields, of a custom role."""
        role = iam.Role(self._find(request.name))
        _check_present(role, "update")
        _check_etag(request.role.etag, role)
        for field in request.update_mask.paths or _CHANGEABLE:
            if field not in _CHANGEABLE:
                raise invalid(f"Invalid field mask path '{field}' of a role.")
            setattr(role, field, getattr(request.role, field))
        _check(role)
        return self._store(role)

    @serves("google.iam.admin.v1.IAM/DeleteRole")
    def delete(self, request: iam.DeleteRoleRequest) -> iam.Role:
        """Mark a custom role as deleted."""
        role = iam.Role(self._find(request.name))
        _check_present(role, "delete")
        _check_etag(request.etag, role)
        role.deleted = True
        self._deleted_at[role.name] = self._clock()
        return self._store(role)

    @serves("google.iam.admin.v1.IAM/UndeleteRole")
    def undelete(self, request: iam.UndeleteRoleRequest) -> iam.Role:
        """Restore a custom role."""
        role = iam.Role(self._find(request.name))
        _check_etag(request.etag, role)
        if not role.deleted:
            raise failed_precondition(f"The role {role.name} is not deleted.")
        if self._clock() > self._deleted_at[role.name] + UNDELETE_WITHIN:
            raise failed_precondition(f"The role {role.name} was deleted too long ago to be undeleted.")
        role.deleted = False
        return self._store(role)

    @serves("google.iam.admin.v1.IAM/QueryGrantableRoles")
    def grantable_roles(self, request: iam.QueryGrantableRolesRequest) -> iam.QueryGrantableRolesResponse:
        """List the predefined roles that can be granted on a resource."""
        name = request.full_resource_name
        prefix = _prefix_of(name)
        on_project = "/projects/" in name
        found = {
            role.name: role
            for role in self._table.all_predefined().values()
            if is_grantable(role.name, role, prefix, on_project=on_project)
        }
        shown, token = page(found, request.page_token, page_size(request.page_size, 300, 1000))
        full = request.view == iam.RoleView.FULL
        roles = [_message(role, full=full) for role in shown]
        return iam.QueryGrantableRolesResponse(roles=roles, next_page_token=token)

    @serves("google.iam.admin.v1.IAM/QueryTestablePermissions")
    def testable_permissions(
        self, request: iam.QueryTestablePermissionsRequest
    ) -> iam.QueryTestablePermissionsResponse:
        """List the permissions of a resource, and whether custom roles may have them."""
        of_project = "/projects/" in request.full_resource_name
        prefix = _prefix_of(request.full_resource_name)
        names = _testable(prefix)
        shown, token = page(names, request.page_token, page_size(request.page_size, 100, 1000))
        response = iam.QueryTestablePermissionsResponse(next_page_token=token)
        permissions = iam.QueryTestablePermissionsResponse.pb(response).permissions
        for name in shown:
            level = _Support.NOT_SUPPORTED if of_project and _is_beyond_projects(name) else _Support.SUPPORTED
            permissions.add(name=name, custom_roles_support_level=level)
        return response

    def _find(self, name: str) -> iam.Role:
        parent, separator, role_id = name.rpartition("/roles/")
        canonical = f"{self._parent(parent)}/roles/{role_id}" if separator else name
        if canonical not in self._custom:
            raise not_found(f"The role named {name} was not found.")
        return self._custom[canonical]

    def _store(self, role: iam.Role) -> iam.Role:
        role.etag = secrets.token_bytes(8)
        self._table.store(role)
        return role

    def _custom_of(self, parent: str) -> dict[str, iam.Role]:
        prefix = f"{self._parent(parent)}/roles/"
        return {name: role for name, role in self._custom.items() if name.startswith(prefix)}

    def _parent(self, parent: str) -> str:
        if re.fullmatch(r"organizations/\d+", parent):
            return parent
        return self._projects.canonical(parent)


@cache
def _testable(prefix: str) -> Mapping[str, str]:
    """Return a map of the permissions with a prefix to themselves, for a quick look-up."""
    return {name: name for name in role_catalog().permissions if name.startswith(prefix)}


def _prefix_of(full_resource_name: str) -> str:
    """Return the prefix of the permissions of a resource; empty for projects and what contains them."""
    host, _, name = full_resource_name.removeprefix("//").partition("/")
    if target := target_name(name, host=host):
        return TargetRules(target.descriptor).permission_prefix
    return next((each for part, each in _PREFIXES.items() if f"/{part}/" in name), "")


def _message(role: PredefinedRole, *, full: bool) -> iam.Role:
    return iam.Role(
        name=role.name,
        title=role.title,
        included_permissions=role.permissions if full else (),
        stage=role.stage,
        etag=_PREDEFINED_ETAG,
    )


def _basic(role: iam.Role) -> iam.Role:
    shown = iam.Role(role)
    shown.included_permissions = []
    return shown


def _check(role: iam.Role) -> None:
    for field, longest in _LONGEST.items():
        if len(getattr(role, field).encode()) > longest:
            raise invalid(f"The {field} of a role has at most {longest} bytes.")
    if len(role.included_permissions) > MAX_PERMISSIONS:
        raise invalid(f"A role has at most {MAX_PERMISSIONS} permissions.")
    if sum(len(text.encode()) for text in (role.title, role.description, *role.included_permissions)) > _SIZE:
        raise invalid(f"A role has at most {_SIZE} bytes in all.")
    of_project = role.name.startswith("projects/")
    for permission in role.included_permissions:
        if not _exists(permission) or (of_project and _is_beyond_projects(permission)):
            raise invalid(f"Permission {permission} is not valid.")


def _exists(permission: str) -> bool:
    """Return whether a predefined role has the permission, with or without the domain of its service.

    Google refuses others (https://github.com/hashicorp/terraform-provider-google/issues/14033).
    """
    return plain(permission) in _known_permissions()


@cache
def _known_permissions() -> frozenset[str]:
    return frozenset(map(plain, role_catalog().permissions))


def _is_beyond_projects(permission: str) -> bool:
    """Return whether a permission applies above projects only, so that projects' roles cannot have it."""
    return permission == "resourcemanager.projects.list" or permission.startswith(
        ("resourcemanager.folders.", "resourcemanager.organizations.")
    )


def _check_present(role: iam.Role, verb: str) -> None:
    """Check that a role is not deleted. A deleted one can only be undeleted.

    https://github.com/hashicorp/terraform-provider-google/pull/1681

    Raises GoogleError: FAILED_PRECONDITION.
    """
    if role.deleted:
        role_id = role.name.rpartition("/")[2]
        raise failed_precondition(f"You can't {verb} role_id ({role_id}) which has been marked for deletion.")


def _check_etag(sent: bytes, role: iam.Role) -> None:
    if sent and sent != role.etag:
        raise aborted(
            "There were concurrent changes to the role. Please retry the whole read-modify-write with "
            "exponential backoff."
        )
