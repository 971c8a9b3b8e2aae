"""The simulated world: Google Cloud, an API server and operator processes."""

import asyncio
import copy
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio

from cloudrun_identity.api.crd import generate
from cloudrun_identity.kube.lease import NAME as LEASE
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import GoogleError
from cloudrun_identity_playground.emulator.seed import Seed
from cloudrun_identity_playground.emulator.calls import only_reads
from cloudrun_identity_playground.kubeapi import faults
from cloudrun_identity_playground.kubeapi.operations import Write
from cloudrun_identity_playground.kubeapi.store import Ending
from cloudrun_identity_playground.kubeapi.resources import LEASES
from cloudrun_identity_playground.kubeapi.resources import Resource as KubeResource
from cloudrun_identity_playground.kubeapi.server import KubeApi

from . import google, network, processes
from .declarations import PLURALS

GROUP, VERSION = "cloudrun-identity.dev", "v1alpha1"

Object = dict[str, Any]

NAMESPACE = "operator"
LEASE_DURATION = 60.0
KUBE_LATENCY = 0.003
"""Seconds for one direction between the operator and the API server."""


class World:
    """One Google Cloud, one API server, and the operators."""

    def __init__(self, seed: Seed, source: random.Random, directory: Path) -> None:
        self.emulator = Emulator(seed=seed)
        self.kube = KubeApi()
        self.processes: list[processes.OperatorProcess] = []
        self._source = source
        self._kubeconfig = directory / "kubeconfig"
        self._started = 0
        self._pipes: dict[processes.OperatorProcess, list[network.Pipe]] = {}
        self._google_writes = 0
        self._kube_writes = 0
        self.log: list[str] = []
        """Every call to Google Cloud, with its time."""
        self.on_google_write: list[Callable[[processes.OperatorProcess, str], None]] = []
        """Called after each write that an operator makes."""
        self.on_checkpoint: list[Callable[[processes.OperatorProcess, str], None]] = []
        """Called with each checkpoint that an operator reaches."""
        self.checkpoints: Counter[str] = Counter()
        """The number of times that each checkpoint was reached."""
        self.write_log: list[str] = []
        self._record_writes()

    def _record_writes(self) -> None:
        """Log each write to the API server, but those of the Lease."""
        store = self.kube._store
        put = store.put

        def logged(storage: Any, key: tuple[str, str], obj: Object) -> Any:
            stored = put(storage, key, obj)
            if "leases" not in str(storage):
                process = processes.PROCESS.get()
                self._kube_writes += 1
                self.log.append(f"{_now():9.2f} {process.name if process else '-'} writes {obj.get('kind')} {'/'.join(key)}")
                self.write_log.append(self.log[-1])
            return stored

        store.put = logged  # type: ignore[method-assign]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        """Serve both APIs during the block."""
        operations = self.kube._operations
        self.kube._create_first_namespaces()
        for definition in generate().values():
            resource = operations.catalog.find(
                CUSTOM_RESOURCE_DEFINITIONS.group,
                CUSTOM_RESOURCE_DEFINITIONS.version,
                CUSTOM_RESOURCE_DEFINITIONS.plural,
            )
            assert resource
            operations.create(resource, "", definition, Write(manager="kubectl"))
        self.kube.url = "http://kube.simulation"
        self._kubeconfig.write_text(self.kube.render_kubeconfig())
        runner = self.kube._runner
        await runner.setup()
        self._server = runner.server
        try:
            yield self
        finally:
            for process in self.processes:
                await process.crash()
            self.kube._store.close()
            await runner.cleanup()

    def connect(self, client: asyncio.Protocol) -> network.Pipe:
        """Connect a process to the API server. Raises ConnectionRefusedError."""
        process = processes.PROCESS.get()
        if process is None or not process.is_alive:
            raise ConnectionRefusedError("connection refused")
        pipe = network.connected(client, self._server(), KUBE_LATENCY)
        self._pipes.setdefault(process, []).append(pipe)
        return pipe

    def channel(self, *_: Any, **__: Any) -> google.Channel:
        """Return a channel of the present process to Google Cloud."""
        process = processes.PROCESS.get()
        assert process

        async def around(method: str, call: Callable[[], Awaitable[bytes]]) -> bytes:
            await asyncio.sleep(self._source.uniform(0.01, 0.1))
            if not process.is_alive:
                raise GoogleError(grpc.StatusCode.UNAVAILABLE, "the process has ended")
            code = "OK"
            try:
                response = await call()
            except GoogleError as error:
                code = error.code.name
                raise
            finally:
                self.log.append(f"{_now():9.2f} {process.name} {method} {code}")
                if not only_reads(method):
                    self._google_writes += 1
                    self.write_log.append(self.log[-1])
                    for each in self.on_google_write:
                        each(process, method)
            await asyncio.sleep(self._source.uniform(0.01, 0.1))
            return response

        return google.Channel(self.emulator._dispatcher, around)

    def start(self) -> processes.OperatorProcess:
        """Start an operator."""
        self._started += 1
        process = processes.OperatorProcess(
            f"operator-{self._started}", self._kubeconfig, NAMESPACE, LEASE_DURATION
        )
        process.reached = partial(self._reach, process)
        self.processes.append(process)
        return process

    def _reach(self, process: processes.OperatorProcess, step: str) -> None:
        self.checkpoints[step] += 1
        for each in self.on_checkpoint:
            each(process, step)

    async def crash(self, process: processes.OperatorProcess) -> None:
        """End an operator at once."""
        process.is_alive = False
        for pipe in self._pipes.pop(process, ()):
            pipe.break_off()
        await process.crash()

    def apply(self, obj: Object) -> None:
        """Create an object, or replace its spec. Raises ApiError."""
        operations, resource = self.kube._operations, self._resource_of(obj)
        metadata = obj["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        stored = self.kube._store.find(resource.storage, key)
        write = Write(manager="kubectl")
        if stored is None:
            operations.create(resource, key[0], copy.deepcopy(obj), write)
        elif "spec" in obj:
            new = copy.deepcopy(stored.object) | {"spec": copy.deepcopy(obj["spec"])}
            operations.update(resource, key, new, write)

    def delete(self, namespace: str, plural: str, name: str) -> None:
        """Delete an object of this group. Raises ApiError."""
        resource = self._resource(GROUP, VERSION, plural)
        self.kube._operations.delete(resource, (namespace, name), {}, Write(manager="kubectl"))

    def find(self, namespace: str, plural: str, name: str) -> Object | None:
        """Return an object of this group; None if it does not exist."""
        stored = self.kube._store.find(self._resource(GROUP, VERSION, plural).storage, (namespace, name))
        return stored.object if stored else None

    def fail(self, fault: Object) -> None:
        """Set a fault of the API server."""
        parsed = faults.read(fault)
        if parsed.watches is not None:
            self.kube._handler._end_watches(parsed, Ending(parsed.watches))
        else:
            self.kube._handler._faults.add(parsed)

    def clear_faults(self) -> None:
        """Clear the faults of the API server."""
        self.kube._handler._faults.clear()

    def reset_connections(self) -> None:
        """Break all connections to the API server."""
        for pipes in self._pipes.values():
            for pipe in pipes:
                pipe.break_off()
            pipes.clear()

    def writes(self) -> tuple[int, int]:
        """Return the number of writes to Google Cloud, and to objects other than the Lease."""
        return self._google_writes, self._kube_writes

    def last_writes(self) -> str:
        """Return the last calls."""
        return "; ".join(self.write_log[-6:])

    def runs_as(self, service: str) -> str:
        """Return the account in the template of a service; empty for the default account."""
        found = self.emulator.cloud.workloads["services"].read(service)
        return str(found.template.service_account)

    def leader(self) -> str:
        """Return the name of the process that holds the Lease by what the API server stores; or empty."""
        lease = self.kube._store.find(LEASES, (NAMESPACE, LEASE))
        holder = lease.object["spec"].get("holderIdentity", "") if lease else ""
        return str(holder).partition("_")[0]

    def _resource_of(self, obj: Object) -> KubeResource:
        group, _, version = obj["apiVersion"].rpartition("/")
        plural = "namespaces" if obj["kind"] == "Namespace" else PLURALS[obj["kind"]]
        return self._resource(group, version, plural)

    def _resource(self, group: str, version: str, plural: str) -> KubeResource:
        found = self.kube._operations.catalog.find(group, version, plural)
        assert found, plural
        return found


@contextmanager
def installed(world: World, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Connect everything in this process that opens connections to the world."""
    saved = (
        grpc.aio.insecure_channel,
        aiohttp.TCPConnector,
        ssl.create_default_context,
        socket.gethostname,
    )
    os.environ.pop("HOSTNAME", None)
    processes.install(loop)
    grpc.aio.insecure_channel = world.channel
    network.Connector.connect_to = staticmethod(world.connect)
    socket.gethostname = processes.host_name
    ssl.create_default_context = _ssl_context  # type: ignore[assignment]
    aiohttp.TCPConnector = network.Connector  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        (
            grpc.aio.insecure_channel,
            aiohttp.TCPConnector,  # type: ignore[misc]
            ssl.create_default_context,
            socket.gethostname,
        ) = saved


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


@cache
def _ssl_context(*_: Any, **__: Any) -> ssl.SSLContext:
    """Return a context that is not used: to read the certificates of the machine takes long."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
