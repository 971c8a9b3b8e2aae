"""Watches: changes of one resource in the form that a client requested."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from .errors import expired
from .resources import Resource
from .selectors import Selector
from .store import Change, ChangeType, Collection, Ending, Store, Stored, encode

Object = dict[str, Any]

BOOKMARK_INTERVAL = 60.0
"""Seconds between bookmarks of a watch without changes, as of a kube-apiserver."""
_LONGEST = 1800.0


class WatchCutError(ConnectionError):
    """The end of a watch whose connection breaks."""


@dataclass(frozen=True)
class WatchOptions:
    """Options of a watch request."""

    since: int
    """Version after which changes are sent; 0 starts with the existing objects."""
    seconds: float = _LONGEST
    """Maximal duration."""
    bookmarks: bool = False


@dataclass(frozen=True)
class Watch:
    """Watch of one client on a collection."""

    store: Store
    collection: Collection
    resource: Resource
    is_selected: Selector
    """Predicate of stored objects."""
    show: Callable[[Stored], Object | bytes]
    """Renders an object in the requested form; returns bytes if JSON is cached."""

    async def events(self, options: WatchOptions) -> AsyncGenerator[bytes, None]:
        """Yield lines of JSON in batches, until the time is over or the resource is removed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + min(options.seconds, _LONGEST)
        if options.since and options.since < self.collection.oldest_version:
            yield self._expired(options.since)
            return
        endings = len(self.collection.endings)
        position = self.collection.latest
        if options.since:
            position = self.collection.after(options.since)
        elif present := b"".join(self._present()):
            yield present
        while not self.collection.closed:
            if forced := self.collection.endings[endings:]:
                if line := await self._forced(forced[0], position.version, end - loop.time()):
                    yield line
                return
            lines, position = self._following(position)
            if lines:
                yield lines
            left = end - loop.time()
            if left <= 0:
                break
            await self.collection.wait(position, min(left, BOOKMARK_INTERVAL))
            if options.bookmarks and position.next is None:
                yield _line("BOOKMARK", self._bookmark())

    async def _forced(self, ending: Ending, version: int, left: float) -> bytes:
        """Return the last line of a watch that a fault ends or silences; empty if there is none."""
        match ending:
            case Ending.CUT:
                raise WatchCutError
            case Ending.EXPIRED:
                return self._expired(version)
            case Ending.SILENT:
                await asyncio.sleep(max(left, 0.0))
                return b""

    def _expired(self, version: int) -> bytes:
        oldest = self.collection.oldest_version
        return _line("ERROR", expired(f"too old resource version: {version} ({oldest})").status())

    def _present(self) -> list[bytes]:
        objects = self.collection.objects
        return [
            self._event(ChangeType.ADDED, objects[key])
            for key in sorted(objects)
            if self.is_selected(objects[key].object)
        ]

    def _following(self, position: Change) -> tuple[bytes, Change]:
        lines = []
        while position.next is not None:
            position = position.next
            kind = self._seen_as(position)
            if kind is not None:
                lines.append(self._event(kind, _shown_by(position, kind)))
        return b"".join(lines), position

    def _seen_as(self, change: Change) -> ChangeType | None:
        """Return the event type: an object that enters the selection is added, one that leaves is deleted."""
        before = change.previous is not None and self.is_selected(change.previous.object)
        after = change.type is not ChangeType.DELETED and self.is_selected(change.stored.object)
        match before, after:
            case True, True:
                return ChangeType.MODIFIED
            case False, True:
                return ChangeType.ADDED
            case True, False:
                return ChangeType.DELETED
            case _:
                return None

    def _event(self, kind: ChangeType, stored: Stored) -> bytes:
        return _line(kind.value, self.show(stored))

    def _bookmark(self) -> Object:
        metadata = {"resourceVersion": str(self.store.version), "creationTimestamp": None}
        return {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}


def _shown_by(change: Change, kind: ChangeType) -> Stored:
    """Return the object of an event: one that leaves the selection is shown as it was before."""
    previous = change.previous
    if kind is not ChangeType.DELETED or change.type is ChangeType.DELETED or previous is None:
        return change.stored
    version = change.stored.object["metadata"]["resourceVersion"]
    own = {**previous.object["metadata"], "resourceVersion": version}
    return Stored({**previous.object, "metadata": own})


def _line(kind: str, shown: Object | bytes) -> bytes:
    raw = shown if isinstance(shown, bytes) else encode(shown)
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), raw)
