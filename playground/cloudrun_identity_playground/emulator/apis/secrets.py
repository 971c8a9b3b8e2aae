"""Secret Manager: names, creation times and policies of secrets, without their contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import timestamp_pb2

from cloudrun_identity_playground.emulator.errors import invalid, not_found

from .policies import Policies
from .projects import Project, ProjectRegistry
from .rpc import serves
from .secret_messages import Secret

_NAME = re.compile(r"projects/([^/]+)/secrets/([A-Za-z0-9_-]{1,255})")


class Secrets:
    """The secrets of `google.cloud.secretmanager.v1.SecretManagerService`, without their contents.

    Only the seed and the control API create secrets.
    """

    SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"

    def __init__(self, projects: ProjectRegistry, policies: Policies, clock: Callable[[], float]) -> None:
        self._projects = projects
        self._policies = policies
        self._clock = clock
        self._created: dict[str, int] = {}
        """Creation times in microseconds since the epoch, by resource name."""
        self._last = 0

    def add(self, project: Project, secret_id: str) -> None:
        """Add a secret.

        Raises GoogleError: INVALID_ARGUMENT, `secret_id` is not a valid name.
        """
        name = f"projects/{project.id}/secrets/{secret_id}"
        if not _NAME.fullmatch(name):
            raise invalid(f"Invalid secret ID '{secret_id}': it has 1 to 255 letters, digits, - and _.")
        # Two secrets never have the same creation time, even if the clock does not advance.
        self._last = self._created[name] = max(int(self._clock() * 1e6), self._last + 1)

    def recreate(self, resource: str) -> None:
        """Delete a secret and create another one of the same name, which has an empty policy.

        Raises GoogleError: as `canonical`.
        """
        name = self.canonical(resource)
        self._policies.drop(name)
        self.add(self._projects.resolve(name.split("/")[1]), name.rpartition("/")[2])

    @serves("google.cloud.secretmanager.v1.SecretManagerService/GetSecret")
    def get_secret(self, request: Any) -> Secret:
        """Return a secret. Its name has the project number, as Google returns it."""
        name = self.canonical(request.name)
        project = self._projects.resolve(name.split("/")[1])
        created = timestamp_pb2.Timestamp()
        created.FromMicroseconds(self._created[name])
        return Secret(
            name=f"projects/{project.number}/secrets/{name.rpartition('/')[2]}", create_time=created
        )

    def __iter__(self) -> Iterator[str]:
        """Iterate over the resource names, `projects/ID/secrets/NAME`."""
        return iter(sorted(self._created))

    def canonical(self, resource: str) -> str:
        """Return the name of the secret, with its project's id.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT, or as `ProjectRegistry.resolve`.
        """
        match = _NAME.fullmatch(resource)
        if match is None:
            raise invalid(f"Invalid secret name '{resource}'.")
        project = self._projects.resolve(match[1])
        name = f"projects/{project.id}/secrets/{match[2]}"
        if name not in self._created:
            raise not_found(f"Secret [projects/{project.number}/secrets/{match[2]}] not found.")
        return name
