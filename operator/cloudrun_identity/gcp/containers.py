"""Folders and organizations above a project, with their allow policies, in the Resource Manager API."""

from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2

from .clients import ProjectClients
from .libraries import resourcemanager_v3
from .ratelimit import Api
from .service_client import ServiceClient

_PACKAGE = "google.cloud.resourcemanager.v3"
_VERSION = 3
"""An older read shows conditions as invented role names."""


class Containers:
    """Methods of folders and organizations, with the credential of a project. All raise GoogleError."""

    def __init__(self, clients: ProjectClients, project_id: str) -> None:
        self._project_id = project_id
        self._folders = ServiceClient(
            clients, Api.RESOURCE_MANAGER, resourcemanager_v3, f"{_PACKAGE}.Folders"
        )
        self._organizations = ServiceClient(
            clients, Api.RESOURCE_MANAGER, resourcemanager_v3, f"{_PACKAGE}.Organizations"
        )

    async def parent(self, name: str) -> str:
        """Return the folder or organization that contains a folder; empty for an organization."""
        if not is_folder(name):
            return ""
        request = resourcemanager_v3.GetFolderRequest(name=name)
        reply = await self._folders.call(self._project_id, "get_folder", request)
        return str(reply.parent)

    async def policy(self, name: str) -> policy_pb2.Policy:
        """Return the allow policy of a folder or an organization, with its conditions."""
        request = iam_policy_pb2.GetIamPolicyRequest(
            resource=name, options=options_pb2.GetPolicyOptions(requested_policy_version=_VERSION)
        )
        service = self._folders if is_folder(name) else self._organizations
        reply: policy_pb2.Policy = await service.call(self._project_id, "get_iam_policy", request)
        return reply


def is_folder(name: str) -> bool:
    """Return whether a container is a folder, and not an organization."""
    return name.startswith("folders/")


def container_text(name: str) -> str:
    """Return `Folder 12` for `folders/12`, and `Organization 9` for `organizations/9`."""
    collection, _, number = name.partition("/")
    return f"{collection.removesuffix('s').capitalize()} {number}"
