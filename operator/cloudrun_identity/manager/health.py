"""The HTTP server of probes and metrics: `/healthz`, `/readyz`, `/metrics`, and `/ui/` on request."""

import errno
import os
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from .metrics import Metrics

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus connect from outside the pod

PAGE = "/ui"
"""Path of the web page."""


class CannotListen(Exception):
    """The port is not available. The message is one line with the port, the reason and the remedy."""


class HealthServer:
    """Serves probes and metrics from `start` to `stop`.

    `/healthz` answers 503 when the process must be restarted, `/readyz` while it is not ready. A standby
    replica is ready. Neither depends on Google Cloud or on the state of any object.
    """

    def __init__(
        self,
        port: int,
        metrics: Metrics,
        ready: Callable[[], bool],
        alive: Callable[[], bool],
        host: str = ALL_INTERFACES,
        page: web.Application | None = None,
    ) -> None:
        """With port 0 the system picks a free port, which `port` holds after `start`.

        `page` is the web page to serve at `/ui/`.
        """
        self.port = port
        self._host = host
        app = web.Application()
        app.router.add_get("/healthz", _probe(alive))
        app.router.add_get("/readyz", _probe(ready))
        app.router.add_get("/metrics", _metrics(metrics))
        if page is not None:
            app.router.add_get(PAGE, _to_page)
            app.add_subapp(f"{PAGE}/", page)
        # A scraper keeps its connection open, which would delay the shutdown by a minute.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Start to listen. Raises CannotListen if the port is in use or reserved, or the host not local."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotListen(self._explain(error)) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening. A request in flight gets one second to end."""
        await self._runner.cleanup()

    def _explain(self, error: OSError) -> str:
        reason = (
            "another process uses it"
            if error.errno == errno.EADDRINUSE
            else os.strerror(error.errno or 0).lower()
        )
        return (
            f"--http-port {self.port}: cannot listen on {self._host}:{self.port}: {reason}; "
            "choose another port, or 0 for any free port"
        )


_Handler = Callable[[web.Request], Awaitable[web.Response]]


def _probe(succeeds: Callable[[], bool]) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if succeeds() else web.Response(status=503, text="no\n")

    return answer


def _metrics(metrics: Metrics) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer


async def _to_page(_: web.Request) -> web.Response:
    return web.Response(status=308, headers={"Location": f"{PAGE}/"})
