"""Custom roles of projects, in the IAM API.

A deleted role can be undeleted for 7 days, with its bindings. Its id stays in use for 37 days
(https://cloud.google.com/iam/docs/creating-custom-roles#deleting-custom-role).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf import field_mask_pb2

from cloudrun_identity.iam.permission_forms import lacking

from .clients import ProjectClients
from .collection import CachedCollection
from .libraries import iam_admin_v1
from .service_client import iam_service
from .single_flight_cache import Clock, SingleFlightCache

UNDELETE_WITHIN = timedelta(days=7)
ID_TAKEN_FOR = timedelta(days=37)

SUPPORT_MAX_AGE = 3600.0
"""Maximum age in seconds of the list of supported permissions, which has thousands of entries."""

_PAGE_SIZE = 1000  # the maximum that Google serves


@dataclass(frozen=True, slots=True)
class CustomRoleState:
    """A custom role as Google shows it."""

    name: str
    """Full name (`projects/P/roles/R`)."""

    title: str
    """Title."""

    description: str
    """Description."""

    stage: str
    """Launch stage, such as GA or BETA."""

    permissions: frozenset[str]
    """Permissions that the role includes."""

    etag: bytes
    """Version. A write with an older etag is ABORTED."""

    deleted: bool = False
    """True if the role is deleted. It grants nothing until it is undeleted."""

    @property
    def role_id(self) -> str:
        """Id of the role: the last segment of its name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class RoleFields:
    """Fields of a role to write."""

    title: str | None
    """Title; None keeps the current one."""

    description: str | None
    """Description; None keeps the current one."""

    stage: str
    """Launch stage."""

    permissions: frozenset[str]
    """Permissions that the role includes."""


