"""Client of the Kubernetes API for any resource, built on `kubernetes.aio`. Objects are raw dictionaries."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Required, TypeAlias
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from cloudrun_identity import __version__

from . import connection
from .errors import ClusterUnreachable, KubeError
from .resources import Form, Listing, Object, Objects, PatchType, Resource, as_sent

FIELD_MANAGER = "cloudrun-identity"
PAGE_SIZE = 200
"""Objects per page of a list. A decoded object takes 17 KiB before it is compact."""

TIMEOUT = 30.0
"""Seconds for one request and its reply. The API server itself gives up after 60."""

ENDS_WITHIN = 75.0
"""Seconds for a request in all: two attempts, and new credentials from an exec plugin that may hang."""

TRIES = 3
"""Attempts of the first request, after which the cluster counts as unreachable."""

RETRY_INTERVAL = 1.0
"""Seconds between these attempts."""

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


Items: TypeAlias = list[Form]


class _Metadata(TypedDict, total=False):
    """The part of the metadata of one object that a list of metadata returns."""

    name: Required[str]
    namespace: str
    uid: str
    resourceVersion: str


class _Item(TypedDict):
    metadata: _Metadata


class _MetadataList(TypedDict):
    metadata: dict[str, Any]
    items: list[_Item] | None


_METADATA_LIST = TypeAdapter(_MetadataList)
"""Parser that skips the other fields, above all `managedFields`, without building objects for them."""


async def connect(kubeconfig: str | None = None, context: str | None = None) -> "KubeClient":
    """Connect to the API server that `connection.load` finds, and check that it accepts the credentials.

    Raises:
        ClusterUnreachable: The server did not answer after three attempts, or it rejects the credentials.
            The message is one line.

    """
    client = KubeClient(await connection.load(kubeconfig, context), kubeconfig, context)
    try:
        await _check_connection(client)
    except BaseException:
        await client.close()
        raise
    return client


class KubeClient:
    """Connection of one user to one API server. Implements `resources.ObjectClient`.

    A request is repeated in one case only: when the server answers 401, the client loads the credentials
    again and sends the request once more. Credentials of exec plugins and mounted tokens expire.
    """

    def __init__(
        self, configuration: Configuration, kubeconfig: str | None, context: str | None = None
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._configuration = configuration
        # The first word of the user agent is the field manager.
        self._session = connection.session(configuration, f"{FIELD_MANAGER}/{__version__}")
        # The time that a request waits for a connection is not the time that the server takes to answer it.
        self._connections = asyncio.Semaphore(connection.CONNECTIONS)
        self._reloading = asyncio.Lock()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._configuration.host)

    async def access(self) -> connection.ClusterAccess:
        """Return the connection data for another client of the same server and user, with a current token."""
        return await connection.access(self._configuration)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def version(self) -> Object:
        """Return the version of the server: `gitVersion`, `major`, `minor` and more."""
        return await self._request("GET", "/version")

    async def kinds(self, group: str, version: str) -> frozenset[str]:
        """Return the kinds that the server serves in a version of a group; none without that version."""
        try:
            found = await self._request("GET", f"/apis/{group}/{version}")
        except KubeError as error:
            if error.is_not_found:
                return frozenset()
            raise
        return frozenset(each["kind"] for each in found["resources"] if "/" not in each["name"])

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Read one object."""
        return await self._request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create the object in the namespace of its metadata. Return the stored object."""
        return await self._request("POST", resource.path(_namespace(obj)), obj)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replace the stored object. A resourceVersion in the object must be the current one."""
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
        """Change part of the object. An apply takes over fields that another field manager owns."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} if patch_type is PatchType.APPLY else {}
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, patch, query, content_type=patch_type)

    async def delete(
        self, resource: Resource, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete the object if it still has the given uid and resourceVersion. Empty values match any."""
        given = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in given.items() if value}
        options = {"kind": "DeleteOptions", "apiVersion": "v1"} | (
            {"preconditions": preconditions} if preconditions else {}
        )
        await self._request("DELETE", resource.path(namespace, name), options)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        form: Callable[[Object], Object] = as_sent,
    ) -> Objects:
        """Read all objects, page by page. If the continue token expires, read them in one request."""
        return (await self._list(resource.path(namespace), label_selector, form)).items

    async def list_all(
        self, resource: Resource, *, form: Callable[[Object], Object] = as_sent
    ) -> Listing[Object]:
        """Read all objects of all namespaces, with the version after which to watch them."""
        return await self._list(resource.path(), "", form)

    async def list_metadata(self, resource: Resource, form: Callable[[Object], Form]) -> Items[Form]:
        """Read all objects of all namespaces: the name, the namespace, the UID and the version of each.

        The form is applied page by page, as in `list`.
        """
        parse = _METADATA_LIST.validate_json
        listing = await self._list_pages(resource.path(), {}, accept=_METADATA, parse=parse, form=form)
        return listing.items

    async def _list(
        self, path: str, label_selector: str, form: Callable[[Object], Object]
    ) -> Listing[Object]:
        selected = {"labelSelector": label_selector} if label_selector else {}
        try:
            return await self._list_pages(path, selected, form=form)
        except KubeError as error:
            if not error.is_gone:
                raise
            whole = await self._request("GET", path, query=selected)
            return Listing(list(map(form, whole["items"])), whole["metadata"]["resourceVersion"])

    async def _list_pages(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        form: Callable[[Object], Form],
        accept: str = _JSON,
        parse: Callable[[bytes], object] = from_json,
    ) -> Listing[Form]:
        items: list[Form] = []
        position: Mapping[str, str] = {}
        while True:
            paged = {**query, "limit": str(PAGE_SIZE), **position}
            page = await self._request("GET", path, query=paged, accept=accept, parse=parse)
            items += map(form, page["items"] or ())  # an empty PartialObjectMetadataList has null
            if not (token := page["metadata"].get("continue")):
                return Listing(items, page["metadata"]["resourceVersion"])
            position = {"continue": token}

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | Objects | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        parse: Callable[[bytes], object] = from_json,
    ) -> Object:
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                status, text = await self._send_authorized(method, url, body, content_type, accept)
        except TimeoutError:
            message = f"{self.server}: no credentials and no answer within {ENDS_WITHIN:g}s"
            raise KubeError(0, "Timeout", message) from None
        return _decode(status, text, parse)

    async def _send_authorized(
        self, method: str, url: str, body: Object | Objects | None, content_type: str, accept: str
    ) -> tuple[int, bytes]:
        """Send a request, and once more with new credentials if the server refuses the present ones."""
        authorization = await self._authorization()
        status, text = await self._send(method, url, body, content_type, accept, authorization)
        if status == HTTPStatus.UNAUTHORIZED:
            await self._reload_credentials(authorization)
            authorization = await self._authorization()
            status, text = await self._send(method, url, body, content_type, accept, authorization)
        return status, text

    async def _send(
        self,
        method: str,
        url: str,
        body: Object | Objects | None,
        content_type: str,
        accept: str,
        authorization: str,
    ) -> tuple[int, bytes]:
        headers = {"Accept": accept, "Content-Type": content_type}
        if authorization:
            headers["Authorization"] = authorization
        try:
            async with (
                self._connections,
                asyncio.timeout(TIMEOUT),
                self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=None if body is None else to_json(body),
                    server_hostname=self._configuration.tls_server_name,
                ) as reply,
            ):
                return reply.status, await reply.read()
        except TimeoutError as error:
            raise KubeError(0, "Timeout", f"{self.server} did not answer within {TIMEOUT:g}s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise KubeError(0, "Unreachable", f"{self.server}: {error or type(error).__name__}") from error

    async def _authorization(self) -> str:
        return await connection.authorization(self._configuration)

    async def _reload_credentials(self, refused: str) -> None:
        """Load the credentials again, once for all requests that the server refused with the same ones."""
        async with self._reloading:
            if await self._authorization() != refused:
                return
            try:
                fresh = await connection.load(self._kubeconfig, self._context)
            except ClusterUnreachable as error:
                raise KubeError(HTTPStatus.UNAUTHORIZED, "Unauthorized", str(error)) from error
            self._configuration.api_key = fresh.api_key


async def _check_connection(client: KubeClient) -> None:
    for tries_left in reversed(range(TRIES)):
        try:
            await client.version()
        except KubeError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise ClusterUnreachable(
                    f"the API server at {client.server} rejects the credentials (401 Unauthorized): "
                    "check the user in the kubeconfig"
                ) from error
            if not error.is_unavailable:
                return  # the server answers; the first real request shows which permissions are missing
            if not tries_left:
                raise ClusterUnreachable(
                    f"no Kubernetes API server at {client.server} after {TRIES} attempts ({error.message}): "
                    "check that the server runs and that the kubeconfig names the right one"
                ) from error
            await asyncio.sleep(RETRY_INTERVAL)
        else:
            return


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _decode(status: int, text: bytes, parse: Callable[[bytes], object]) -> Object:
    is_success = status < HTTPStatus.BAD_REQUEST
    try:
        reply = parse(text) if is_success else from_json(text)
    except ValueError:
        reply = None
    if is_success and isinstance(reply, dict):
        return reply
    if isinstance(reply, dict) and reply.get("kind") == "Status":
        raise KubeError(status, reply.get("reason") or _phrase(status), reply.get("message", ""))
    raise KubeError(status, _phrase(status), text[:200].decode(errors="replace").strip())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
