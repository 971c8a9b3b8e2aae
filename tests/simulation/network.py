"""Connections in memory: bytes between an HTTP client and an HTTP server of the same event loop."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace


class Pipe(asyncio.Transport):
    """One end of a connection. What is written arrives at the other end in order, after the latency."""

    def __init__(self, loop: asyncio.AbstractEventLoop, latency: float) -> None:
        super().__init__({"peername": ("127.0.0.1", 0), "sockname": ("127.0.0.1", 0)})
        self._loop = loop
        self._latency = latency
        self._sent: deque[bytes | None] = deque()
        self._protocol: asyncio.BaseProtocol | None = None
        self._peer: Pipe | None = None
        self._is_closing = False
        self._is_reading = True
        self._held: list[bytes] = []
        self._due = 0.0
        """The time before which nothing arrives at the other end."""

    def connect(self, protocol: asyncio.BaseProtocol, peer: "Pipe") -> None:
        """Attach the protocol of this end, and the other end."""
        self._protocol, self._peer = protocol, peer
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        if not self._is_closing:
            self._send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Send bytes."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """End the connection after what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._send(None)
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """End the connection at once."""
        self.close()

    def break_off(self) -> None:
        """Reset the connection at both ends. What is under way is lost."""
        for end in (self, self._peer):
            if end is not None:
                end._is_closing = True
                end._sent.clear()
                self._loop.call_soon(end._lose, ConnectionResetError("connection reset"))

    def delay(self, seconds: float) -> None:
        """Hold back everything that the other end sends, for some seconds. The order stays."""
        if self._peer is not None:
            self._peer._due = self._loop.time() + seconds

    def is_closing(self) -> bool:
        """Return whether the connection ends."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Hold what arrives."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Deliver what was held."""
        self._is_reading = True
        held, self._held = self._held, []
        for data in held:
            self._arrive(data)

    def is_reading(self) -> bool:
        """Return whether what arrives is delivered."""
        return self._is_reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore the limits: the other end takes everything."""

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing waits."""
        return 0

    def can_write_eof(self) -> bool:
        """Return False, as TLS does."""
        return False

    def _send(self, data: bytes | None) -> None:
        self._sent.append(data)
        self._due = max(self._due, self._loop.time() + self._latency)
        self._loop.call_at(self._due, self._deliver)

    def _deliver(self) -> None:
        if not self._sent or self._peer is None:
            return
        data = self._sent.popleft()
        if data is None:
            self._peer._is_closing = True
            self._peer._lose(None)
        else:
            self._peer._arrive(data)

    def _arrive(self, data: bytes) -> None:
        if not self._is_reading:
            self._held.append(data)
        elif isinstance(self._protocol, asyncio.Protocol):
            self._protocol.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)


def connected(client: asyncio.Protocol, server: asyncio.Protocol, latency: float) -> Pipe:
    """Connect two protocols. Return the client's end."""
    loop = asyncio.get_running_loop()
    here, there = Pipe(loop, latency), Pipe(loop, latency)
    there.connect(server, here)
    here.connect(client, there)
    return here


class _Client(ResponseHandler):
    """The client's protocol, with a hash that does not depend on its address.

    The connector has its connections in a set, and closes them in its order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self._number = number
        super().__init__(loop)

    __eq__ = object.__eq__

    def __hash__(self) -> int:
        return self._number


class Connector(aiohttp.BaseConnector):
    """Connector of aiohttp that uses the network of the simulation, in place of `aiohttp.TCPConnector`."""

    connect_to: Callable[[asyncio.Protocol], Pipe]

    def __init__(self, *, limit: int = 100, force_close: bool = False, **_: Any) -> None:
        super().__init__(limit=limit, force_close=force_close)
        self._numbers = itertools.count()

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        protocol = _Client(self._loop, next(self._numbers))
        try:
            type(self).connect_to(protocol)
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol
