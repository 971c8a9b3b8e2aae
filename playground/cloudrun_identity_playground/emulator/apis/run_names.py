"""Names of Cloud Run workloads of one kind, as sent and as stored."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudrun_identity.api import MULTI_REGION
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid, not_found

from .projects import Project, ProjectRegistry
from .run_kinds import SERVICE, RunKind
from .run_locations import check_location

_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PARENT = re.compile(r"projects/([^/]+)/locations/([^/]+)")


@dataclass(frozen=True)
class WorkloadNames:
    """Names are stored with the project's id, whether sent with the id or the number."""

    kind: RunKind
    projects: ProjectRegistry

    def parent(self, sent: str) -> str:
        """Return the location `projects/ID/locations/LOCATION`.

        Raises GoogleError: INVALID_ARGUMENT, PERMISSION_DENIED (no such location), or as
        `ProjectRegistry.resolve`.
        """
        match = _PARENT.fullmatch(sent)
        if match is None:
            raise invalid(f"Invalid location name '{sent}'; expected 'projects/PROJECT/locations/LOCATION'.")
        project, location = match.groups()
        if location == "-":
            raise invalid(f"Invalid location '{location}' in '{sent}': name one location.")
        resolved = self.projects.resolve(project)
        if location == MULTI_REGION and self.kind is not SERVICE:
            raise invalid(f"Location '{location}' has no {self.kind.collection}; name a region.")
        check_location(location, resolved)
        return f"projects/{resolved.id}/locations/{location}"

    def new(self, parent: str, short_name: str) -> str:
        """Return the name of a new workload.

        Raises GoogleError: as `parent`.
        """
        canonical_parent = self.parent(parent)
        if not _ID.fullmatch(short_name):
            raise invalid(f"Invalid {self.kind.label} name '{short_name}'.")
        return f"{canonical_parent}/{self.kind.collection}/{short_name}"

    def canonical(self, sent: str) -> str:
        """Return the name of a workload, which need not exist.

        Raises GoogleError: as `parent`.
        """
        parent, collection, short_name = ["", "", "", *sent.rsplit("/", 2)][-3:]
        # Cloud Run v1 writes `workerpools`.
        if collection.lower() != self.kind.collection.lower() or not short_name:
            raise invalid(f"Invalid {self.kind.label} name '{sent}'.")
        return f"{self.parent(parent)}/{self.kind.collection}/{short_name}"

    def project(self, name: str) -> Project:
        """Return the project of a workload."""
        return self.projects.resolve(name.split("/")[1])

    def missing(self, name: str) -> GoogleError:
        """Return NOT_FOUND for a canonical name."""
        _, project, _, location, _, short_name = name.split("/")
        return not_found(
            f"Resource '{short_name}' of kind '{self.kind.label}' in region '{location}' in project "
            f"'{project}' does not exist."
        )
