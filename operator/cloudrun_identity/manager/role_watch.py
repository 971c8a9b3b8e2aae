"""Detects that a role in use has other permissions than before, without a look at the objects that use it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cloudrun_identity.gcp.errors import GoogleError
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.reconcile.grants.resolver import PREDEFINED_ROLE_MAX_AGE


class RoleReader(Protocol):
    """Reads the permissions of roles: `gcp.roles.Roles`."""

    async def permissions(self, role: str, project_id: str, max_age: float) -> frozenset[str]:
        """Return the permissions of a role, at most `max_age` seconds old. Raises GoogleError."""
        ...

    def changes(self, role: str, project_id: str) -> int:
        """Return how often a read of the role showed other permissions than the read before."""
        ...


class LedgersOfProjects(Protocol):
    """The ledgers of projects: `manager.cache.Cache`."""

    def ledgers(self, project_id: str) -> Iterable[Ledger]:
        """Return the ledgers of a project."""
        ...


@dataclass(frozen=True, slots=True)
class RolesRead:
    """A read of the roles that are granted in a project."""

    project_id: str
    """The project."""
    changes: Mapping[str, int]
    """By role, how often its permissions have changed since the start of the operator."""
    have_changed: bool
    """True if a role has changed since the last comparison of all objects, or cannot be read."""


class RoleWatch:
    """Compares the roles that are granted in a project with the last comparison of all objects.

    Every object was reconciled after the start of the operator, with the permissions of that time. So a role
    that never changed since then concerns no object.
    """

    def __init__(self, roles: RoleReader, ledgers: LedgersOfProjects) -> None:
        self._roles = roles
        self._ledgers = ledgers
        self._compared: dict[tuple[str, str], int] = {}

    async def read(self, project_id: str, max_age: float) -> RolesRead:
        """Read the granted roles of the project.

        `max_age` is how old, in seconds, a read may be. As in a reconcile, predefined roles may be older.
        """
        granted = sorted(
            {binding.role for ledger in self._ledgers.ledgers(project_id) for binding in ledger.bindings}
        )
        readable = await asyncio.gather(*(self._is_readable(role, project_id, max_age) for role in granted))
        changes = {role: self._roles.changes(role, project_id) for role in granted}
        have_changed = not all(readable) or any(
            self._compared.get((project_id, role), 0) != count for role, count in changes.items()
        )
        return RolesRead(project_id, changes, have_changed)

    def note_compared(self, read: RolesRead) -> None:
        """Record that all objects of the project were compared after this read."""
        for role, count in read.changes.items():
            self._compared[read.project_id, role] = count

    async def _is_readable(self, role: str, project_id: str, max_age: float) -> bool:
        """Read a role. Return whether that succeeded; if not, the objects that grant it report why."""
        age = max(max_age, PREDEFINED_ROLE_MAX_AGE) if role.startswith("roles/") else max_age
        try:
            await self._roles.permissions(role, project_id, age)
        except GoogleError:
            return False
        return True
