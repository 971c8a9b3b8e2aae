"""Resource Manager v3: projects, and which projects there are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.cloud import resourcemanager_v3 as resourcemanager
from google.iam.v1 import iam_policy_pb2, policy_pb2

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid

from .containers import Container, Containers
from .paging import page, page_size
from .policies import Policies
from .policy_rules import ResourceKind
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

    Unless `strict`, a project comes into being when its id is first named, in `default_parent`, if there is
    one.
    """

    def __init__(self, *, strict: bool = False, default_parent: str = "") -> None:
        self.strict = strict
        self._default_parent = default_parent
        self.containers = Containers(strict=strict)
        self._by_id: dict[str, Project] = {}

    def __iter__(self) -> Iterator[Project]:
        return iter(self._by_id.values())

    def add(self, project: Project) -> Project:
        """Make `project` exist, and what it lies in."""
        if project.parent and self.containers.find(project.parent) is None:
            self.containers.add(Container(project.parent, project.parent.rpartition("/")[2]))
        self._by_id[project.id] = project
        return project

    def find(self, id_or_number: str) -> Project | None:
        """The project of that id or number if it exists already; naming it here creates nothing."""
        if project := self._by_id.get(id_or_number):
            return project
        return next((project for project in self._by_id.values() if project.number == id_or_number), None)

    def resolve(self, id_or_number: str) -> Project:
        """The project of that id or number.

        Raises GoogleError: PERMISSION_DENIED, as Google hides whether a project exists.
        """
        if project := self.find(id_or_number):
            return project
        if self.strict or not _ID.fullmatch(id_or_number):
            raise denied(_GET, "resourcemanager.projects.get", f"projects/{id_or_number}")
        return self.add(Project(id_or_number, number_for(id_or_number), parent=self._default_parent))

    def resolve_name(self, name: str) -> Project:
        """The project of a resource name `projects/ID_OR_NUMBER`."""
        collection, _, identifier = name.partition("/")
        if collection != "projects" or not identifier or "/" in identifier:
            raise invalid(f"Invalid project resource name '{name}'; expected 'projects/PROJECT'.")
        return self.resolve(identifier)

    def chain(self, project: Project) -> Iterator[str]:
        """The names of the project and of what lies above it, up to the organization."""
        yield f"projects/{project.id}"
        yield from self.containers.above(project.parent)

    def of_account(self, email: str) -> Project | None:
        """The project whose service accounts have e-mails like `email`, if it exists."""
        domain = email.rpartition("@")[2].lower()
        return next((project for project in self._by_id.values() if project.account_domain == domain), None)


def number_for(project_id: str) -> str:
    """The number of a project that nobody gave one: twelve digits, always the same for an id."""
    digest = int.from_bytes(hashlib.sha256(project_id.encode()).digest()[:8])
    return str(100_000_000_000 + digest % 900_000_000_000)


class Projects:
    """`google.cloud.resourcemanager.v3.Projects`."""

    def __init__(self, registry: ProjectRegistry, policies: Policies) -> None:
        self._registry = registry
        self._policies = policies

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

    @serves("google.cloud.resourcemanager.v3.Projects/GetIamPolicy")
    def get_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        """Read a project's policy."""
        return self._policies.read(self._policy_name(request.resource), request)

    @serves("google.cloud.resourcemanager.v3.Projects/SetIamPolicy")
    def set_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        """Write a project's policy."""
        return self._policies.write(self._policy_name(request.resource), ResourceKind.PROJECT, request)

    @serves("google.cloud.resourcemanager.v3.Projects/TestIamPermissions")
    def test_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        """Everything asked for, on a project that exists; the authorizer leaves what the caller has."""
        try:
            self._policy_name(request.resource)
        except GoogleError:
            return iam_policy_pb2.TestIamPermissionsResponse()  # nothing is permitted on what does not exist
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)

    def _policy_name(self, resource: str) -> str:
        return f"projects/{self._registry.resolve_name(resource).id}"


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
