"""gRPC server for every method that the client libraries declare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from cloudrun_identity_playground.emulator.dispatch import Dispatcher
from cloudrun_identity_playground.emulator.errors import GoogleError

from .methods import Method, methods

_MAX_MESSAGE = 64 << 20
_DETAILS = "grpc-status-details-bin"
_REASON = "x-goog-request-reason"
_AUTHORIZATION = "authorization"


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
        by_service[method.service][method.name] = grpc.unary_unary_rpc_method_handler(
            _behaviour(dispatcher, method),
            request_deserializer=method.deserialize_request,
            response_serializer=method.serialize_response,
        )
    return [grpc.method_handlers_generic_handler(service, each) for service, each in by_service.items()]


def _behaviour(dispatcher: Dispatcher, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata() or ())
        try:
            return await dispatcher.call(
                method.rpc,
                request,
                reason=metadata.get(_REASON, ""),
                authorization=metadata.get(_AUTHORIZATION, ""),
            )
        except GoogleError as error:
            if error.details:
                context.set_trailing_metadata(((_DETAILS, error.status().SerializeToString()),))
            await context.abort(error.code, error.message)

    return answer
