"""The parts that the demo runs on: API server, Google Cloud emulator and operator."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import aiohttp

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity_playground.emulator.latency import Latency

from . import manifests
from .cluster import Cluster
from .failure import DemoError
from .google import GoogleCloud
from .kubectl import Kubectl
from .processes import Parts, free_ports

OPERATOR_NAMESPACE = "cloudrun-identity"
OPERATOR = "operator"
KUBERNETES_API = "Kubernetes API"
GOOGLE_CLOUD = "Google Cloud"

_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of one demo on 127.0.0.1."""

    kubernetes: int
    google_grpc: int
    google_rest: int
    operator: int


@dataclass(slots=True)
class Stage:
    """The running parts. `kubeconfig` is the user's, or that of the embedded API server."""

    ports: Ports
    parts: Parts
    session: aiohttp.ClientSession
    kubeconfig: str
    cluster: Cluster
    google: GoogleCloud
    kubectl: Kubectl
    is_embedded: bool
    is_kept: bool = False

    @property
    def page(self) -> str:
        """URL of the web page that the operator serves if it was started with it."""
        return f"http://127.0.0.1:{self.ports.operator}/ui/"

    async def start_operator(self, **settings: str) -> float:
        """Start the operator with environment `settings`, and return the seconds until it is ready."""
        arguments = (
            "run",
            f"--kubeconfig={self.kubeconfig}",
            f"--google-endpoint=127.0.0.1:{self.ports.google_grpc}",
            f"--operator-namespace={OPERATOR_NAMESPACE}",
            f"--http-port={self.ports.operator}",
        )
        ready = f"http://127.0.0.1:{self.ports.operator}/readyz"
        return await self.parts.start(OPERATOR, arguments, lambda: _answers(self.session, ready), settings)


_FAILURES = (DemoError, KubeError, aiohttp.ClientError, OSError)


@asynccontextmanager
async def set_up(
    kubeconfig: str | None, *, seed: Path | None = None, latency: Latency = Latency.NONE
) -> AsyncIterator[Stage]:
    """Start an API server (unless the user names one) and a Google Cloud emulator; stop both at the end.

    The emulator starts with `seed`, by default that of the examples. If `is_kept` is set, the parts keep
    running. If the demo fails, the logs are kept.

    Raises:
        DemoError: A part does not start or fails later. The evidence has the last log lines.

    """
    try:
        parts = Parts(Path(tempfile.mkdtemp(prefix="cloudrun-identity-demo-")))
    except OSError as error:
        raise DemoError(f"cannot create a directory for logs: {error.filename}: {error.strerror}") from error
    try:
        async with AsyncExitStack() as connections, AsyncExitStack() as ends:
            ends.push(partial(_remove_logs, parts))
            cloud = (f"--seed={seed or manifests.SEED}", f"--latency={latency}")
            stage = await _start(parts, kubeconfig, cloud, connections, ends)
            yield stage
            if stage.is_kept:
                ends.pop_all()
    except BrokenPipeError:  # the reader of the output has closed it; no part failed
        raise
    except _FAILURES as error:
        raise _with_evidence(error, parts) from error


async def _start(
    parts: Parts,
    kubeconfig: str | None,
    cloud: tuple[str, ...],
    connections: AsyncExitStack,
    ends: AsyncExitStack,
) -> Stage:
    session = await connections.enter_async_context(aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT))
    # Connect to the user's cluster first, so that nothing starts if it cannot be used.
    user_cluster = await _connect_unused(kubeconfig, connections) if kubeconfig else None
    ports = Ports(*free_ports(4))
    ends.push_async_callback(_finish, parts.stop_all)
    await _start_google_cloud(parts, ports, cloud, session)
    path = kubeconfig or await _start_kubernetes_api(parts, ports)
    cluster = user_cluster or await _connect(path, connections)
    if user_cluster is not None:
        ends.push_async_callback(_finish, cluster.remove)
    ends.push_async_callback(_finish, partial(parts.stop, OPERATOR))
    return Stage(
        ports=ports,
        parts=parts,
        session=session,
        kubeconfig=path,
        cluster=cluster,
        google=GoogleCloud(session, f"http://127.0.0.1:{ports.google_rest}"),
        kubectl=Kubectl.find(path, parts.directory / "kubectl-cache"),
        is_embedded=user_cluster is None,
    )


async def _connect(kubeconfig: str, connections: AsyncExitStack) -> Cluster:
    cluster = await Cluster.connect(kubeconfig)
    connections.push_async_callback(cluster.close)
    return cluster


async def _connect_unused(kubeconfig: str, connections: AsyncExitStack) -> Cluster:
    cluster = await _connect(kubeconfig, connections)
    await cluster.refuse_if_in_use()
    return cluster


async def _start_google_cloud(
    parts: Parts, ports: Ports, cloud: tuple[str, ...], session: aiohttp.ClientSession
) -> None:
    arguments = ("emulator", f"--port={ports.google_grpc}", f"--rest-port={ports.google_rest}", *cloud)
    calls = f"http://127.0.0.1:{ports.google_rest}/control/calls"
    await parts.start(GOOGLE_CLOUD, arguments, lambda: _answers(session, calls))


async def _start_kubernetes_api(parts: Parts, ports: Ports) -> str:
    path = parts.directory / "kubeconfig"

    async def is_written() -> bool:
        return path.is_file()

    arguments = ("kubeapi", f"--port={ports.kubernetes}", f"--kubeconfig={path}")
    await parts.start(KUBERNETES_API, arguments, is_written)
    return str(path)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as reply:
            return reply.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _with_evidence(error: Exception, parts: Parts) -> DemoError:
    failure = error if isinstance(error, DemoError) else DemoError(str(error))
    if parts.has_logs:
        failure.evidence = (*parts.last_log_lines(), f"All logs: {parts.directory}")
    return failure


def _remove_logs(
    parts: Parts, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
) -> None:
    """Remove the directory with the logs, unless they explain a failure."""
    failed = isinstance(error, _FAILURES) and not isinstance(error, BrokenPipeError)
    if not (failed and parts.has_logs):
        shutil.rmtree(parts.directory, ignore_errors=True)


async def _finish(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Finish the work even if Ctrl-C interrupts it."""
    task = asyncio.create_task(work())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
