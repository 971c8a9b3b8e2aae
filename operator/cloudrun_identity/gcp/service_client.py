"""Calls the methods of one gRPC service for projects."""

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from .clients import ProjectClients
from .libraries import iam_admin_v1
from .ratelimit import Api


class ServiceClient:
    """A gRPC service by its full name (`package.Service`), called with the credential of each project.

    The generated client is the class `ServiceAsyncClient` of the library, unless `client` names another one.
    The first request looks it up, which loads the library.
    """

    def __init__(
        self, clients: ProjectClients, api: Api, library: ModuleType, name: str, *, client: str = ""
    ) -> None:
        self._clients = clients
        self._api = api
        self._library = library
        self._name = name
        self._client = client or f"{name.rpartition('.')[2]}AsyncClient"

    async def call(
        self,
        project_id: str,
        method: str,
        request: object,
        *,
        region: str = "",
        repeatable: bool = False,
        has_etag: bool = False,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Any:
        """Send one request to a method of the generated client, such as `get_role`. Return its reply.

        The other arguments and the exceptions are those of `GoogleClients.call`.
        """
        clients = self._clients.for_project(project_id)
        client = clients.client(getattr(self._library, self._client), self._api, region)
        return await clients.call(
            self._api,
            f"{self._name}/{_rpc_name(method)}",
            getattr(client, method),
            request,
            region=region,
            project_id=project_id,
            repeatable=repeatable,
            has_etag=has_etag,
            before_send=before_send,
        )


def iam_service(clients: ProjectClients) -> ServiceClient:
    """Return the IAM API, with its methods for accounts, keys and roles."""
    return ServiceClient(clients, Api.IAM, iam_admin_v1, "google.iam.admin.v1.IAM")


def _rpc_name(method: str) -> str:
    """Return `GetRole` for `get_role`: the generated clients derive method names this way."""
    return "".join(word.capitalize() for word in method.split("_"))
