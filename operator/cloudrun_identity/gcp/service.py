"""One service of Google's and its generated client, called for projects."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient

from .clients import ProjectClients
from .ratelimit import Api

Reply = TypeVar("Reply")


class ServiceClient:
    """A service by its full name (`package.Service`), each project's called as whom the project says."""

    def __init__(self, clients: ProjectClients, api: Api, client: type[Any], name: str) -> None:
        self._clients = clients
        self._api = api
        self._client = client
        self._name = name

    async def call(
        self,
        project_id: str,
        method: Callable[..., Awaitable[Reply]],
        request: object,
        *,
        region: str = "",
        repeatable: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Send one request to a `method` of the client's class, such as `IAMAsyncClient.get_role`.

        The rest is as `GoogleClients.call` has it. Raises GoogleError.
        """
        clients = self._clients.of(project_id)
        return await clients.call(
            self._api,
            f"{self._name}/{_rpc(method.__name__)}",
            partial(method, clients.client(self._client, self._api, region)),
            request,
            region=region,
            repeatable=repeatable,
            before=before,
        )


def iam(clients: ProjectClients) -> ServiceClient:
    """The IAM API: accounts, their keys, and roles."""
    return ServiceClient(clients, Api.IAM, IAMAsyncClient, "google.iam.admin.v1.IAM")


def _rpc(method: str) -> str:
    """`GetRole` of `get_role`, as the generator of the clients derives the one from the other."""
    return "".join(word.capitalize() for word in method.split("_"))
