"""Resource Manager v3: projects, and the registry of existing projects."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.cloud import resourcemanager_v3 as resourcemanager

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import invalid

from .containers import Container, Containers, etag
from .paging import page, page_size
from .rpc import serves
from .search import matches, terms

_GET = "google.cloud.resourcemanager.v3.Projects/GetProject"
_ID = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{0,29}")


@dataclass(frozen=True)
class Project:
    """A project."""

    id: str
    """Project ID."""
    number: str
    """Project number in decimal digits."""
    parent: str = ""
    """Folder or organization that it is in; empty for none."""
    service_account_quota: int = 100
    """Number of service accounts that it may have."""
    display_name: str | None = None
    """Name in lists; by default the ID, as gcloud names projects. Empty for a project without a name, which
    clients of the API can create."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels."""
    created_at: float = 0.0
    """Seconds since the epoch."""
    service_agents: frozenset[str] | None = None
    """Domains of the agents of Google's services that exist; None for all."""

    @property
    def shown_name(self) -> str:
        """Name that answers show."""
        return self.id if self.display_name is None else self.display_name

    @property
    def compute_account(self) -> str:
        """Default account of the project's workloads."""
        return f"{self.number}-compute@developer.gserviceaccount.com"

    @property
    def account_domain(self) -> str:
        """The part after the @ in the e-mails of the project's service accounts.

        A domain-scoped project `example.com:shop` has accounts at `shop.example.com.iam.gserviceaccount.com`.
        """
        domain, _, name = self.id.rpartition(":")
        return f"{name}.{domain}.iam.gserviceaccount.com" if domain else f"{name}.iam.gserviceaccount.com"


