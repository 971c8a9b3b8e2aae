"""An HTTP proxy that answers for `*.googleapis.com`, so that unmodified clients need no other endpoint.

A client such as gcloud connects through the proxy to `https://run.googleapis.com`, and trusts the certificate
authority of the proxy. Connections that negotiate HTTP/2 reach the gRPC port, others the REST port.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import AsyncExitStack, suppress

from cloudrun_identity_playground.tls import google_identity

_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]+):443 HTTP/1\.[01]\r\n")
_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16


class Proxy:
    """The proxy for the emulator at a gRPC address and a REST address, both `host:port`."""

    def __init__(self, grpc_address: str, rest_address: str) -> None:
        self._grpc_address = grpc_address
        self._rest_address = rest_address
        self._identity = google_identity()
        self._tls_address = ""

    @property
    def ca_certificate(self) -> bytes:
        """Certificate in PEM, which clients have to trust."""
        return self._identity.certificate

    async def start(self, starting: AsyncExitStack, host: str, port: int) -> int:
        """Listen on a port, 0 for any; return it. `starting` closes the proxy."""
        context = self._identity.server_context("h2", "http/1.1")
        ending = await asyncio.start_server(self._end_tls, _LOOPBACK, 0, ssl=context)
        starting.callback(ending.close)
        self._tls_address = f"{_LOOPBACK}:{ending.sockets[0].getsockname()[1]}"
        server = await asyncio.start_server(self._accept, host, port)
        starting.callback(server.close)
        return int(server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tunnel a connection: `CONNECT` to the end of TLS, any other request to the REST port."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return
        if not head.startswith(b"CONNECT "):
            await _join(reader, writer, self._rest_address, head)
            return
        match = _CONNECT.match(head)
        if match is None or not match[1].decode().endswith("googleapis.com"):
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, self._tls_address)

    async def _end_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        await _join(reader, writer, self._grpc_address if chosen == "h2" else self._rest_address)


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, head: bytes = b""
) -> None:
    """Connect to an address, and copy in both directions until one side ends."""
    host, _, port = address.rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host, int(port))
    far_writer.write(head)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_copy(reader, far_writer))
            tasks.create_task(_copy(far_reader, writer))
    finally:
        far_writer.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()
