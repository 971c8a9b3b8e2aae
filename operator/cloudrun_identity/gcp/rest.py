"""JSON requests to APIs without a published gRPC client, for `GoogleClients.call`.

aiohttp is the HTTP client of the process already. Its calls end with their timeout, unlike calls in a thread.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import grpc
from google.api_core import exceptions as api_exceptions
from google.protobuf import json_format
from google.rpc import error_details_pb2

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES = 16 << 20
"""Maximum size of a reply. A page of 1,000 activities has about 0.5 MiB."""

Json: TypeAlias = dict[str, Any]

NOT_SERVED = ""
"""URL of an emulator that does not serve REST."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A GET request."""

    path: str
    """Path of the URL, with a leading slash."""
    parent: str
    """Relative name of the resource that is read."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the URL."""


class RestConnections:
    """HTTP connections of one credential, opened on first use in the event loop that uses them.

    With `url`, all requests go there, without a proxy: this is for an emulator. With `NOT_SERVED`, each
    request is refused as UNIMPLEMENTED. Without a URL, each API is called on its host over TLS. `headers()`
    returns the headers for the next call.
    """

    def __init__(self, url: str | None, headers: Callable[[], Mapping[str, str]]) -> None:
        self._url = url
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections. Calls in flight are canceled."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def get(self, api: str) -> Callable[..., Awaitable[Json]]:
        """Return a function for `GoogleClients.call` that sends a `RestRequest` to an API, by its host."""

        async def invoke(
            request: RestRequest,
            *,
            timeout: float,
            metadata: tuple[tuple[str, str], ...],
            retry: None,  # noqa: ARG001 - `GoogleClients.call` passes it to every client
        ) -> Json:
            return await self._send(api, request, timeout, dict(metadata))

        return invoke

    async def _send(self, api: str, request: RestRequest, timeout: float, headers: Mapping[str, str]) -> Json:
        """Return the reply. Raises GoogleAPICallError."""
        import aiohttp  # a dry run without such a request does not load it

        if self._url == NOT_SERVED:
            raise _error(grpc.StatusCode.UNIMPLEMENTED, "--google-endpoint names no port for REST")
        if self._session is None:
            # Without netrc files: they could replace the token.
            self._session = aiohttp.ClientSession(trust_env=False)
        origin = self._url or f"https://{api}"
        proxy = _NO_PROXY if self._url else _proxy(origin)
        try:
            async with self._session.get(
                f"{origin}{request.path}",
                params=request.query,
                headers={**self._headers(), **headers},
                timeout=aiohttp.ClientTimeout(total=timeout),
                proxy=proxy.url,
                proxy_headers=proxy.headers,
                allow_redirects=False,
            ) as response:
                body = await _limited(response)
                status = response.status
        except TimeoutError:
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, f"no reply within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _error(grpc.StatusCode.UNAVAILABLE, _reason(error)) from None
        if status == _OK:
            return _parsed(body)
        raise _refusal(status, body)


async def _limited(response: "aiohttp.ClientResponse") -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise _error(grpc.StatusCode.OUT_OF_RANGE, f"the reply has more than {MAX_BYTES} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise _error(grpc.StatusCode.UNKNOWN, "the reply is not a JSON object")
    return parsed


def _refusal(status: int, body: bytes) -> api_exceptions.GoogleAPICallError:
    """Return the error in a reply (https://cloud.google.com/apis/design/errors#http_mapping)."""
    try:
        error = json.loads(body)["error"]
        code = grpc.StatusCode[error["status"]]
        message, listed = str(error["message"]), list(error.get("details", ()))
    except (ValueError, KeyError, TypeError):  # a page of Google's front end or of a proxy
        code = _BY_HTTP_STATUS.get(status, grpc.StatusCode.UNKNOWN)
        return _error(code, f"HTTP status {status}")
    details = [detail for each in listed if (detail := _detail(each)) is not None]
    info = next((each for each in details if isinstance(each, error_details_pb2.ErrorInfo)), None)
    return _error(code, message, details=tuple(details), error_info=info)


def _detail(listed: object) -> Any:
    """Return a typed detail of an error; None for one of another type."""
    match listed:
        case {"@type": str(name), **fields}:
            pass
        case _:
            return None
    message = _DETAILS.get(name.rpartition(".")[2])
    if message is None:
        return None
    try:
        return json_format.ParseDict(fields, message(), ignore_unknown_fields=True)
    except json_format.ParseError:
        return None


def _error(code: grpc.StatusCode, message: str, **details: Any) -> api_exceptions.GoogleAPICallError:
    error: api_exceptions.GoogleAPICallError = api_exceptions.from_grpc_status(code, message, **details)  # type: ignore[no-untyped-call]
    return error


def _reason(error: Exception) -> str:
    """Return why a request has no reply, without the URL: that of a proxy may have a password."""
    import aiohttp

    match error:
        case aiohttp.ClientResponseError(status=status, message=message):
            return f"HTTP status {status}: {message}"
        case aiohttp.ClientConnectorError(host=host, port=port):
            return f"cannot connect to {host}:{port}: {error.os_error.strerror or type(error).__name__}"
        case OSError(strerror=str(reason)):
            return reason
        case _:
            return type(error).__name__


@dataclass(frozen=True, slots=True)
class _Proxy:
    """The proxy of a request."""

    url: str | None
    """URL without credentials; None for a direct connection."""
    headers: Mapping[str, str] | None = None
    """Headers for the proxy alone, with its credentials."""


_NO_PROXY = _Proxy(None)


def _proxy(origin: str) -> _Proxy:
    """Return the proxy in the environment for this URL: `HTTPS_PROXY`, without `NO_PROXY`.

    Its credentials are separate from its URL, which errors of aiohttp contain. Raises GoogleAPICallError.
    """
    from yarl import URL  # aiohttp loads it

    target = urlsplit(origin)
    declared = None if proxy_bypass(target.hostname or "") else getproxies().get(target.scheme)
    if declared is None:
        return _NO_PROXY
    try:
        url = URL(declared)
    except ValueError:
        raise _unusable_proxy() from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _unusable_proxy()
    if url.user is None and url.password is None:
        return _Proxy(declared)
    credentials = f"{url.user or ''}:{url.password or ''}".encode()
    headers = {"Proxy-Authorization": f"Basic {base64.b64encode(credentials).decode()}"}
    return _Proxy(str(url.with_user(None)), headers)


def _unusable_proxy() -> api_exceptions.GoogleAPICallError:
    message = "HTTPS_PROXY is not the URL of an HTTP proxy, such as http://proxy.example.com:3128"
    return _error(grpc.StatusCode.UNAVAILABLE, message)


_OK = 200

_DETAILS = {
    "ErrorInfo": error_details_pb2.ErrorInfo,
    "RetryInfo": error_details_pb2.RetryInfo,
    "PreconditionFailure": error_details_pb2.PreconditionFailure,
}

# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_BY_HTTP_STATUS = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
