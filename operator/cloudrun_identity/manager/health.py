"""One HTTP port for whoever watches the process: `/healthz`, `/readyz` and `/metrics`."""

import errno
import os
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from .metrics import Metrics

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod


class CannotListen(Exception):  # noqa: N818 - it names a state of the machine
    """The port cannot be had; the message is one line that names it, the reason and what to do."""


class HealthServer:
    """Serves probes and metrics from `start` to `stop`.

    `/healthz` fails (503) when the process should be restarted, `/readyz` while it should not be counted on;
    a standby replica is ready. Neither depends on Google Cloud or on the state of any object.
    """

    def __init__(
        self,
        port: int,
        metrics: Metrics,
        ready: Callable[[], bool],
        alive: Callable[[], bool],
        host: str = ALL_INTERFACES,
    ) -> None:
        """With port 0 the system picks a free one; `port` tells which once `start` has returned."""
        self.port = port
        self._host = host
        app = web.Application()
        app.router.add_get("/healthz", _probe(alive))
        app.router.add_get("/readyz", _probe(ready))
        app.router.add_get("/metrics", _metrics(metrics))
        # A scraper keeps its connection open; unbounded it would hold up the process's end for a minute.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen. Raises `CannotListen` if the port is taken, reserved, or the host not of this machine."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotListen(self._explain(error)) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more; a request under way gets a second to end."""
        await self._runner.cleanup()

    def _explain(self, error: OSError) -> str:
        reason = (
            "another process has it"
            if error.errno == errno.EADDRINUSE
            else os.strerror(error.errno or 0).lower()
        )
        return (
            f"--http-port {self.port}: cannot listen on {self._host}:{self.port}: {reason}; "
            "choose another port, or 0 for any free one"
        )


_Handler = Callable[[web.Request], Awaitable[web.Response]]


def _probe(passes: Callable[[], bool]) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if passes() else web.Response(status=503, text="no\n")

    return answer


def _metrics(metrics: Metrics) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
