"""Dispatch of calls to their handlers.

Each call is authenticated and authorized, delayed, checked against quotas and faults, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from .access.authorizer import Authorizer
from .access.callers import Callers
from .apis.actor import acting_as, actor
from .apis.rpc import Handler
from .calls import Call, Calls
from .errors import GoogleError, NotServedError
from .faults import Faults
from .quotas import Quotas
from .switches import Switches


class Dispatcher:
    """Answers calls from gRPC and REST."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        callers: Callers,
        authorizer: Authorizer,
        calls: Calls,
        faults: Faults,
        switches: Switches,
        quotas: Quotas,
    ) -> None:
        self._handlers = handlers
        self._callers = callers
        self._authorizer = authorizer
        self._calls = calls
        self._faults = faults
        self._switches = switches
        self._quotas = quotas

    async def call(self, rpc: str, request: Any, *, reason: str = "", authorization: str = "") -> Any:
        """Return the response of `rpc` to `request`.

        `reason` and `authorization` are the headers `X-Goog-Request-Reason` and `Authorization`.

        Raises GoogleError: the error that Google returns; UNIMPLEMENTED for a method that is not served.
        """
        code = grpc.StatusCode.OK
        who = ""
        try:
            with acting_as(self._callers.of(authorization, rpc)):
                who = actor()
                return await self._answer(rpc, request)
        except GoogleError as error:
            code = error.code
            raise
        finally:
            self._calls.add(Call(rpc, code.name, reason, who))

    async def _answer(self, rpc: str, request: Any) -> Any:
        if seconds := self._switches.latency.seconds(rpc):
            await asyncio.sleep(seconds)
        handler = self._handlers.get(rpc)
        if handler is None:
            raise NotServedError(rpc)
        self._quotas.spend(rpc, request)
        return await self._faults.around(rpc, lambda: self._authorizer.answer(rpc, request, handler))
