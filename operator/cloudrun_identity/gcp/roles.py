"""What roles permit."""

import sys
import time

from google.cloud.iam_admin_v1 import types
from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient

from cloudrun_identity.gcp.aged import Clock, Shelf
from cloudrun_identity.gcp.clients import ProjectClients
from cloudrun_identity.gcp.ratelimit import Api

ROLES_KEPT = 1000
"""Roles whose permissions are remembered, the latest asked about."""


class Roles:
    """Roles of every kind: predefined (`roles/…`), of a project or of an organization."""

    def __init__(self, clients: ProjectClients, clock: Clock = time.monotonic) -> None:
        self._clients = clients
        self._expansions: Shelf[tuple[str, str], frozenset[str]] = Shelf(clock, ROLES_KEPT)
        self._assumed: dict[tuple[str, str], frozenset[str]] = {}

    async def permissions(self, role: str, project_id: str, max_age: float = 600.0) -> frozenset[str]:
        """The permissions of a role, as they were at most `max_age` seconds ago, read as in the project.

        A deleted custom role keeps its permissions here: whoever undeletes it revives its bindings.

        Raises:
            GoogleError: NOT_FOUND, there is no such role; INVALID_ARGUMENT, no role has such a name.

        """
        key = _key(role, project_id)
        if key in self._assumed:
            return self._assumed[key]
        return await self._expansions.get(key, lambda: self._expand(role, project_id), max_age)

    def known(self, role: str, project_id: str) -> frozenset[str] | None:
        """What was read last of a role, without a read; None if it never was."""
        key = _key(role, project_id)
        return self._assumed.get(key, self._expansions.latest(key))

    def forget(self, project_id: str, role: str) -> None:
        """Note that the operator has just written this role: older reads do not count for it any more."""
        self._expansions.forget((project_id, role))

    def assume(self, project_id: str, role: str, permissions: frozenset[str]) -> None:
        """Take a custom role of the project for one that holds these permissions, whatever there is."""
        self._assumed[project_id, role] = permissions

    async def _expand(self, role: str, project_id: str) -> frozenset[str]:
        clients = self._clients.of(project_id)
        client = clients.client(IAMAsyncClient, Api.IAM)
        reply = await clients.call(
            Api.IAM, "google.iam.admin.v1.IAM/GetRole", client.get_role, types.GetRoleRequest(name=role)
        )
        return frozenset(map(sys.intern, reply.included_permissions))  # roles have most of them in common


def _key(role: str, project_id: str) -> tuple[str, str]:
    """What is predefined is the same for everybody; the others only some may read."""
    return "" if role.startswith("roles/") else project_id, role
