"""Monitor of the watches. A watch is lost if a list shows a change that it did not deliver.

A watch can be silent for two reasons: nothing changed, or it is dead. Bookmarks would distinguish them, but
kopf does not pass them on. So the monitor lists the metadata of a resource whose watch was silent, and gives
the watch some time to deliver what the list shows.

The operator's own Lease is the fast signal. The leader writes it every few seconds, and each write must come
back through its watch. A write whose resourceVersion is lower than an earlier one shows that the API server's
storage was restored from a backup: a watch may then be silent until the old versions are reached again.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import NoReturn, Protocol

from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.kube.resources import Object, Objects, Resource

from .watched_versions import WatchedVersions, version_number
from .watches import WatchLost

_log = logging.getLogger(__name__)

DELIVERS_WITHIN = 75.0
"""Seconds after which a dead watch is noticed."""

SILENT_AFTER = 45.0
"""Seconds without an event after which a watch is checked."""

GRACE = 10.0
"""Seconds in which a watch must deliver a listed change."""

_CHECK_INTERVAL = 1.0


class MetadataLister(Protocol):
    """Lists the metadata of objects: `kube.client.KubeClient`."""

    async def list_metadata(self, resource: Resource, /) -> Objects:
        """Return all objects, each with its metadata only. Raises KubeError."""
        ...


class StreamMonitor:
    """Checks the watches of one manager."""

    def __init__(
        self, lister: MetadataLister, resources: Iterable[Resource], *, lease_duration: float
    ) -> None:
        """`lease_duration` is the time in which a write of the Lease must come back through its watch."""
        self._lister = lister
        self._lease_duration = lease_duration
        self._streams = {resource: _Stream() for resource in resources}
        self._lease_written: tuple[int, float] | None = None
        self._lease_due: tuple[int, float] | None = None
        self._watches_lease = False
        self._is_restored = False
        self.checked_at = _now()
        """The last time at which the monitor ran, by the clock of the event loop."""

    def delivered(self, resource: Resource, raw: Object, *, deleted: bool) -> None:
        """Note an event of a watch."""
        stream = self._streams[resource]
        stream.heard_at = _now()
        stream.versions.deliver(raw, deleted=deleted)

    def lease_delivered(self, raw: Object) -> None:
        """Note an event of the watch of the Lease."""
        self._watches_lease = True
        version = version_number(raw["metadata"].get("resourceVersion", ""))
        if self._lease_due and version >= self._lease_due[0]:
            self._lease_due = None

    def lease_written(self, raw: Object) -> None:
        """Note a write of the Lease."""
        version = version_number(raw["metadata"].get("resourceVersion", ""))
        if self._lease_written and version < self._lease_written[0]:
            self._is_restored = True
        self._lease_written = version, _now()
        if self._lease_due is None:
            self._lease_due = self._lease_written

    async def run(self) -> NoReturn:
        """Check the watches until one is lost. Raises WatchLost."""
        checks = [asyncio.create_task(self._watch_over(resource)) for resource in self._streams]
        try:
            while True:
                self.checked_at = _now()
                self._check_lease()
                done, _ = await asyncio.wait(
                    checks, timeout=_CHECK_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                for check in done:
                    check.result()
        finally:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)

    def _check_lease(self) -> None:
        if self._is_restored:
            raise WatchLost(_RESTORED.format(what="the Lease"))
        if self._watches_lease and self._lease_due:
            behind = _now() - self._lease_due[1]
            if behind > self._lease_duration:
                raise WatchLost(
                    f"the watches deliver nothing: a renewal of the Lease is missing for {behind:.0f}s"
                )

    async def _watch_over(self, resource: Resource) -> NoReturn:
        stream = self._streams[resource]
        while True:
            await asyncio.sleep(max(stream.heard_at + SILENT_AFTER - _now(), _CHECK_INTERVAL))
            if _now() - stream.heard_at < SILENT_AFTER:
                continue
            try:
                await self._probe(resource, stream)
            except KubeError as error:  # an outage says nothing about the watch; the Lease bounds it
                _log.warning("the watch of %s cannot be checked: %s", resource.plural, error)
                await asyncio.sleep(GRACE)

    async def _probe(self, resource: Resource, stream: "_Stream") -> None:
        before = stream.versions.snapshot()
        listed = await self._lister.list_metadata(resource)
        if older := list(stream.versions.ahead_of(listed, before)):
            raise WatchLost(_RESTORED.format(what=f"{resource.plural} {_named(older)}"))
        differences = stream.versions.undelivered(listed, before)
        if differences:
            await asyncio.sleep(GRACE)
            if missing := list(stream.versions.still_undelivered(differences)):
                raise WatchLost(
                    f"the watch of {resource.plural} is silent about changes of {_named(missing)}"
                )
        stream.heard_at = _now()


_RESTORED = (
    "the API server shows {what} in an older version than before: its storage was restored from a backup"
)


class _Stream:
    """The state of one watch."""

    def __init__(self) -> None:
        self.versions = WatchedVersions()
        self.heard_at = _now()


def _named(names: list[tuple[str, str]]) -> str:
    first = "/".join(part for part in names[0] if part)
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _now() -> float:
    return asyncio.get_running_loop().time()