class ProjectRegistry:
    """The projects that exist.

    Unless `strict`, every id has a project in `default_parent`: it can be read, and is created when a call
    that writes first names it.
    """

    def __init__(
        self, *, strict: bool = False, default_parent: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.strict = strict
        self.clock = clock
        self._default_parent = default_parent
        self.containers = Containers(strict=strict, clock=clock)
        self._known: dict[str, Project] = {}  # by id, including projects that were only read
        self._existing: dict[str, Project] = {}  # by the domain of their accounts
        self._auto_creating = False

    def __iter__(self) -> Iterator[Project]:
        return iter(self._existing.values())

    def add(self, project: Project) -> Project:
        """Add a project and the containers above it."""
        if project.parent and self.containers.find(project.parent) is None:
            self.containers.add(
                Container(project.parent, project.parent.rpartition("/")[2], created_at=self.clock())
            )
        self._known[project.id] = self._existing[project.account_domain] = project
        return project

    @contextmanager
    def auto_creating(self) -> Iterator[None]:
        """Create projects, folders and organizations that are named inside the block."""
        self._auto_creating = self.containers.auto_creating = True
        try:
            yield
        finally:
            self._auto_creating = self.containers.auto_creating = False

    def find(self, id_or_number: str) -> Project | None:
        """Return the existing project of that id or number."""
        project = self._named(id_or_number)
        return project if project is not None and project.account_domain in self._existing else None

    def resolve(self, id_or_number: str) -> Project:
        """Return the project of that id or number.

        Raises GoogleError: PERMISSION_DENIED, because Google does not reveal whether a project exists.
        """
        project = self._named(id_or_number)
        if project is None:
            if self.strict or not _ID.fullmatch(id_or_number):
                raise denied(_GET, "resourcemanager.projects.get", f"projects/{id_or_number}")
            project = Project(
                id_or_number,
                number_for(id_or_number),
                parent=self._default_parent,
                created_at=self.clock(),
            )
            self._known[project.id] = project
        return self.add(project) if self._auto_creating else project

    def resolve_name(self, name: str) -> Project:
        """Return the project of a resource name `projects/ID_OR_NUMBER`."""
        collection, _, identifier = name.partition("/")
        if collection != "projects" or not identifier or "/" in identifier:
            raise invalid(f"Invalid project resource name '{name}'; expected 'projects/PROJECT'.")
        return self.resolve(identifier)

    def canonical(self, name: str) -> str:
        """Return the name of a project by its id, `projects/ID`.

        Raises GoogleError: as `resolve_name`.
        """
        return f"projects/{self.resolve_name(name).id}"

    def chain(self, project: Project) -> Iterator[str]:
        """Yield the names of the project and of its ancestors up to the organization."""
        yield f"projects/{project.id}"
        yield from self.containers.above(project.parent)

    def above(self, resource: str) -> Iterator[str]:
        """Yield the project, folder or organization of a resource, and its ancestors."""
        holder = "/".join(resource.split("/")[:2])
        if not holder.startswith("projects/"):
            return self.containers.above(holder)
        return self.chain(self.resolve_name(holder))

    def of_account(self, email: str) -> Project | None:
        """Return the existing project of a service account's e-mail."""
        return self._existing.get(email.rpartition("@")[2].lower())

    def _named(self, id_or_number: str) -> Project | None:
        if project := self._known.get(id_or_number):
            return project
        return next((project for project in self._known.values() if project.number == id_or_number), None)


def number_for(project_id: str) -> str:
    """Derive a project number from the id: twelve digits, always the same."""
    digest = int.from_bytes(hashlib.sha256(project_id.encode()).digest()[:8])
    return str(100_000_000_000 + digest % 900_000_000_000)


class Projects:
    """`google.cloud.resourcemanager.v3.Projects` without policies."""

    def __init__(self, registry: ProjectRegistry) -> None:
        self._registry = registry

    @serves("google.cloud.resourcemanager.v3.Projects/GetProject")
    def get(self, request: resourcemanager.GetProjectRequest) -> resourcemanager.Project:
        """Return a project by id or number; its name has the number."""
        return _message(self._registry.resolve_name(request.name))

    @serves("google.cloud.resourcemanager.v3.Projects/SearchProjects")
    def search(
        self, request: resourcemanager.SearchProjectsRequest
    ) -> resourcemanager.SearchProjectsResponse:
        """List the projects that match a query such as `id:shop-* parent:organizations/1`."""
        wanted = terms(request.query)
        found = {
            project.id: _message(project) for project in self._registry if matches(_fields(project), wanted)
        }
        projects, token = page(found, request.page_token, page_size(request.page_size, 500, 500))
        return resourcemanager.SearchProjectsResponse(projects=projects, next_page_token=token)

    @serves("google.cloud.resourcemanager.v3.Projects/ListProjects")
    def list(self, request: resourcemanager.ListProjectsRequest) -> resourcemanager.ListProjectsResponse:
        """List the projects directly in a folder or an organization."""
        parent = self._registry.containers.resolve(request.parent).name
        found = {project.id: _message(project) for project in self._registry if project.parent == parent}
        projects, token = page(found, request.page_token, page_size(request.page_size, 300, 300))
        return resourcemanager.ListProjectsResponse(projects=projects, next_page_token=token)


def _message(project: Project) -> resourcemanager.Project:
    created = datetime.fromtimestamp(project.created_at, UTC)
    return resourcemanager.Project(
        name=f"projects/{project.number}",
        project_id=project.id,
        parent=project.parent,
        display_name=project.shown_name,
        labels=project.labels,
        state=resourcemanager.Project.State.ACTIVE,
        create_time=created,
        update_time=created,
        etag=etag(project.number, project.created_at),
    )


def _fields(project: Project) -> dict[str, str]:
    """Return the fields that a query can use, with the names of version 3 and of version 1."""
    kind, _, number = project.parent.partition("/")
    return {
        "id": project.id,
        "projectId": project.id,
        "name": project.shown_name,
        "displayName": project.shown_name,
        "projectNumber": project.number,
        "parent": project.parent,
        "parent.type": kind.removesuffix("s"),
        "parent.id": number,
        "state": "ACTIVE",
        "lifecycleState": "ACTIVE",
    } | {f"labels.{name}": value for name, value in project.labels.items()}
