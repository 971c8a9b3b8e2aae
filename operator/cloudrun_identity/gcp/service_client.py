"""Calls the methods of one gRPC service for projects."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from google.cloud.iam_admin_v1.services.iam import IAMAsyncClient

from .clients import ProjectClients
from .ratelimit import Api

Reply = TypeVar("Reply")


class ServiceClient:
    """A gRPC service by its full name (`package.Service`), called with the credential of each project."""

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
        has_etag: bool = False,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Send one request to a `method` of the client class, such as `IAMAsyncClient.get_role`.

        The other arguments and the exceptions are those of `GoogleClients.call`.
        """
        clients = self._clients.for_project(project_id)
        return await clients.call(
            self._api,
            f"{self._name}/{_rpc_name(method.__name__)}",
            partial(method, clients.client(self._client, self._api, region)),
            request,
            region=region,
            project_id=project_id,
            repeatable=repeatable,
            has_etag=has_etag,
            before_send=before_send,
        )


def iam_service(clients: ProjectClients) -> ServiceClient:
    """Return the IAM API, with its methods for accounts, keys and roles."""
    return ServiceClient(clients, Api.IAM, IAMAsyncClient, "google.iam.admin.v1.IAM")


def _rpc_name(method: str) -> str:
    """Return `GetRole` for `get_role`: the generated clients derive method names this way."""
    return "".join(word.capitalize() for word in method.split("_"))
