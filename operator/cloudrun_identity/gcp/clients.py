"""Sends every request to Google Cloud, through `GoogleClients.call`."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from google.api_core import exceptions as api_exceptions
from google.api_core.gapic_v1 import method_async

from .channels import Channels
from .credentials import ApplicationDefaultTokens, TokenSource
from .error_classification import classify, location_not_found
from .errors import ClientReadOnly, Fault, GoogleError, LeaseNotHeld
from .ratelimit import BucketKey, CallKind, RateLimiter, Reservation, call_priority
from .requests import kind_of, reason_header, resource_in
from .rest import NOT_SERVED, Json, RestConnections

TIMEOUT = 30.0
"""Seconds for one attempt. Many generated methods have no default timeout and could hang forever."""


class CallObserver(Protocol):
    """Receives every attempt, for metrics."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Record that `method` (`package.Service/Method`) ended with gRPC status `code` after `seconds`."""


Client = TypeVar("Client")
Response = TypeVar("Response")


class ProjectClients(Protocol):
    """Clients by project: a `client_pool.ClientPool`, or one `GoogleClients` for all projects."""

    def for_project(self, project_id: str, /) -> "GoogleClients":
        """Return the clients with the credential of the project. Raises GoogleError if it is not known."""
        ...


class GoogleClients:
    """Clients of all APIs for one credential, with the rules that every request follows.

    With `endpoint` (`HOST:PORT`, or `HOST:PORT/REST_PORT` if it serves REST), all requests go there in
    plaintext, with `tokens` if given: this is for an emulator. Otherwise each API is called on its own host
    over TLS, with `tokens` or else Application Default Credentials. Channels belong to the event loop that
    first uses them, and stay open until `close`.
    """

    def __init__(
        self,
        endpoint: str | None,
        observer: CallObserver,
        limiter: RateLimiter | None = None,
        holds_lease: Callable[[], bool] = lambda: True,
        tokens: TokenSource | None = None,
        quota_project: str = "",
        *,
        read_only: bool = False,
    ) -> None:
        """Create clients without opening a channel.

        `holds_lease()` is called before every write: a replica without the lease must not write.
        `quota_project` is charged for the calls instead of the project of the credential. With `read_only`,
        every write raises `ClientReadOnly`, because the caller must not attempt any.
        """
        self._endpoint = endpoint
        self._observer = observer
        self._holds_lease = holds_lease
        self._read_only = read_only
        self._limiter = limiter or RateLimiter()
        self._tokens = tokens or (None if endpoint else ApplicationDefaultTokens())
        self._quota_project = quota_project
        address, rest_url = _split_endpoint(endpoint)
        self._channels = Channels(address, self._headers)
        self._rest = RestConnections(rest_url, self._headers)
        self._clients: dict[tuple[type, grpc.aio.Channel], Any] = {}
        self._closed = False

    def with_credential(self, tokens: TokenSource | None, quota_project: str) -> "GoogleClients":
        """Return clients under the same rules with other tokens; None keeps these tokens."""
        return GoogleClients(
            self._endpoint,
            self._observer,
            self._limiter,
            self._holds_lease,
            tokens or self._tokens,
            quota_project,
            read_only=self._read_only,
        )

    def for_project(self, project_id: str) -> "GoogleClients":  # noqa: ARG002
        """Return these clients, for every project."""
        return self

    @property
    def identity(self) -> str:
        """E-mail of the service account that makes the calls, in lower case; empty if it is not known."""
        return self._tokens.email if self._tokens else ""

    async def check_credentials(self) -> None:
        """Get a token, if these clients use one.

        Raises:
            CredentialsError: There are no usable credentials. The message is one line with the remedy.

        """
        if self._tokens:
            await self._tokens.check()

    async def close(self, grace: float | None = None) -> None:
        """Close every channel. Calls in flight are canceled, after `grace` seconds if given.

        Calls that still wait for the rate limiter are not sent.
        """
        self._closed = True
        self._clients.clear()
        await self._rest.close()
        await self._channels.close(grace)

    def client(self, client_class: type[Client], api: str, region: str = "") -> Client:
        """Return the generated asyncio client of this class. Pass its methods to `call`.

        Raises:
            GoogleError: INVALID_ARGUMENT: `region` is not a valid region name.

        """
        channel = self._channels.get(api, region)
        key = (client_class, channel)
        if key not in self._clients:
            transport = client_class.get_transport_class("grpc_asyncio")  # type: ignore[attr-defined]
            self._clients[key] = client_class(transport=transport(channel=channel))  # type: ignore[call-arg]
        client: Client = self._clients[key]
        return client

    def stub(
        self, api: str, method: str, response: type[Response], region: str = ""
    ) -> Callable[..., Awaitable[Response]]:
        """Return a stub for any method (`package.Service/Method`) with plain messages. Pass it to `call`.

        Raises:
            GoogleError: INVALID_ARGUMENT: `region` is not a valid region name.

        """
        multicallable = self._channels.get(api, region).unary_unary(
            f"/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,  # type: ignore[attr-defined]
        )
        stub: Callable[..., Awaitable[Response]] = method_async.wrap_method(multicallable)  # type: ignore[no-untyped-call]
        return stub

    def rest(self, api: str) -> Callable[..., Awaitable[Json]]:
        """Return a function that sends a `rest.RestRequest` to an API. Pass it to `call`."""
        return self._rest.get(api)

    async def call(
        self,
        api: str,
        method: str,
        invoke: Callable[..., Awaitable[Response]],
        request: object,
        *,
        region: str = "",
        project_id: str = "",
        timeout: float = TIMEOUT,
        metadata: tuple[tuple[str, str], ...] = (),
        repeatable: bool = False,
        has_etag: bool = False,
        before_send: Callable[[], Awaitable[None]] | None = None,
    ) -> Response:
        """Send one request.

        Reads are sent up to three times while there is no answer (UNAVAILABLE, or UNKNOWN, which gRPC reports
        for a connection that ends), and so are `repeatable` writes. A request that Google refuses as
        UNAUTHENTICATED is sent once more with a new token.

        Args:
            api: Host of the API to call.
            method: Name of the method (`package.Service/Method`).
            invoke: The method of a `client`, or a `stub`.
            request: Request message.
            region: Region of the API host; empty for a global API.
            project_id: Project for which the call is made, for messages about errors.
            timeout: Seconds for each attempt.
            metadata: Additional gRPC metadata.
            repeatable: True if a second write is harmless, because of an etag or because it is idempotent.
            has_etag: True if the request has an etag. ABORTED then means that the etag is old, and that the
                write had no effect. Without an etag, the effect of an ABORTED write is unknown.
            before_send: Awaited after the rate limiter admits the request, which may take minutes. Its
                exceptions are raised.

        Raises:
            LeaseNotHeld: A write was not sent, because this replica does not hold the lease.
            ClientReadOnly: A write was not sent, because these clients are read-only.
            GoogleError: The call failed for another reason.

        """
        kind = kind_of(method)
        if kind is CallKind.WRITE and self._read_only:
            raise ClientReadOnly(method)
        bucket = BucketKey(api, kind, self._charged_project, region)
        retries = _RETRIES if repeatable or kind is CallKind.READ else 0
        retry, refused, in_doubt = 0, None, False
        while True:
            try:
                await self._admit(bucket, method, refused)
                if before_send:
                    await before_send()
            except GoogleError as error:
                error.sent = retry > 0
                error.in_doubt = in_doubt
                raise
            token = self._tokens.headers() if self._tokens else None
            try:
                with self._observed(bucket, method, request, project_id):
                    return await invoke(
                        request,
                        timeout=timeout,
                        retry=None,
                        metadata=self._plaintext_headers() + reason_header() + metadata,
                    )
            except GoogleError as error:
                in_doubt = in_doubt or error.undecided or (error.fault is Fault.ABORTED and not has_etag)
                error.in_doubt = in_doubt
                if error.fault is Fault.UNAUTHENTICATED and token and not refused:
                    refused = token
                    continue
                if error.code not in _NO_ANSWER or retry == retries:
                    if error.fault is Fault.UNAVAILABLE and await self._channels.has_no_host(api, region):
                        raise location_not_found(method, region, error.message) from error
                    raise
            await asyncio.sleep(_backoff(retry))
            retry += 1

    def reserved_write(
        self, api: str, resource: Hashable, region: str = ""
    ) -> AbstractAsyncContextManager[Reservation]:
        """Wait until the rate limiter admits a write of an API, for the first such write in the block.

        `resource` is what the write is about.
        """
        bucket = BucketKey(api, CallKind.WRITE, self._charged_project, region)
        return self._limiter.reserved(bucket, call_priority.get(), resource)

    def write_spacing(self, api: str, region: str = "") -> tuple[float, bool]:
        """Return the seconds between two writes of a resource with which the rate suffices for all.

        Also return whether less than half of a burst is left.
        """
        bucket = BucketKey(api, CallKind.WRITE, self._charged_project, region)
        return self._limiter.spacing(bucket), self._limiter.is_low(bucket)

    def are_reads_low(self, api: str, region: str = "") -> bool:
        """Return whether less than half of a burst of reads is left."""
        return self._limiter.is_low(BucketKey(api, CallKind.READ, self._charged_project, region))

    async def _admit(self, bucket: BucketKey, method: str, refused: Mapping[str, str] | None) -> None:
        await self._limiter.acquire(bucket, call_priority.get())
        if self._tokens:
            # Not in gRPC's plugin: gRPC replaces an exception raised there by an UNAVAILABLE without a cause.
            await self._tokens.refresh(refused)
        if self._closed:
            raise GoogleError(
                Fault.UNAVAILABLE, method, "not sent: the credentials of the project have changed"
            )
        if bucket.kind is CallKind.WRITE and not self._holds_lease():
            raise LeaseNotHeld(method)

    @property
    def _charged_project(self) -> str:
        """Project whose quota the calls use: the quota project, or else the project of the account."""
        return self._quota_project or self.identity.partition("@")[2]

    def _plaintext_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers for a plaintext channel, where gRPC does not call its plugins."""
        return tuple(self._headers().items()) if self._endpoint else ()

    def _headers(self) -> Mapping[str, str]:
        headers = dict(self._tokens.headers()) if self._tokens else {}
        if self._quota_project:
            headers[_QUOTA_PROJECT] = self._quota_project
        return headers

    @contextmanager
    def _observed(self, bucket: BucketKey, method: str, request: object, project_id: str) -> Iterator[None]:
        """Report one attempt to the observer, and convert its exception to a GoogleError."""
        code = grpc.StatusCode.UNKNOWN.name
        started = time.monotonic()
        try:
            yield
            code = grpc.StatusCode.OK.name
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except (api_exceptions.GoogleAPICallError, grpc.RpcError) as exception:
            error = classify(exception, method, resource_in(request), bucket.region)
            error.caller, error.project_id = self.identity, project_id
            code = error.code
            if error.rate_limited:
                self._limiter.drain(bucket, error.retry_after)
            raise error from None
        finally:
            self._observer.observed(method, code, time.monotonic() - started)


def _backoff(retry: int) -> float:
    """Return the seconds before the next attempt: 0.1 to 0.2, then 0.2 to 0.4."""
    ceiling: float = _FIRST_BACKOFF * 2**retry
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not cryptography


def _split_endpoint(endpoint: str | None) -> tuple[str | None, str | None]:
    """Return the address for gRPC and the URL for REST; None for those of Google Cloud."""
    if not endpoint:
        return None, None
    address, _, rest_port = endpoint.partition("/")
    host = address.rpartition(":")[0]
    return address, f"http://{host}:{rest_port}" if rest_port else NOT_SERVED


_QUOTA_PROJECT = "x-goog-user-project"
_NO_ANSWER = frozenset({grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.UNKNOWN.name})
_RETRIES = 2
_FIRST_BACKOFF = 0.2
