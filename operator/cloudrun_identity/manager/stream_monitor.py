"""Monitor of the watches. A watch is lost if a list shows a change that it did not deliver.

A watch can be silent for two reasons: nothing changed, or it is dead. Bookmarks distinguish them: a
kube-apiserver sends one every minute, unless no resource has changed since the watch began. If a watch
delivers neither changes nor bookmarks, the monitor lists the metadata of the resource, and gives the watch
some time to deliver what the list shows. It also does so after kopf has listed the objects again, which does
not report earlier deletions, after the connection was lost, which may hide a restored backup, and every ten
minutes in any case: an API server sends bookmarks also while its cache is behind etcd.

The operator's own Lease is the fast signal. The leader writes it every few seconds, and each write must come
back through its watch. A write whose resourceVersion is lower than an earlier one shows that the API server's
storage was restored from a backup: a watch may then be silent until the old versions are reached again.
So does a read or an event with an older version of an object than an earlier one. After
`etcdutl snapshot restore --bump-revision` it is the only sign: the Lease gets higher versions, and a new list
delivers the restored objects with their old ones (https://etcd.io/docs/v3.6/op-guide/recovery/).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, TypeVar

from cloudrun_identity.kube.errors import KubeError, OlderVersion
from cloudrun_identity.kube.objects import shown_name, version_in
from cloudrun_identity.kube.resources import Object, Resource

from .watched_versions import WatchedVersions
from .watches import Progress, WatchLost

_log = logging.getLogger(__name__)

DELIVERS_WITHIN = 75.0
"""Seconds after which a dead watch is noticed."""

GRACE = 10.0
"""Seconds in which a watch must deliver a listed change."""

SILENT_AFTER = DELIVERS_WITHIN - GRACE
"""Seconds without a change and a bookmark after which a watch is compared with a list."""

CHECK_INTERVAL = 600.0
"""Seconds after which any watch is compared with a list."""

_LEASE_CHECK_INTERVAL = 1.0


Form = TypeVar("Form")


class MetadataLister(Protocol):
    """Lists the metadata of objects: `kube.client.KubeClient`."""

    async def list_metadata(self, resource: Resource, form: Callable[[Object], Form], /) -> list[Form]:
        """Return all objects in the given form of their metadata. Raises KubeError."""
        ...


class StreamMonitor:
    """Checks the watches of one manager."""

    def __init__(
        self,
        lister: MetadataLister,
        versions: Mapping[Resource, WatchedVersions],
        *,
        lease_duration: float,
    ) -> None:
        """`versions` are those of the list with which the watch of each resource began.

        `lease_duration` is the time in which a write of the Lease must come back through its watch.
        """
        self._lister = lister
        self._lease_duration = lease_duration
        self._versions = versions
        self._signs = {resource: _Signs(heard_at=_now()) for resource in versions}
        self._lease_written: tuple[int, float] | None = None
        self._lease_due: tuple[int, float] | None = None
        self._watches_lease = False
        self._restored = ""
        self.checked_at = _now()
        """The last time at which the monitor ran, by the clock of the event loop."""

    def delivered(self, resource: Resource, raw: Object, *, deleted: bool) -> None:
        """Note an event of a watch."""
        self._signs[resource].heard_at = _now()
        versions = self._versions[resource]
        if versions.is_ahead_of(raw):
            self._restored = shown_name(resource, raw)
        versions.deliver(raw, deleted=deleted)

    def progressed(self, resource: Resource, progress: Progress) -> None:
        """Note the progress of a watch."""
        match progress:
            case Progress.CURRENT:
                self._signs[resource].heard_at = _now()
            case Progress.LISTED:
                self._signs[resource].note(is_listed=True)
            case Progress.RESUMED:
                self._signs[resource].note()

    def lease_delivered(self, raw: Object) -> None:
        """Note an event of the watch of the Lease."""
        self._watches_lease = True
        version = version_in(raw["metadata"])
        if self._lease_due and version >= self._lease_due[0]:
            self._lease_due = None

    def lease_written(self, raw: Object) -> None:
        """Note a write of the Lease."""
        version = version_in(raw["metadata"])
        if self._lease_written and version < self._lease_written[0]:
            self._restored = "the Lease"
        self._lease_written = version, _now()
        if self._lease_due is None:
            self._lease_due = self._lease_written

    def older_version_read(self, error: OlderVersion) -> None:
        """Note that a read shows an older version of an object than before."""
        self._restored = error.what

    async def run(self) -> NoReturn:
        """Check the watches until one is lost. Raises WatchLost."""
        checks = [asyncio.create_task(self._watch_over(resource)) for resource in self._versions]
        try:
            while True:
                self.checked_at = _now()
                self._check_lease()
                done, _ = await asyncio.wait(
                    checks, timeout=_LEASE_CHECK_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                for check in done:
                    check.result()
        finally:
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)

    def _check_lease(self) -> None:
        if self._restored:
            raise WatchLost(_RESTORED.format(what=self._restored))
        if self._watches_lease and self._lease_due:
            behind = _now() - self._lease_due[1]
            if behind > self._lease_duration:
                raise WatchLost(
                    f"the watches deliver nothing: a renewal of the Lease is missing for {behind:.0f}s"
                )

    async def _watch_over(self, resource: Resource) -> NoReturn:
        while True:
            await self._signs[resource].until_due()
            try:
                await self._check(resource)
            except KubeError as error:  # an outage says nothing about the watch; the Lease bounds it
                self._signs[resource].note()
                _log.warning("the watch of %s cannot be checked: %s", resource.plural, error)

    async def _check(self, resource: Resource) -> None:
        versions = self._versions[resource]
        before = versions.snapshot()
        listed = dict(await self._lister.list_metadata(resource, versions.listed))
        if older := list(versions.ahead_of(listed, before)):
            raise WatchLost(_RESTORED.format(what=f"{resource.plural} {_named(older)}"))
        differences = versions.undelivered(listed, before)
        if differences:
            await asyncio.sleep(GRACE)
            if missing := list(versions.still_undelivered(differences)):
                raise WatchLost(
                    f"the watch of {resource.plural} is silent about changes of {_named(missing)}"
                )


@dataclass(slots=True)
class _Signs:
    """The signs of life of one watch."""

    heard_at: float
    """Time of the last change or bookmark."""
    is_listed: bool = False
    """True if all objects were listed again since the last comparison."""
    is_doubtful: bool = False
    """True if the connection was lost since the last comparison, or if that failed."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one of the flags is."""

    def note(self, *, is_listed: bool = False) -> None:
        """Note that the watch may have missed changes."""
        self.is_listed |= is_listed
        self.is_doubtful = True
        self.changed.set()

    async def until_due(self) -> None:
        """Wait until the watch must be compared with a list, after it was compared now."""
        began = _now()
        while (left := self._due(began) - _now()) > 0:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.changed.wait()
        self.is_listed = self.is_doubtful = False

    def _due(self, began: float) -> float:
        """Return the time of the next comparison, after one that ended at `began`.

        A proxy may break a connection again and again: this alone makes no comparison follow the last one
        at once.
        """
        if self.is_listed:
            return began
        heard_at = began if self.is_doubtful else max(self.heard_at, began)
        return min(heard_at + SILENT_AFTER, began + CHECK_INTERVAL)


_RESTORED = (
    "the API server shows {what} in an older version than before: its storage was restored from a backup"
)


def _named(names: list[tuple[str, str]]) -> str:
    first = "/".join(part for part in names[0] if part)
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _now() -> float:
    return asyncio.get_running_loop().time()
