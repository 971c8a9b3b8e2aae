"""Secret Manager: names and policies of secrets, without their contents."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cloudrun_identity_playground.emulator.errors import invalid, not_found

from .projects import Project, ProjectRegistry

_NAME = re.compile(r"projects/([^/]+)/secrets/([A-Za-z0-9_-]{1,255})")


class Secrets:
    """The secrets of `google.cloud.secretmanager.v1.SecretManagerService`, with their policies only.

    Only the seed creates secrets.
    """

    SERVICE = "google.cloud.secretmanager.v1.SecretManagerService"

    def __init__(self, projects: ProjectRegistry) -> None:
        self._projects = projects
        self._names: set[str] = set()

    def add(self, project: Project, secret_id: str) -> None:
        """Add a secret.

        Raises GoogleError: INVALID_ARGUMENT, `secret_id` is not a valid name.
        """
        name = f"projects/{project.id}/secrets/{secret_id}"
        if not _NAME.fullmatch(name):
            raise invalid(f"Invalid secret ID '{secret_id}': it has 1 to 255 letters, digits, - and _.")
        self._names.add(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the resource names, `projects/ID/secrets/NAME`."""
        return iter(sorted(self._names))

    def canonical(self, resource: str) -> str:
        """Return the name of the secret, with its project's id.

        Raises GoogleError: NOT_FOUND, INVALID_ARGUMENT, or as `ProjectRegistry.resolve`.
        """
        match = _NAME.fullmatch(resource)
        if match is None:
            raise invalid(f"Invalid secret name '{resource}'.")
        project = self._projects.resolve(match[1])
        name = f"projects/{project.id}/secrets/{match[2]}"
        if name not in self._names:
            raise not_found(f"Secret [projects/{project.number}/secrets/{match[2]}] not found.")
        return name
