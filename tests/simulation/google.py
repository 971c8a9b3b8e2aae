"""gRPC channel in memory: hands serialized requests to the handlers of the emulator.

`grpc.aio` has threads and a clock of its own, so that no run with it is the same as another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Self

import grpc
import grpc.aio
from google.protobuf.message import Message

from cloudrun_identity_playground.emulator.errors import GoogleError

Answer = Callable[[str, bytes, dict[str, str]], Awaitable[bytes]]
"""Returns the response to a method, a request and its metadata, or raises `GoogleError`."""
Around = Callable[[str, bytes, Callable[[], Awaitable[bytes]]], Awaitable[bytes]]
"""Called with method, request and a function that makes the call. Returns the response, or raises
`GoogleError`."""

_DETAILS = "grpc-status-details-bin"


class Channel(grpc.aio.Channel):  # type: ignore[misc]
    """Channel of one process to the emulator."""

    def __init__(self, answer: Answer, around: Around) -> None:
        self._answer = answer
        self._around = around
        self._unary_unary_interceptors: list[Any] = []

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool | None = False,
    ) -> "MultiCallable":
        """Return the method as a callable."""
        return MultiCallable(self._call, method.lstrip("/"), response_deserializer)

    async def _call(self, method: str, request: bytes, metadata: dict[str, str]) -> bytes:
        return await self._around(method, request, lambda: self._answer(method, request, metadata))

    async def close(self, grace: float | None = None) -> None:
        """Do nothing: no connection is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return that the channel is ready."""
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait forever: the state does not change."""
        await asyncio.get_running_loop().create_future()

    async def channel_ready(self) -> None:
        """Return at once."""

    def unary_stream(self, *_: Any, **__: Any) -> NoReturn:
        """Raise NotImplementedError: the operator streams nothing."""
        raise NotImplementedError

    stream_unary = stream_stream = unary_stream


class MultiCallable(grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[misc]
    """One method of a channel."""

    def __init__(
        self,
        answer: Answer,
        method: str,
        deserialize: Callable[[bytes], Any],
    ) -> None:
        self._answer = answer
        self._method = method
        self._deserialize = deserialize

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> "Call":
        return Call(self._call(_serialized(request), timeout, dict(metadata or ())))

    async def _call(self, request: bytes, timeout: float | None, metadata: dict[str, str]) -> Any:
        try:
            async with asyncio.timeout(timeout):
                return self._deserialize(await self._answer(self._method, request, metadata))
        except TimeoutError:
            raise _rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except GoogleError as error:
            details = error.status().SerializeToString() if error.details else b""
            raise _rpc_error(error.code, error.message, details) from None


def _serialized(request: Any) -> bytes:
    """Return the bytes of a request, which have maps in one order in all processes."""
    message: Message = request if isinstance(request, Message) else type(request).pb(request)
    return message.SerializeToString(deterministic=True)


class Call(grpc.aio.UnaryUnaryCall):  # type: ignore[misc]
    """One call, which starts when it is created."""

    def __init__(self, result: Any) -> None:
        self._task = asyncio.ensure_future(result)

    def __await__(self) -> Any:
        try:
            return (yield from self._task.__await__())
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def cancel(self) -> bool:
        """Cancel the call."""
        cancelled: bool = self._task.cancel()
        return cancelled

    def cancelled(self) -> bool:
        """Return whether the call was canceled."""
        cancelled: bool = self._task.cancelled()
        return cancelled

    def done(self) -> bool:
        """Return whether the call has ended."""
        done: bool = self._task.done()
        return done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` at the end."""
        self._task.add_done_callback(lambda _: callback(self))

    def time_remaining(self) -> float | None:
        """Return None: the deadline is not shown."""
        return None

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Return no metadata."""
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return no metadata."""
        return grpc.aio.Metadata()

    async def code(self) -> grpc.StatusCode:
        """Return the status of a call that succeeded."""
        await self._task
        return grpc.StatusCode.OK

    async def details(self) -> str:
        """Return no details."""
        return ""

    async def wait_for_connection(self) -> None:
        """Return at once."""


def _rpc_error(code: grpc.StatusCode, message: str, details: bytes = b"") -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*([(_DETAILS, details)] if details else []))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=message)
