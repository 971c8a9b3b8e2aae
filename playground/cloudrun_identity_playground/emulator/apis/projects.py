"""Resource Manager v3: projects, and which projects there are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.cloud import resourcemanager_v3 as resourcemanager

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import invalid

from .containers import Container, Containers
from .paging import page, page_size
from .rpc import serves
from .search import matches, terms

_GET = "google.cloud.resourcemanager.v3.Projects/GetProject"
_ID = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{0,29}")


@dataclass(frozen=True)
class Project:
    """A project. `number` is its project number in decimal digits."""

    id: str
    number: str
    parent: str = ""
    service_account_quota: int = 100

    @property
    def compute_account(self) -> str:
        """The default identity of the project's workloads."""
        return f"{self.number}-compute@developer.gserviceaccount.com"

    @property
    def account_domain(self) -> str:
        """What follows the @ in the e-mails of the project's service accounts.

        A domain-scoped project `example.com:shop` has accounts at
        `shop.example.com.iam.gserviceaccount.com`.
        """
        domain, _, name = self.id.rpartition(":")
        return f"{name}.{domain}.iam.gserviceaccount.com" if domain else f"{name}.iam.gserviceaccount.com"


class ProjectRegistry:
    """The projects that exist.

    Unless `strict`, there is a project behind every id, in `default_parent`, if there is one: it can be read,
    and comes into being when it is first named by a call that changes something.
    """

    def __init__(self, *, strict: bool = False, default_parent: str = "") -> None:
        self.strict = strict
        self._default_parent = default_parent
        self.containers = Containers(strict=strict)
        self._known: dict[str, Project] = {}  # by id, those too that were only ever read
        self._existing: dict[str, Project] = {}  # by the domain of their accounts
        self._founding = False

    def __iter__(self) -> Iterator[Project]:
        return iter(self._existing.values())

    def add(self, project: Project) -> Project:
        """Make `project` exist, and what it lies in."""
        if project.parent and self.containers.find(project.parent) is None:
            self.containers.add(Container(project.parent, project.parent.rpartition("/")[2]))
        self._known[project.id] = self._existing[project.account_domain] = project
        return project

    @contextmanager
    def founding(self) -> Iterator[None]:
        """The projects, folders and organizations that are named inside come into being."""
        self._founding = self.containers.founding = True
        try:
            yield
        finally:
            self._founding = self.containers.founding = False

    def find(self, id_or_number: str) -> Project | None:
        """The project of that id or number if it exists already."""
        project = self._named(id_or_number)
        return project if project is not None and project.account_domain in self._existing else None

    def resolve(self, id_or_number: str) -> Project:
        """The project of that id or number.

        Raises GoogleError: PERMISSION_DENIED, as Google hides whether a project exists.
        """
        project = self._named(id_or_number)
        if project is None:
            if self.strict or not _ID.fullmatch(id_or_number):
                raise denied(_GET, "resourcemanager.projects.get", f"projects/{id_or_number}")
            project = Project(id_or_number, number_for(id_or_number), parent=self._default_parent)
            self._known[project.id] = project
        return self.add(project) if self._founding else project

    def resolve_name(self, name: str) -> Project:
        """The project of a resource name `projects/ID_OR_NUMBER`."""
        collection, _, identifier = name.partition("/")
        if collection != "projects" or not identifier or "/" in identifier:
            raise invalid(f"Invalid project resource name '{name}'; expected 'projects/PROJECT'.")
        return self.resolve(identifier)

    def canonical(self, name: str) -> str:
        """The name of a project by its id, `projects/ID`.

        Raises GoogleError: as `resolve_name`.
        """
        return f"projects/{self.resolve_name(name).id}"

    def chain(self, project: Project) -> Iterator[str]:
        """The names of the project and of what lies above it, up to the organization."""
        yield f"projects/{project.id}"
        yield from self.containers.above(project.parent)

    def of_account(self, email: str) -> Project | None:
        """The project whose service accounts have e-mails like `email`, if it exists."""
        return self._existing.get(email.rpartition("@")[2].lower())

    def _named(self, id_or_number: str) -> Project | None:
        if project := self._known.get(id_or_number):
            return project
        return next((project for project in self._known.values() if project.number == id_or_number), None)


def number_for(project_id: str) -> str:
    """The number of a project that nobody gave one: twelve digits, always the same for an id."""
    digest = int.from_bytes(hashlib.sha256(project_id.encode()).digest()[:8])
    return str(100_000_000_000 + digest % 900_000_000_000)


class Projects:
    """`google.cloud.resourcemanager.v3.Projects`, but for its policies."""

    def __init__(self, registry: ProjectRegistry) -> None:
        self._registry = registry

    @serves("google.cloud.resourcemanager.v3.Projects/GetProject")
    def get(self, request: resourcemanager.GetProjectRequest) -> resourcemanager.Project:
        """Show a project, addressed by id or number; its name holds the number."""
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
        """List the projects that lie directly under a folder or an organization."""
        parent = self._registry.containers.resolve(request.parent).name
        found = {project.id: _message(project) for project in self._registry if project.parent == parent}
        projects, token = page(found, request.page_token, page_size(request.page_size, 300, 300))
        return resourcemanager.ListProjectsResponse(projects=projects, next_page_token=token)


def _message(project: Project) -> resourcemanager.Project:
    return resourcemanager.Project(
        name=f"projects/{project.number}",
        project_id=project.id,
        parent=project.parent,
        display_name=project.id,
        state=resourcemanager.Project.State.ACTIVE,
    )


def _fields(project: Project) -> dict[str, str]:
    """What a query may ask for, in the words of version 3 and of version 1."""
    kind, _, number = project.parent.partition("/")
    return {
        "id": project.id,
        "projectId": project.id,
        "name": project.id,
        "displayName": project.id,
        "projectNumber": project.number,
        "parent": project.parent,
        "parent.type": kind.removesuffix("s"),
        "parent.id": number,
        "state": "ACTIVE",
        "lifecycleState": "ACTIVE",
    }
