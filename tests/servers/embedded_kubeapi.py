"""The playground's API server in this process, on its own thread and event loop."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudrun_identity_playground.kubeapi import KubeApi
from tests.time_budget import HUNG_AFTER


@dataclass(frozen=True)
class EmbeddedKubeApi:
    """A running server: its address, the kubeconfig of its only user, and that user's token."""

    url: str
    kubeconfig: Path
    token: str

    @property
    def operator_kubeconfig(self) -> Path:
        """Kubeconfig of the only user."""
        return self.kubeconfig

    @property
    def has_rbac(self) -> bool:
        """False: the only user may do everything."""
        return False


@contextmanager
def embedded_kubeapi(run_dir: Path) -> Iterator[EmbeddedKubeApi]:
    """Run the server with its kubeconfig in `run_dir` until the block ends.

    Raises the error that keeps it from starting.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    kubeconfig = run_dir / "kubeconfig"
    started: Future[EmbeddedKubeApi] = Future()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with KubeApi(kubeconfig) as api:
            started.set_result(EmbeddedKubeApi(api.url, kubeconfig, api.token))
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="embedded-kubeapi")
    thread.start()
    try:
        yield started.result(HUNG_AFTER)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join()
