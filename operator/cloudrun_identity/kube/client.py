"""The verbs of the Kubernetes API over any resource, on `kubernetes.aio`, with raw objects in and out."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from cloudrun_identity import __version__

from . import connection
from .errors import ClusterUnreachable, KubeError
from .resources import Object, Objects, PatchType, Resource

FIELD_MANAGER = "cloudrun-identity"
CHUNK = 500  # objects a page of a list
TIMEOUT = 30.0  # seconds for one request with its reply; the API server gives up after 60
TRIES = 3  # of the first request, before the cluster counts as unreachable
RETRY_INTERVAL = 1.0  # seconds between them

_JSON = "application/json"


async def connect(kubeconfig: str | None = None) -> "KubeClient":
    """Reach the API server that `connection.load` finds, and see that it answers us.

    Raises `ClusterUnreachable`, with one line, when it does not answer after three tries or does not know us.
    """
    client = KubeClient(await connection.load(kubeconfig), kubeconfig)
    try:
        await _greet(client)
    except BaseException:
        await client.close()
        raise
    return client


class KubeClient:
    """One user's way to one API server; it implements `resources.Verbs`.

    Requests are never repeated here, with one exception: when the server answers 401 the credentials are
    loaded anew, because those of exec plugins and mounted tokens expire, and the request is sent once more.
    """

    def __init__(self, configuration: Configuration, kubeconfig: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._api = ApiClient(configuration)
        self._api.user_agent = f"{FIELD_MANAGER}/{__version__}"  # the server takes its first word as manager
        self._reloading = asyncio.Lock()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._api.configuration.host)

    async def access(self) -> connection.ClusterAccess:
        """How another client reaches the same server as the same user, with a current token."""
        return await connection.access(self._api.configuration)

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def version(self) -> Object:
        """Ask the server for `gitVersion`, `major`, `minor` and the rest of what it says of itself."""
        return await self._request("GET", "/version")

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        return await self._request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create the object where its metadata says; the reply is what was stored."""
        return await self._request("POST", resource.path(_namespace(obj)), obj)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Put the object in the place of the stored one; its resourceVersion, if any, must be current."""
        path = resource.path(_namespace(obj), obj["metadata"]["name"], subresource)
        return await self._request("PUT", path, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Object | Objects,
        patch_type: PatchType = PatchType.MERGE,
        *,
        subresource: str = "",
    ) -> Object:
        """Change a part of the object; an apply takes over fields that another manager owns."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} if patch_type is PatchType.APPLY else {}
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, patch, query, content_type=patch_type)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete the object, on condition of its uid and resourceVersion where they are given."""
        given = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in given.items() if value}
        options = {"kind": "DeleteOptions", "apiVersion": "v1"} | (
            {"preconditions": preconditions} if preconditions else {}
        )
        await self._request("DELETE", resource.path(namespace, name), options)

    async def list(self, resource: Resource, namespace: str = "", *, label_selector: str = "") -> Objects:
        """Read all objects, page by page; when the pages expire on the way, all at once."""
        selected = {"labelSelector": label_selector} if label_selector else {}
        try:
            return await self._list_pages(resource.path(namespace), selected)
        except KubeError as error:
            if not error.is_gone:
                raise
            whole = await self._request("GET", resource.path(namespace), query=selected)
            return list(whole["items"])

    async def _list_pages(self, path: str, query: Mapping[str, str]) -> Objects:
        items: Objects = []
        following: Mapping[str, str] = {}
        while True:
            page = await self._request("GET", path, query={**query, "limit": str(CHUNK), **following})
            items += page["items"]
            if not (token := page["metadata"].get("continue")):
                return items
            following = {"continue": token}

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | Objects | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Object:
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        authorization = await self._authorization()
        status, text = await self._send(method, url, body, content_type, authorization)
        if status == HTTPStatus.UNAUTHORIZED:
            await self._reload_credentials(authorization)
            authorization = await self._authorization()
            status, text = await self._send(method, url, body, content_type, authorization)
        return _decode(status, text)

    async def _send(
        self, method: str, url: str, body: Object | Objects | None, content_type: str, authorization: str
    ) -> tuple[int, bytes]:
        headers = {**self._api.default_headers, "Accept": _JSON, "Content-Type": content_type}
        if authorization:
            headers["Authorization"] = authorization
        try:
            reply = await self._api.call_api(
                method, url, headers, body, _request_timeout=aiohttp.ClientTimeout(TIMEOUT)
            )
            return reply.status, await reply.read()  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise KubeError(0, "Timeout", f"no answer from {self.server} in {TIMEOUT:g}s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise KubeError(0, "Unreachable", f"{self.server}: {error or type(error).__name__}") from error

    async def _authorization(self) -> str:
        return (await self.access()).authorization

    async def _reload_credentials(self, refused: str) -> None:
        """Load the credentials anew, once for all requests that were refused with the same ones."""
        async with self._reloading:
            if await self._authorization() != refused:
                return
            try:
                fresh = await connection.load(self._kubeconfig)
            except ClusterUnreachable as error:
                raise KubeError(HTTPStatus.UNAUTHORIZED, "Unauthorized", str(error)) from error
            self._api.configuration.api_key = fresh.api_key


async def _greet(client: KubeClient) -> None:
    for tries_left in reversed(range(TRIES)):
        try:
            await client.version()
        except KubeError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise ClusterUnreachable(
                    f"the API server at {client.server} refuses our credentials: "
                    "check the user in the kubeconfig"
                ) from error
            if not error.is_unavailable:
                return  # it lives: what we may and may not do there shows with the first real request
            if not tries_left:
                raise ClusterUnreachable(
                    f"no Kubernetes API server at {client.server} after {TRIES} tries ({error.message}): "
                    "check that it runs and that the kubeconfig names the right one"
                ) from error
            await asyncio.sleep(RETRY_INTERVAL)
        else:
            return


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _decode(status: int, text: bytes) -> Object:
    try:
        reply = json.loads(text)
    except ValueError:
        reply = None
    if status < HTTPStatus.BAD_REQUEST and isinstance(reply, dict):
        return reply
    if isinstance(reply, dict) and reply.get("kind") == "Status":
        raise KubeError(status, reply.get("reason") or _phrase(status), reply.get("message", ""))
    raise KubeError(status, _phrase(status), text[:200].decode(errors="replace").strip())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
