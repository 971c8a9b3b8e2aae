"""The one way to Google Cloud: every request passes `GoogleClients.call`."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from google.api_core import exceptions as api_exceptions
from google.api_core.gapic_v1 import method_async

from .channels import Channels
from .credentials import ApplicationDefault, Tokens
from .errors import Fault, GoogleError, NotSent, classify
from .ratelimit import Api, BucketKey, CallKind, RateLimiter, call_priority

request_reason: ContextVar[str] = ContextVar("request_reason", default="")
"""On whose behalf the pass calls (`namespace/name@generation`); Google's audit logs show it."""

TIMEOUT = 30.0
"""Seconds for one attempt: many generated methods have no default and could hang for ever."""


class CallObserver(Protocol):
    """Told of every attempt, for metrics."""

    def observed(self, method: str, code: str, seconds: float) -> None:
        """Note that `method` (`package.Service/Method`) ended with gRPC status `code` after `seconds`."""


Client = TypeVar("Client")
Response = TypeVar("Response")


class ProjectClients(Protocol):
    """The clients that each project is to be worked in with: `gcp.client_pool`, or one for all projects."""

    def of(self, project_id: str, /) -> "GoogleClients":
        """Those that act as whom the project says; raises GoogleError where that cannot be told."""
        ...


class GoogleClients:
    """Channels, generated clients and the rules that every request obeys, for one credential.

    With `endpoint` (`HOST:PORT`) everything goes there in plaintext: an emulator, which is shown no
    credentials but `tokens`. Otherwise each API is called on its own host over TLS, with `tokens` or else
    Application Default Credentials. Channels belong to the event loop that first uses them and live until
    `close`.
    """

    def __init__(
        self,
        endpoint: str | None,
        observer: CallObserver,
        limiter: RateLimiter | None = None,
        may_write: Callable[[], bool] = lambda: True,
        tokens: Tokens | None = None,
        quota_project: str = "",
    ) -> None:
        """`may_write()` is asked before every write: a replica that lost its lease must not.

        `quota_project` is charged for the calls, in place of whatever project the credentials belong to.
        """
        self._endpoint = endpoint
        self._observer = observer
        self._may_write = may_write
        self._limiter = limiter or RateLimiter()
        self._tokens = tokens or (None if endpoint else ApplicationDefault())
        self._quota_project = quota_project
        self._channels = Channels(endpoint, self._headers)
        self._clients: dict[tuple[type, grpc.aio.Channel], Any] = {}
        self._closed = False

    def acting_as(self, tokens: Tokens | None, quota_project: str) -> "GoogleClients":
        """Others under the same rules that act with `tokens`, None for these ones' own."""
        return GoogleClients(
            self._endpoint,
            self._observer,
            self._limiter,
            self._may_write,
            tokens or self._tokens,
            quota_project,
        )

    def of(self, project_id: str) -> "GoogleClients":  # noqa: ARG002
        """Themselves: one credential for all projects."""
        return self

    @property
    def identity(self) -> str:
        """The e-mail of the service account that we act as, in lower case; empty where that is not known."""
        return self._tokens.email if self._tokens else ""

    async def check_credentials(self) -> None:
        """Get a token, if any is used.

        Raises:
            CredentialsError: with one line that says what to do.

        """
        if self._tokens:
            await self._tokens.check()

    async def close(self, grace: float | None = None) -> None:
        """Close every channel; calls under way are cancelled, after `grace` seconds if given.

        What still waits for its rate is not sent any more.
        """
        self._closed = True
        self._clients.clear()
        await self._channels.close(grace)

    def client(self, client_class: type[Client], api: Api, region: str = "") -> Client:
        """The generated asyncio client of this class, whose methods are to be handed to `call`.

        Raises:
            GoogleError: INVALID_ARGUMENT, `region` cannot be the name of one.

        """
        channel = self._channels.to(api, region)
        key = (client_class, channel)
        if key not in self._clients:
            transport = client_class.get_transport_class("grpc_asyncio")  # type: ignore[attr-defined]
            self._clients[key] = client_class(transport=transport(channel=channel))  # type: ignore[call-arg]
        client: Client = self._clients[key]
        return client

    def stub(
        self, api: Api, method: str, response: type[Response], region: str = ""
    ) -> Callable[..., Awaitable[Response]]:
        """A callable for any method (`package.Service/Method`) of plain messages, to be handed to `call`.

        Raises:
            GoogleError: INVALID_ARGUMENT, `region` cannot be the name of one.

        """
        multicallable = self._channels.to(api, region).unary_unary(
            f"/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,  # type: ignore[attr-defined]
        )
        stub: Callable[..., Awaitable[Response]] = method_async.wrap_method(multicallable)  # type: ignore[no-untyped-call]
        return stub

    async def call(
        self,
        api: Api,
        method: str,
        invoke: Callable[..., Awaitable[Response]],
        request: object,
        *,
        region: str = "",
        timeout: float = TIMEOUT,
        metadata: tuple[tuple[str, str], ...] = (),
        repeatable: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Response:
        """Send one request under the rules: rate, timeout, audit reason, metrics, repetition.

        `invoke` is a method of a `client` or a `stub`, `method` its name (`package.Service/Method`) and
        `timeout` in seconds for each attempt. A read that meets UNAVAILABLE is sent up to three times; so is
        a write that is `repeatable`: an etag, or its nature, makes a second one harmless. What Google does
        not let in for its token is sent once more with another. `before` is awaited once the rate admits the
        request, which may take minutes; what it raises is raised.

        Raises:
            GoogleError: whatever went wrong.

        """
        access = _access(method)
        bucket = BucketKey(api, access, self._charged, region)
        retries = _RETRIES if repeatable or access is CallKind.READ else 0
        retry, refused = 0, None
        while True:
            try:
                await self._admit(bucket, method, refused)
                if before:
                    await before()
            except GoogleError as error:
                error.sent = retry > 0
                raise
            token = self._tokens.headers() if self._tokens else None
            try:
                with self._observed(bucket, method):
                    return await invoke(
                        request, timeout=timeout, retry=None, metadata=self._shown() + _reason() + metadata
                    )
            except GoogleError as error:
                if error.fault is Fault.UNAUTHENTICATED and token and not refused:
                    refused = token
                    continue
                if error.code != grpc.StatusCode.UNAVAILABLE.name or retry == retries:
                    raise
            await asyncio.sleep(_backoff(retry))
            retry += 1

    async def _admit(self, bucket: BucketKey, method: str, refused: Mapping[str, str] | None) -> None:
        await self._limiter.acquire(bucket, call_priority.get())
        if self._tokens:
            # Here and not in gRPC's plugin: it turns what that raises into an UNAVAILABLE that tells nobody
            # what to do.
            await self._tokens.refresh(refused)
        if self._closed:
            raise GoogleError(
                Fault.UNAVAILABLE, method, "not sent: whom to act as has changed in the meantime"
            )
        if bucket.access is CallKind.WRITE and not self._may_write():
            raise NotSent(method, "this replica does not hold the lease")

    @property
    def _charged(self) -> str:
        """Whose quota the calls use: a project named for it, else that of the account."""
        return self._quota_project or self.identity.partition("@")[2]

    def _shown(self) -> tuple[tuple[str, str], ...]:
        """What is said on a plaintext channel, on which gRPC's plugins are not asked."""
        return tuple(self._headers().items()) if self._endpoint else ()

    def _headers(self) -> Mapping[str, str]:
        headers = dict(self._tokens.headers()) if self._tokens else {}
        if self._quota_project:
            headers[_QUOTA_PROJECT] = self._quota_project
        return headers

    @contextmanager
    def _observed(self, bucket: BucketKey, method: str) -> Iterator[None]:
        """Report one attempt, whatever becomes of it, and turn what it raises into a GoogleError."""
        code = grpc.StatusCode.UNKNOWN.name
        started = time.monotonic()
        try:
            yield
            code = grpc.StatusCode.OK.name
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except (api_exceptions.GoogleAPICallError, grpc.RpcError) as exception:
            error = classify(exception, method)
            code = error.code
            if error.rate_limited:
                self._limiter.exhausted(bucket, error.retry_after)
            raise error from None
        finally:
            self._observer.observed(method, code, time.monotonic() - started)


def _access(method: str) -> CallKind:
    verb = method.rpartition("/")[2]
    return CallKind.READ if verb.startswith(_READING) else CallKind.WRITE


def _reason() -> tuple[tuple[str, str], ...]:
    reason = request_reason.get()
    return (("x-goog-request-reason", reason),) if reason else ()


def _backoff(retry: int) -> float:
    """Seconds before another attempt: up to 0.2, then up to 0.4, and at least half of that."""
    ceiling: float = _FIRST_BACKOFF * 2**retry
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


_QUOTA_PROJECT = "x-goog-user-project"
_RETRIES = 2
_FIRST_BACKOFF = 0.2
# A token changes nothing, and whoever may not write still reads by one.
_READING = ("Get", "List", "Query", "TestIamPermissions", "GenerateAccessToken")
