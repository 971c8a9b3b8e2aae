"""The web page over a cluster in memory, served by a thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from cloudrun_identity.ui.server import application
from cloudrun_identity.ui.source import Source
from tools.sample_cluster import SampleCluster


@contextmanager
def served(sample: SampleCluster, *, interval: float = 0.2) -> Iterator[str]:
    """Serve the page, and yield its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    source = Source(sample, sample.server, interval=interval)

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application(source), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
