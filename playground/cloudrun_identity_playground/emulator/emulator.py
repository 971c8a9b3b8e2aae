"""The emulator: a cloud, its gRPC port and an optional REST port."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import grpc
from aiohttp import web

from .calls import Calls
from .cloud import Cloud
from .control import add_control
from .dispatch import Dispatcher
from .edits import edit
from .faults import Faults
from .quotas import Quotas
from .seed import Seed
from .seeding import apply_seed
from .sender import Sender
from .wire.grpc_server import make_server
from .wire.methods import methods
from .wire.oauth import TOKEN_PATH, add_oauth
from .wire.proxy import Proxy
from .wire.rest import add_rest


class PortTakenError(Exception):
    """A port is already in use."""


class Emulator:
    """Emulated Google Cloud on loopback, for the duration of the `async with`.

        async with Emulator() as emulator:
            channel = grpc.aio.insecure_channel(emulator.grpc_address)

    Port 0 takes a free port. Without `rest_port`, there is no REST. With `proxy_port`, clients that trust
    `proxy_ca` reach the emulator as `*.googleapis.com` through an HTTP proxy. With `credentials`, the gRPC
    port uses TLS. `clock` returns seconds since the epoch. `switches` can be changed at any time.

    The constructor raises `SeedError` if the seed has something that Google would refuse. Entering raises
    `PortTakenError`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        rest_port: int | None = None,
        proxy_port: int | None = None,
        seed: Seed | None = None,
        host: str = "127.0.0.1",
        credentials: grpc.ServerCredentials | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        seed = seed or Seed()
        self.switches = seed.switches
        self.cloud = Cloud(
            clock=clock, strict=seed.strict, default_parent=seed.default_parent, switches=self.switches
        )
        apply_seed(self.cloud, seed)
        self.calls = Calls()
        self.faults = Faults()
        for fault in seed.faults:
            self.faults.add(fault)
        self.grpc_address = ""
        self.rest_url = ""
        self.proxy_url = ""
        self.proxy_ca = b""
        self._dispatcher = Dispatcher(
            self.cloud.handlers,
            self.cloud.streams,
            self.cloud.callers,
            self.cloud.authorizer,
            self.cloud.audit_log,
            self.calls,
            self.faults,
            self.switches,
            Quotas(self.switches, clock),
        )
        self._host = host
        self._port = port
        self._rest_port = 0 if rest_port is None and proxy_port is not None else rest_port
        self._proxy_port = proxy_port
        self._credentials = credentials
        self._running = AsyncExitStack()

    def edit(self, change: Mapping[str, Any]) -> None:
        """Make a change by others than the operator, in the format of `POST /control/edit`.

        It does not count as a call.

        Raises EditError: The change is invalid, or Google would refuse it.
        """
        edit(self.cloud, change)

    async def answer(self, method: str, request: bytes, metadata: Mapping[str, str]) -> bytes:
        """Answer a call as the gRPC port does, from serialized request to serialized response.

        Raises GoogleError: as the method.
        """
        served = methods()[method]
        sender = Sender(
            authorization=metadata.get("authorization", ""), reason=metadata.get("x-goog-request-reason", "")
        )
        response = await self._dispatcher.call(method, served.deserialize_request(request), sender)
        serialized: bytes = served.serialize_response(response)
        return serialized

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            await self._start_grpc(starting)
            if self._rest_port is not None:
                await self._start_rest(starting, self._rest_port)
            if self._proxy_port is not None:
                await self._start_proxy(starting, self._proxy_port)
            self._running = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def _start_grpc(self, starting: AsyncExitStack) -> None:
        server = make_server(self._dispatcher)
        address = f"{self._host}:{self._port}"
        # gRPC writes its own lines about a port in use to stderr.
        _check_free(self._host, self._port)
        if self._credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, self._credentials)
        await server.start()
        starting.push_async_callback(server.stop, None)
        self.grpc_address = f"{self._host}:{port}"

    async def _start_rest(self, starting: AsyncExitStack, port: int) -> None:
        _check_free(self._host, port)
        app = web.Application()
        add_control(app, self.cloud, self.calls, self.faults)
        add_oauth(app, self.cloud)
        add_rest(
            app,
            self._dispatcher,
            lambda project: self.cloud.registry.resolve(project).number,
            lambda bucket: not self.cloud.resources.has_object_acls(bucket),
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        starting.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._host, port).start()
        self.rest_url = f"http://{self._host}:{runner.addresses[0][1]}"
        self.cloud.keys.token_uri = self.rest_url + TOKEN_PATH

    async def _start_proxy(self, starting: AsyncExitStack, port: int) -> None:
        _check_free(self._host, port)
        proxy = Proxy(self.grpc_address, self.rest_url.removeprefix("http://"))
        self.proxy_url = f"http://{self._host}:{await proxy.start(starting, self._host, port)}"
        self.proxy_ca = proxy.ca_certificate


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PortTakenError(f"cannot listen on {host}:{port}: {reason}") from error
