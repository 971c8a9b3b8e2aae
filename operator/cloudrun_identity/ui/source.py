"""Reads of the cluster for the page: at most one at a time, and none while no page is open."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cloudrun_identity.overview.cluster import Cluster
from cloudrun_identity.overview.cluster_objects import ClusterObjects, Lister, Parser, read_objects

from .details import details_of
from .page import page_of
from .payload import encoded, etag_of

MAX_AGE: Final = 60.0
"""Seconds after which the page is computed again from equal objects: what is upcoming and recent changes."""

IDLE: Final = 120.0
"""Seconds without a request after which the objects are dropped."""


class Body:
    """One JSON answer."""

    def __init__(self, content: object) -> None:
        self.json = encoded(content)
        self.etag = etag_of(self.json)


class Snapshot:
    """One state of the cluster, and the answers made from it."""

    def __init__(self, objects: ClusterObjects, server: str, namespace: str) -> None:
        self.versions = objects.versions()
        self.made = time.monotonic()
        self._cluster = Cluster(objects, datetime.now(UTC))
        self._details: dict[str, Body] = {}
        self.page = Body(page_of(self._cluster, server, namespace))

    def details(self, key: str) -> Body | None:
        """Return the details of an identity, or None if it does not exist."""
        if key not in self._cluster.nodes:
            return None
        if key not in self._details:
            self._details[key] = Body(details_of(self._cluster, key))
        return self._details[key]


class Source:
    """The newest state of a cluster, read on demand."""

    def __init__(self, client: Lister, server: str, *, namespace: str = "", interval: float) -> None:
        """`interval` is the minimum number of seconds between two reads, however many pages are open."""
        self._client = client
        self._server = server
        self._namespace = namespace
        self._interval = interval
        self._parser = Parser()
        self._snapshot: Snapshot | None = None
        self._read = 0.0
        self._reading = asyncio.Lock()
        self._drop: asyncio.TimerHandle | None = None

    async def current(self) -> Snapshot:
        """Return the state of the cluster, at most `interval` seconds old. Raises KubeError."""
        async with self._reading:
            if self._snapshot is None or time.monotonic() - self._read >= self._interval:
                await self._refresh()
            self._postpone_drop()
            assert self._snapshot is not None  # noqa: S101 - the read above made it
            return self._snapshot

    async def _refresh(self) -> None:
        objects = await read_objects(self._client, self._namespace, self._parser)
        self._read = time.monotonic()
        known = self._snapshot
        is_old = known is None or self._read - known.made > MAX_AGE
        if known is None or is_old or known.versions != objects.versions():
            # In a thread: with many objects, it would delay the other work of the process.
            self._snapshot = await _in_thread(lambda: Snapshot(objects, self._server, self._namespace))

    def _postpone_drop(self) -> None:
        if self._drop:
            self._drop.cancel()
        self._drop = asyncio.get_running_loop().call_later(IDLE, self._forget)

    def _forget(self) -> None:
        self._snapshot = None
        self._parser = Parser()


async def _in_thread(work: Callable[[], Snapshot]) -> Snapshot:
    return await asyncio.to_thread(work)
