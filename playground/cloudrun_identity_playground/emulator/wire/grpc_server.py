"""gRPC server for every method that the client libraries declare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from cloudrun_identity_playground.emulator.dispatch import Dispatcher
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.sender import Sender

from .methods import Method, methods

_MAX_MESSAGE = 64 << 20
_DETAILS = "grpc-status-details-bin"
_REASON = "x-goog-request-reason"
_AUTHORIZATION = "authorization"
_USER_AGENT = "user-agent"


def make_server(dispatcher: Dispatcher) -> grpc.aio.Server:
    """Return a server of all known methods, without a port."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers(tuple(_handlers(dispatcher)))
    return server


def _handlers(dispatcher: Dispatcher) -> list[Any]:
    by_service: dict[str, dict[str, Any]] = defaultdict(dict)
    for method in methods().values():
        handler = grpc.unary_unary_rpc_method_handler
        behaviour: Callable[[Any, Any], Any] = _behaviour(dispatcher, method)
        if method.is_stream:
            handler, behaviour = grpc.stream_stream_rpc_method_handler, _streaming(dispatcher, method)
        by_service[method.service][method.name] = handler(
            behaviour,
            request_deserializer=method.deserialize_request,
            response_serializer=method.serialize_response,
        )
    return [grpc.method_handlers_generic_handler(service, each) for service, each in by_service.items()]


def _behaviour(dispatcher: Dispatcher, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await dispatcher.call(method.rpc, request, _sender(context))
        except GoogleError as error:
            await _abort(context, error)

    return answer


def _streaming(dispatcher: Dispatcher, method: Method) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def answer(requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async for response in dispatcher.stream(method.rpc, aiter(requests), _sender(context)):
                yield response
        except GoogleError as error:
            await _abort(context, error)

    return answer


def _sender(context: grpc.aio.ServicerContext) -> Sender:
    metadata = dict(context.invocation_metadata() or ())
    return Sender(
        authorization=metadata.get(_AUTHORIZATION, ""),
        reason=metadata.get(_REASON, ""),
        user_agent=metadata.get(_USER_AGENT, ""),
        address=_address(context.peer()),
    )


def _address(peer: str) -> str:
    """Return the IP address in the name of a peer, such as `ipv4:127.0.0.1:50123`."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


async def _abort(context: grpc.aio.ServicerContext, error: GoogleError) -> None:
    if error.details:
        context.set_trailing_metadata(((_DETAILS, error.status().SerializeToString()),))
    await context.abort(error.code, error.message)
