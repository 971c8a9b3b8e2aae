"""Projects, in the Resource Manager API, and the e-mails of accounts that Google creates in them."""

from dataclasses import dataclass

from cloudrun_identity.iam.service_agents import CLOUD_RUN, agent_email

from .clients import ProjectClients
from .libraries import resourcemanager_v3
from .ratelimit import Api
from .service_client import ServiceClient


@dataclass(frozen=True, slots=True)
class Project:
    """A project as Google shows it."""

    project_id: str
    """Project id."""

    number: str
    """Project number, in decimal digits."""

    display_name: str
    """Display name."""

    active: bool
    """False for a project in its 30 days before permanent deletion."""

    parent: str = ""
    """Folder or organization of the project, such as `folders/12`; empty without one."""


class Projects:
    """Project methods of the Resource Manager API."""

    def __init__(self, clients: ProjectClients) -> None:
        self._service = ServiceClient(
            clients, Api.RESOURCE_MANAGER, resourcemanager_v3, "google.cloud.resourcemanager.v3.Projects"
        )

    async def get(self, project_id: str) -> Project:
        """Return a project.

        Raises:
            GoogleError: PERMISSION_DENIED also if the project does not exist: Google does not distinguish.

        """
        request = resourcemanager_v3.GetProjectRequest(name=f"projects/{project_id}")
        reply = await self._service.call(project_id, "get_project", request)
        return Project(
            project_id=reply.project_id,
            number=reply.name.removeprefix("projects/"),
            display_name=reply.display_name,
            active=reply.state == resourcemanager_v3.Project.State.ACTIVE,
            parent=reply.parent,
        )


def cloud_run_service_agent(number: str) -> str:
    """Return the e-mail of the Cloud Run service agent of a project."""
    return agent_email(CLOUD_RUN, number)


def default_compute_account(number: str) -> str:
    """Return the e-mail of the default compute account. Workloads that name no account run as it."""
    return f"{number}-compute@developer.gserviceaccount.com"
