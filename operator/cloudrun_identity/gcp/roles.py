"""Permissions of roles, in the IAM API."""

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .clients import ProjectClients
from .libraries import iam_admin_v1
from .service_client import iam_service
from .single_flight_cache import Clock, KeyedSingleFlightCache

CACHE_SIZE = 1000
"""Maximum number of roles whose permissions are cached."""


@dataclass(slots=True)
class _RoleUpdate:
    """A write of the operator to a custom role."""

    permissions: frozenset[str]
    """Permissions before and after the write."""

    ended: bool = False
    """True after the write. A read that starts now shows its result."""


class Roles:
    """Permissions of predefined roles (`roles/…`) and of custom roles of projects and organizations."""

    def __init__(
        self, clients: ProjectClients, clock: Clock = time.monotonic, *, reads_once: bool = False
    ) -> None:
        """With `reads_once`, no role is read twice, whatever age the callers accept."""
        self._reads_once = reads_once
        self._iam = iam_service(clients)
        self._permissions: KeyedSingleFlightCache[tuple[str, str], frozenset[str]] = KeyedSingleFlightCache(
            clock, CACHE_SIZE
        )
        self._assumed: dict[tuple[str, str], frozenset[str]] = {}
        self._updates: dict[tuple[str, str], _RoleUpdate] = {}
        self._last_read: dict[tuple[str, str], frozenset[str]] = {}
        self._changes: Counter[tuple[str, str]] = Counter()

    async def permissions(self, role: str, project_id: str, max_age: float = 600.0) -> frozenset[str]:
        """Return the permissions of a role, at most `max_age` seconds old, read as the project's credential.

        A deleted custom role keeps its permissions, because an undelete restores its bindings.

        Raises:
            GoogleError: NOT_FOUND: the role does not exist. INVALID_ARGUMENT: the name is not a role name.

        """
        key = _key(role, project_id)
        if key in self._assumed:
            return self._assumed[key]
        age = math.inf if self._reads_once else max_age
        while True:
            permissions = await self._permissions.get(key, lambda: self._read(key, project_id), age)
            if self.cached(role, project_id) is not None:
                return permissions
            # The operator wrote the role in the meantime, so the reading is outdated.

    def forget(self, role: str, project_id: str) -> None:
        """Drop the permissions of a role, because another client changed it."""
        self._permissions.forget(_key(role, project_id))

    def changes(self, role: str, project_id: str) -> int:
        """Return how often a read of the role showed other permissions than the read before."""
        return self._changes[_key(role, project_id)]

    def cached(self, role: str, project_id: str) -> frozenset[str] | None:
        """Return the permissions of the last read, without a read; None if there was none."""
        key = _key(role, project_id)
        return self._assumed.get(key, self._permissions.latest(key))

    def max_permissions(self, role: str, project_id: str) -> frozenset[str] | None:
        """Return the permissions that the role can have now, without a read; None if it was never read.

        These are the permissions of the last read and, during a write of the operator, the written ones.
        """
        cached, update = self.cached(role, project_id), self._updates.get(_key(role, project_id))
        return update.permissions | (cached or frozenset()) if update else cached

    @contextmanager
    def updating(self, project_id: str, role: str, permissions: frozenset[str]) -> Iterator[None]:
        """Add `permissions`, the old and the new ones, to `max_permissions` while the role is written.

        They are removed by a read that starts after the write, because a failed write may have taken effect.
        """
        key = _key(role, project_id)
        update = self._updates[key] = _RoleUpdate(permissions)
        try:
            yield
        finally:
            update.ended = True
            self._permissions.forget(key)

    def assume(self, project_id: str, role: str, permissions: frozenset[str]) -> None:
        """Report these permissions for a custom role from now on, without reading it (dry run)."""
        self._assumed[project_id, role] = permissions

    async def _read(self, key: tuple[str, str], project_id: str) -> frozenset[str]:
        update = self._updates.get(key)
        shows_update = update is not None and update.ended
        request = iam_admin_v1.GetRoleRequest(name=key[1])
        reply = await self._iam.call(project_id, "get_role", request)
        if shows_update and self._updates.get(key) is update:
            del self._updates[key]
        permissions = frozenset(map(sys.intern, reply.included_permissions))  # roles share most permissions
        if self._last_read.get(key, permissions) != permissions:
            self._changes[key] += 1
        self._last_read[key] = permissions
        return permissions


def _key(role: str, project_id: str) -> tuple[str, str]:
    """Return the cache key. Predefined roles are shared by all projects; custom roles may not be readable."""
    return "" if role.startswith("roles/") else project_id, role
