"""Google Cloud projects, as Resource Manager knows them."""

from dataclasses import dataclass

from google.cloud.resourcemanager_v3 import types
from google.cloud.resourcemanager_v3.services.projects import ProjectsAsyncClient

from .clients import ProjectClients
from .ratelimit import Api
from .service import ServiceClient


@dataclass(frozen=True, slots=True)
class Project:
    """A project; `number` is in decimal digits, and one that was deleted lives on inactive for 30 days."""

    project_id: str
    number: str
    display_name: str
    active: bool


class Projects:
    """The project methods of the Resource Manager API."""

    def __init__(self, clients: ProjectClients) -> None:
        self._service = ServiceClient(
            clients, Api.RESOURCE_MANAGER, ProjectsAsyncClient, "google.cloud.resourcemanager.v3.Projects"
        )

    async def get(self, project_id: str) -> Project:
        """The project of this id.

        Raises:
            GoogleError: PERMISSION_DENIED also if there is no such project; Google does not tell which.

        """
        request = types.GetProjectRequest(name=f"projects/{project_id}")
        reply = await self._service.call(project_id, ProjectsAsyncClient.get_project, request)
        return Project(
            project_id=reply.project_id,
            number=reply.name.removeprefix("projects/"),
            display_name=reply.display_name,
            active=reply.state == types.Project.State.ACTIVE,
        )


SERVICE_AGENT_DOMAIN = "@serverless-robot-prod.iam.gserviceaccount.com"
"""Where the agents of Cloud Run have their accounts."""


def cloud_run_service_agent(number: str) -> str:
    """The e-mail of the agent with which Cloud Run acts in the project of this number."""
    return f"service-{number}{SERVICE_AGENT_DOMAIN}"


def compute_account(number: str) -> str:
    """The e-mail of a project's default account, which workloads that name none run as."""
    return f"{number}-compute@developer.gserviceaccount.com"
