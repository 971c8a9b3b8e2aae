"""Dispatch of calls to their handlers.

Each call is authenticated and authorized, delayed, checked against quotas and faults, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from inspect import isawaitable
from typing import Any

import grpc

from .access.authorizer import Authorizer
from .access.callers import Callers
from .apis.actor import acting_as, actor
from .apis.rpc import Handler
from .audit_log.log import AuditLog
from .calls import Call, Calls
from .errors import GoogleError, NotServedError
from .faults import Faults
from .quotas import Quotas
from .sender import Sender
from .switches import Switches

StreamHandler = Callable[[Any, AsyncIterator[Any]], AsyncIterator[Any]]
"""Takes the first request of a stream and the following ones, returns the responses."""


class Dispatcher:
    """Answers calls from gRPC and REST."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        streams: Mapping[str, StreamHandler],
        callers: Callers,
        authorizer: Authorizer,
        audit_log: AuditLog,
        calls: Calls,
        faults: Faults,
        switches: Switches,
        quotas: Quotas,
    ) -> None:
        self._handlers = handlers
        self._streams = streams
        self._callers = callers
        self._authorizer = authorizer
        self._audit_log = audit_log
        self._calls = calls
        self._faults = faults
        self._switches = switches
        self._quotas = quotas

    async def call(self, rpc: str, request: Any, sender: Sender) -> Any:
        """Return the response of `rpc` to `request`.

        Raises GoogleError: the error that Google returns; UNIMPLEMENTED for a method that is not served.
        """
        code = grpc.StatusCode.OK
        who = ""
        try:
            with acting_as(self._callers.of(sender.authorization, rpc)):
                who = actor()
                response = await self._answer(rpc, request, sender)
                return await response if isawaitable(response) else response
        except GoogleError as error:
            code = error.code
            raise
        finally:
            self._calls.add(Call(rpc, code.name, sender.reason, who))

    async def stream(self, rpc: str, requests: AsyncIterator[Any], sender: Sender) -> AsyncIterator[Any]:
        """Yield the responses of a streaming `rpc`. It counts as one call.

        Its first request is authorized, again before each response.

        Raises GoogleError: as `call`.
        """
        first = await anext(requests)
        code = grpc.StatusCode.OK
        who = ""
        try:
            with acting_as(self._callers.of(sender.authorization, rpc)):
                who = actor()
                responses = await self._answer(
                    rpc, first, sender, lambda request: self._streams[rpc](request, requests)
                )
            async for response in responses:
                with acting_as(self._callers.of(sender.authorization, rpc)):
                    self._authorizer.answer(rpc, first, lambda _: None)
                yield response
        except GoogleError as error:
            code = error.code
            raise
        finally:
            self._calls.add(Call(rpc, code.name, sender.reason, who))

    async def _answer(self, rpc: str, request: Any, sender: Sender, handler: Handler | None = None) -> Any:
        if seconds := self._switches.latency.seconds(rpc):
            await asyncio.sleep(seconds)
        served = handler or self._handlers.get(rpc)
        if served is None:
            raise NotServedError(rpc)
        self._quotas.spend(rpc, request)

        def authorized() -> Any:
            return self._authorizer.answer(rpc, request, served)

        return await self._faults.around(
            rpc, lambda: self._audit_log.answer(rpc, request, sender, authorized)
        )
