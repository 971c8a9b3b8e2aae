"""What roles permit."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.cloud.iam_admin_v1 import types
from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient

from .clients import ProjectClients
from .service import iam
from .single_flight_cache import CacheTable, Clock

ROLES_KEPT = 1000
"""Roles whose permissions are remembered, the latest asked about."""


@dataclass(slots=True)
class _Rewriting:
    """A write of ours that gives a role no more than `permissions`; `ended`: a read from now on tells."""

    permissions: frozenset[str]
    ended: bool = False


class Roles:
    """Roles of every kind: predefined (`roles/…`), of a project or of an organization."""

    def __init__(self, clients: ProjectClients, clock: Clock = time.monotonic) -> None:
        self._iam = iam(clients)
        self._expansions: CacheTable[tuple[str, str], frozenset[str]] = CacheTable(clock, ROLES_KEPT)
        self._assumed: dict[tuple[str, str], frozenset[str]] = {}
        self._rewriting: dict[tuple[str, str], _Rewriting] = {}

    async def permissions(self, role: str, project_id: str, max_age: float = 600.0) -> frozenset[str]:
        """The permissions of a role, as they were at most `max_age` seconds ago, read as in the project.

        A deleted custom role keeps its permissions here: whoever undeletes it revives its bindings.

        Raises:
            GoogleError: NOT_FOUND, there is no such role; INVALID_ARGUMENT, no role has such a name.

        """
        key = _key(role, project_id)
        if key in self._assumed:
            return self._assumed[key]
        while True:
            permissions = await self._expansions.get(key, lambda: self._expand(key, project_id), max_age)
            if self.known(role, project_id) is not None:
                return permissions
            # The role was rewritten meanwhile, so that this says nothing any more.

    def known(self, role: str, project_id: str) -> frozenset[str] | None:
        """What was read last of a role, without a read; None if it never was."""
        key = _key(role, project_id)
        return self._assumed.get(key, self._expansions.latest(key))

    def at_most(self, role: str, project_id: str) -> frozenset[str] | None:
        """What the role may permit by now, without a read: as it was read last, and as we are writing it.

        None if it never was read.
        """
        known, rewriting = self.known(role, project_id), self._rewriting.get(_key(role, project_id))
        return rewriting.permissions | (known or frozenset()) if rewriting else known

    @contextmanager
    def rewriting(self, project_id: str, role: str, permissions: frozenset[str]) -> Iterator[None]:
        """Count these permissions, those of before and those of after, to a role while it is written.

        They are what `at_most` adds, until a read that began after the end of the write has told what came of
        it: a write that failed may have happened.
        """
        key = _key(role, project_id)
        rewriting = self._rewriting[key] = _Rewriting(permissions)
        try:
            yield
        finally:
            rewriting.ended = True
            self._expansions.forget(key)

    def assume(self, project_id: str, role: str, permissions: frozenset[str]) -> None:
        """Take a custom role of the project for one that holds these permissions, whatever there is."""
        self._assumed[project_id, role] = permissions

    async def _expand(self, key: tuple[str, str], project_id: str) -> frozenset[str]:
        rewritten = self._rewriting.get(key)
        settles = rewritten is not None and rewritten.ended
        request = types.GetRoleRequest(name=key[1])
        reply = await self._iam.call(project_id, IAMAsyncClient.get_role, request)
        if settles and self._rewriting.get(key) is rewritten:
            del self._rewriting[key]
        return frozenset(map(sys.intern, reply.included_permissions))  # roles have most of them in common


def _key(role: str, project_id: str) -> tuple[str, str]:
    """What is predefined is the same for everybody; the others only some may read."""
    return "" if role.startswith("roles/") else project_id, role
