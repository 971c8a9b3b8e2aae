"""The simulated world: Google Cloud, an API server and operator processes, connected in memory."""

import asyncio
import contextvars
import hashlib
import logging
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio

from cloudrun_identity_playground.emulator.calls import only_reads
from cloudrun_identity_playground.emulator.errors import GoogleError

from . import google, network, processes
from .cloud import Cloud
from .kubernetes import OPERATOR_NAMESPACE, Kubernetes
from .processes import OperatorProcess

LEASE_DURATION = 60.0
KUBE_LATENCY = 0.003
"""Seconds for one direction between the operator and the API server."""
GOOGLE_LATENCY = (0.01, 0.1)
"""Least and most seconds for one direction between the operator and Google Cloud."""

RESTARTS_AFTER = 10.0
"""Seconds after which the kubelet starts an operator again that has ended with an error."""

SECRET = b"PRIVATE KEY"
"""Bytes that every private key contains."""


class World:
    """One Google Cloud, one API server, and the operators."""

    def __init__(self, source: random.Random, directory: Path, log: list[str]) -> None:
        self.cloud = Cloud()
        self.kube = Kubernetes(directory)
        self.processes: list[OperatorProcess] = []
        """All processes that were started, the dead ones too."""
        self.checkpoints: Counter[str] = Counter()
        """The number of times that each checkpoint was reached."""
        self.before_google_call: list[Callable[[str, bytes], None]] = []
        """Called with method and request before each call of an operator takes effect."""
        self.on_google_write: list[Callable[[OperatorProcess, str], None]] = []
        self.on_failure: list[Callable[[OperatorProcess, BaseException], None]] = []
        """Called after each write to Google Cloud that an operator makes."""
        self.on_checkpoint: list[Callable[[OperatorProcess, str], None]] = []
        """Called with each checkpoint that an operator reaches."""
        self.on_leak: list[Callable[[str], None]] = []
        """Called with each place that a private key appears in, and must not."""
        self.writes: list[str] = []
        """Every write to Google Cloud, and to an object other than the Lease."""
        self._log = log
        self._source = source
        self._context = contextvars.copy_context()
        """Context of no process: what is started in that of a process belongs to it."""
        self._pipes: dict[OperatorProcess, list[network.Pipe]] = {}
        self._accept: Callable[[], asyncio.Protocol]
        self.kube.on_write.append(self._note_kube_write)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        """Serve both APIs during the block."""
        async with self.kube.running() as self._accept:
            try:
                yield self
            finally:
                for process in self.processes:
                    await self.crash(process)

    def connect(self, client: asyncio.Protocol) -> network.Pipe:
        """Connect a process to the API server. Raises ConnectionRefusedError."""
        process = processes.PROCESS.get()
        if process is None or not process.is_alive:
            raise ConnectionRefusedError("connection refused")
        pipe = network.connected(client, self._accept(), KUBE_LATENCY)
        self._pipes[process] = [each for each in self._pipes.get(process, ()) if not each.is_closing()]
        self._pipes[process].append(pipe)
        return pipe

    def channel(self, *_: Any, **__: Any) -> google.Channel:
        """Return a channel of the present process to Google Cloud."""
        process = processes.PROCESS.get()
        assert process

        async def around(method: str, request: bytes, call: Callable[[], Awaitable[bytes]]) -> bytes:
            if SECRET in request:
                self._leaked(f"a request of {method}")
            await asyncio.sleep(self._source.uniform(*GOOGLE_LATENCY))
            if not process.is_alive:
                raise GoogleError(grpc.StatusCode.UNAVAILABLE, "the process has ended")
            code = "OK"
            for each in self.before_google_call:
                each(method, request)
            try:
                response = await call()
            except GoogleError as error:
                code = error.code.name
                raise
            finally:
                self._note_call(process, method, code, request)
            await asyncio.sleep(self._source.uniform(*GOOGLE_LATENCY))
            return response

        return google.Channel(self.cloud.emulator.answer, around)

    def start(self) -> OperatorProcess:
        """Start an operator."""
        process = OperatorProcess(
            f"operator-{len(self.processes) + 1}", self.kube.kubeconfig, OPERATOR_NAMESPACE, LEASE_DURATION
        )
        process.reached = partial(self._reach, process)
        process.failed = partial(self._restart_later, process)
        self.processes.append(process)
        return process

    def alive(self) -> list[OperatorProcess]:
        """Return the operators that run."""
        return [process for process in self.processes if process.is_alive]

    async def crash(self, process: OperatorProcess) -> None:
        """End an operator at once."""
        process.is_alive = False
        for pipe in self._pipes.pop(process, ()):
            pipe.break_off()
        await process.crash()

    def reset_connections(self) -> None:
        """Break all connections to the API server."""
        for pipes in self._pipes.values():
            for pipe in pipes:
                pipe.break_off()
            pipes.clear()

    def delay_connections(self, share: float, seconds: float) -> None:
        """Hold back what a share of the connections to the API server delivers: each stays in order."""
        for pipes in self._pipes.values():
            for pipe in pipes:
                if self._source.random() < share:
                    pipe.delay(seconds)

    def calm(self) -> None:
        """Clear the faults of both APIs."""
        self.cloud.calm()
        self.kube.calm()

    def log(self, what: str) -> None:
        """Add a line to the log."""
        self._log.append(f"{_now():9.2f} {what}")

    def _restart_later(self, process: OperatorProcess, failure: BaseException) -> None:
        self.log(f"{process.name} ends: {failure}")
        for each in self.on_failure:
            each(process, failure)
        asyncio.get_running_loop().call_later(RESTARTS_AFTER, self.start, context=self._context)

    def _reach(self, process: OperatorProcess, step: str) -> None:
        self.checkpoints[step] += 1
        for each in self.on_checkpoint:
            each(process, step)

    def _note_call(self, process: OperatorProcess, method: str, code: str, request: bytes) -> None:
        self.log(f"{process.name} {method} {code} {_digest(request)}")
        if not only_reads(method):
            self.writes.append(self._log[-1])
            for each in self.on_google_write:
                each(process, method)

    def _note_kube_write(self, change: str, kind: str, name: str, content: bytes) -> None:
        process = processes.PROCESS.get()
        self.log(f"{process.name if process else 'a user'} {change} {kind} {name} {_digest(content)}")
        self.writes.append(self._log[-1])

    def _leaked(self, where: str) -> None:
        for each in self.on_leak:
            each(where)


