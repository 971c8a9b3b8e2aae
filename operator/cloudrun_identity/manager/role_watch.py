"""Detects that a role in use has other permissions than before, without a look at the objects that use it."""

from collections.abc import Iterable
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


class RoleWatch:
    """Compares the roles that are granted in a project with the last comparison.

    Every object was reconciled after the start of the operator, with the permissions of that time. So a role
    that never changed since then concerns no object.
    """

    def __init__(self, roles: RoleReader, ledgers: LedgersOfProjects) -> None:
        self._roles = roles
        self._ledgers = ledgers
        self._seen: dict[tuple[str, str], int] = {}

    async def have_changed(self, project_id: str, max_age: float) -> bool:
        """Return whether a granted role of the project has changed, or cannot be read.

        `max_age` is how old, in seconds, a read may be. As in a reconcile, predefined roles may be older.
        """
        granted = {
            binding.role for ledger in self._ledgers.ledgers(project_id) for binding in ledger.bindings
        }
        changed = False
        for role in sorted(granted):
            age = max(max_age, PREDEFINED_ROLE_MAX_AGE) if role.startswith("roles/") else max_age
            try:
                await self._roles.permissions(role, project_id, age)
            except GoogleError:  # the objects that grant it report why
                changed = True
            changes = self._roles.changes(role, project_id)
            changed = changed or changes != self._seen.get((project_id, role), 0)
            self._seen[project_id, role] = changes
        return changed