class CustomRoles:
    """Role methods of the IAM API, for roles of projects. Every method raises GoogleError."""

    def __init__(self, clients: ProjectClients, clock: Clock) -> None:
        self._iam = iam_service(clients)
        self._clock = clock
        self._projects: dict[str, CachedCollection[CustomRoleState]] = {}
        self._support: dict[str, SingleFlightCache[frozenset[str]]] = {}

    async def role(self, project_id: str, role_id: str, max_age: float) -> CustomRoleState | None:
        """Return the role, deleted or not, at most `max_age` seconds old; None if it does not exist."""
        return await self._roles_of(project_id).one(role_id, max_age)

    async def roles(self, project_id: str, max_age: float) -> Mapping[str, CustomRoleState]:
        """Return every role of the project by id, including deleted ones."""
        return await self._roles_of(project_id).all(max_age)

    def invalidate(self, project_id: str, role_id: str) -> None:
        """Record that another client just wrote the role. Older reads of it no longer count."""
        self._roles_of(project_id).invalidate(role_id)

    async def unsupported(self, project_id: str, permissions: frozenset[str]) -> frozenset[str]:
        """Return those of the permissions that custom roles of the project cannot include.

        The list of supported permissions is at most SUPPORT_MAX_AGE old. If Google returns an empty list, no
        permission counts as unsupported.
        """
        if project_id not in self._support:
            self._support[project_id] = SingleFlightCache(lambda: self._supported(project_id), self._clock)
        reading = await self._support[project_id].get(self._clock() - SUPPORT_MAX_AGE)
        return lacking(permissions, reading.value) if reading.value else frozenset()

    async def create(self, project_id: str, role_id: str, fields: RoleFields) -> CustomRoleState:
        """Create a role. ALREADY_EXISTS or FAILED_PRECONDITION if a role, deleted or not, has its id."""
        request = iam_admin_v1.CreateRoleRequest(
            parent=f"projects/{project_id}", role_id=role_id, role=_message(fields)
        )
        return await self._write(project_id, role_id, "create_role", request)

    async def update(self, project_id: str, role_id: str, fields: RoleFields, etag: bytes) -> CustomRoleState:
        """Update the role. ABORTED if its etag has changed."""
        role = _message(fields)
        role.etag = etag
        request = iam_admin_v1.UpdateRoleRequest(
            name=_name(project_id, role_id),
            role=role,
            update_mask=field_mask_pb2.FieldMask(paths=_mask(fields)),
        )
        return await self._write(project_id, role_id, "update_role", request)

    async def delete(self, project_id: str, role_id: str, etag: bytes) -> CustomRoleState:
        """Delete the role. It can be undeleted."""
        request = iam_admin_v1.DeleteRoleRequest(name=_name(project_id, role_id), etag=etag)
        return await self._write(project_id, role_id, "delete_role", request)

    async def undelete(self, project_id: str, role_id: str, etag: bytes) -> CustomRoleState:
        """Restore a deleted role and its bindings."""
        request = iam_admin_v1.UndeleteRoleRequest(name=_name(project_id, role_id), etag=etag)
        return await self._write(project_id, role_id, "undelete_role", request)

    def _roles_of(self, project_id: str) -> CachedCollection[CustomRoleState]:
        if project_id not in self._projects:

            async def read_all() -> Mapping[str, CustomRoleState]:
                return {role.role_id: role for role in await self._list(project_id)}

            async def read_one(role_id: str) -> CustomRoleState:
                request = iam_admin_v1.GetRoleRequest(name=_name(project_id, role_id))
                return _state(await self._iam.call(project_id, "get_role", request))

            self._projects[project_id] = CachedCollection(read_all, read_one, self._clock)
        return self._projects[project_id]

    async def _list(self, project_id: str) -> list[CustomRoleState]:
        found: list[CustomRoleState] = []
        request = iam_admin_v1.ListRolesRequest(
            parent=f"projects/{project_id}",
            page_size=_PAGE_SIZE,
            view=iam_admin_v1.RoleView.FULL,
            show_deleted=True,
        )
        while True:
            page = await self._iam.call(project_id, "list_roles", request)
            found += [_state(role) for role in page.roles]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def _supported(self, project_id: str) -> frozenset[str]:
        found: set[str] = set()
        not_supported = iam_admin_v1.Permission.CustomRolesSupportLevel.NOT_SUPPORTED
        request = iam_admin_v1.QueryTestablePermissionsRequest(
            full_resource_name=f"//cloudresourcemanager.googleapis.com/projects/{project_id}",
            page_size=_PAGE_SIZE,
        )
        while True:
            page = await self._iam.call(project_id, "query_testable_permissions", request)
            # The plain messages: a project has thousands of permissions, and proto-plus wraps each one.
            found |= {
                each.name for each in page.permissions.pb if each.custom_roles_support_level != not_supported
            }
            if not page.next_page_token:
                return frozenset(found)
            request.page_token = page.next_page_token

    async def _write(self, project_id: str, role_id: str, method: str, request: Any) -> CustomRoleState:
        try:
            has_etag = method != "create_role"
            return _state(await self._iam.call(project_id, method, request, has_etag=has_etag))
        finally:  # a failed write may have taken effect
            self._roles_of(project_id).invalidate(role_id)


def _name(project_id: str, role_id: str) -> str:
    return f"projects/{project_id}/roles/{role_id}"


def _message(fields: RoleFields) -> "iam_admin_v1.Role":
    return iam_admin_v1.Role(
        title=fields.title or "",
        description=fields.description or "",
        stage=fields.stage,
        included_permissions=sorted(fields.permissions),
    )


def _mask(fields: RoleFields) -> list[str]:
    texts = {"title": fields.title, "description": fields.description}
    return [*(field for field, text in texts.items() if text is not None), "stage", "included_permissions"]


def _state(message: "iam_admin_v1.Role") -> CustomRoleState:
    return CustomRoleState(
        name=message.name,
        title=message.title,
        description=message.description,
        stage=iam_admin_v1.Role.RoleLaunchStage(message.stage).name,
        permissions=frozenset(message.included_permissions),
        etag=message.etag,
        deleted=message.deleted,
    )