class LogReader(logging.Handler):
    """Adds what the operators log to the log of a world, and notices private keys in it."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Read one record."""
        message = record.getMessage()
        process = processes.PROCESS.get()
        self._world.log(f"{process.name if process else '-'} logs: {message}")
        if SECRET.decode() in message:
            for each in self._world.on_leak:
                each("the log")


@contextmanager
def installed(world: World, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Connect everything in this process that opens connections to the world."""
    saved = (
        asyncio.as_completed,
        grpc.aio.insecure_channel,
        aiohttp.TCPConnector,
        ssl.create_default_context,
        socket.gethostname,
        socket.gethostbyaddr,
    )
    os.environ.pop("HOSTNAME", None)
    processes.install(loop)
    asyncio.as_completed = processes.as_completed  # type: ignore[assignment]
    grpc.aio.insecure_channel = world.channel
    network.Connector.connect_to = staticmethod(world.connect)
    socket.gethostname = processes.host_name
    socket.gethostbyaddr = processes.no_host
    ssl.create_default_context = _ssl_context  # type: ignore[assignment]
    aiohttp.TCPConnector = network.Connector  # type: ignore[misc, assignment]
    loop.set_exception_handler(lambda _, context: world.log(f"unhandled: {_shown(context)}"))
    reader = LogReader(world)
    logging.getLogger("cloudrun_identity").addHandler(reader)
    try:
        yield
    finally:
        logging.getLogger("cloudrun_identity").removeHandler(reader)
        (
            asyncio.as_completed,
            grpc.aio.insecure_channel,
            aiohttp.TCPConnector,  # type: ignore[misc]
            ssl.create_default_context,
            socket.gethostname,
            socket.gethostbyaddr,
        ) = saved


def _digest(content: bytes) -> str:
    """Return a short text that differs if a request or an object differs."""
    return hashlib.sha256(content).hexdigest()[:6]


def _shown(context: dict[str, Any]) -> str:
    """Return the error of a task, without addresses of objects, which differ between runs."""
    return f"{context['message'].partition(' at 0x')[0]} {type(context.get('exception')).__name__}"


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


@cache
def _ssl_context(*_: Any, **__: Any) -> ssl.SSLContext:
    """Return a context that is not used: to read the certificates of the machine takes long."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
