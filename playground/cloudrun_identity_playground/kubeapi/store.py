"""Objects in memory, one version counter for all of them, and the changes that watches follow.

A stored object is immutable: a write stores another one. Lists, watches and the history share it, and it is
encoded as JSON once.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from .resources import StorageKey

Object = dict[str, Any]
ObjectKey = tuple[str, str]
"""Namespace (empty if there is none) and name."""

DEFAULT_HISTORY = 4_096
"""Number of changes of a resource that are kept for watches that resume."""


class ChangeType(StrEnum):
    """Type of a watch event."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Ending(StrEnum):
    """Forced end of all open watches of a resource."""

    CUT = "cut"
    """The connection breaks."""
    EXPIRED = "expire"
    """The versions expire, and an event reports it."""
    SILENT = "silence"
    """The connections stay open, and nothing more is delivered, as behind a router that forgot them."""


@dataclass(frozen=True)
class Stored:
    """An object at one version; immutable."""

    object: Object

    @cached_property
    def json(self) -> bytes:
        """The object as JSON."""
        return encode(self.object)


@dataclass(eq=False)
class Change:
    """One write, linked to the next one of the same resource."""

    version: int
    type: ChangeType
    stored: Stored
    previous: Stored | None
    next: "Change | None" = None


class Collection:
    """The objects of one resource and their latest changes."""

    def __init__(self, history: int, forgotten: int) -> None:
        self.objects: dict[ObjectKey, Stored] = {}
        self.closed = False
        self.endings: list[Ending] = []
        """Forced ends; an open watch ends with the next one."""
        self._head = Change(0, ChangeType.ADDED, Stored({}), None)
        self._history: deque[Change] = deque(maxlen=history)
        self._forgotten = forgotten
        self._signal = asyncio.Event()

    def record(self, change: Change) -> None:
        """Append a change and wake waiting watches."""
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].version
        self._history.append(change)
        self._head.next = change
        self._head = change
        self._wake()

    def close(self) -> None:
        """End every watch, because the resource is no longer served."""
        self.closed = True
        self._wake()

    def end_watches(self, ending: Ending) -> None:
        """End every open watch of a resource that remains."""
        self.endings.append(ending)
        self._wake()

    def forget(self, version: int) -> None:
        """Remove the changes before a version from the history."""
        self._history.clear()
        self._forgotten = version

    @property
    def latest(self) -> Change:
        """Return the change after which a watch of new changes starts."""
        return self._head

    @property
    def oldest_version(self) -> int:
        """Oldest version from which a watch can resume."""
        return self._forgotten

    def after(self, version: int) -> Change:
        """Return the change that precedes everything newer than `version`."""
        if self._head.version <= version:
            return self._head
        newer = next(change for change in self._history if change.version > version)
        return Change(version, ChangeType.ADDED, Stored({}), None, next=newer)

    async def wait(self, change: Change, timeout: float) -> None:
        """Wait for a change after `change`, for the end of the collection, or for `timeout` seconds."""
        signal = self._signal
        if change.next is not None or self.closed:
            return
        try:
            await asyncio.wait_for(signal.wait(), timeout)
        except TimeoutError:
            return

    def _wake(self) -> None:
        signal, self._signal = self._signal, asyncio.Event()
        signal.set()


@dataclass(frozen=True)
class Backup:
    """The objects of all resources at one version."""

    version: int
    objects: Mapping[StorageKey, Mapping[ObjectKey, Stored]]


@dataclass
class Store:
    """All stored objects."""

    history: int = DEFAULT_HISTORY
    version: int = 0
    on_change: list[Callable[[StorageKey, Change], None]] = field(default_factory=list)
    """Called with each change, after it took effect."""
    _collections: dict[StorageKey, Collection] = field(init=False)
    _begun_at: int = 0

    def __post_init__(self) -> None:
        self._collections = defaultdict(lambda: Collection(self.history, self._begun_at))

    def begin(self, version: int) -> None:
        """Start with the version of an earlier run, without a history; the store must be empty."""
        self.version = self._begun_at = version

    def restore(self, storage: StorageKey, key: ObjectKey, obj: Object) -> None:
        """Restore an object of an earlier run."""
        self._collections[storage].objects[key] = Stored(obj)

    def collection(self, storage: StorageKey) -> Collection:
        """Return the collection of one resource."""
        return self._collections[storage]

    def find(self, storage: StorageKey, key: ObjectKey) -> Stored | None:
        """Return one object, if it exists."""
        return self._collections[storage].objects.get(key)

    def all(self) -> Iterator[tuple[StorageKey, Stored]]:
        """Yield all objects."""
        for storage, collection in self._collections.items():
            for stored in collection.objects.values():
                yield storage, stored

    def in_namespace(self, namespace: str) -> Iterator[tuple[StorageKey, Stored]]:
        """Yield the objects of a namespace."""
        for storage, collection in list(self._collections.items()):
            for (owner, _), stored in list(collection.objects.items()):
                if owner == namespace:
                    yield storage, stored

    def put(self, storage: StorageKey, key: ObjectKey, obj: Object) -> Stored:
        """Store an object at the next version; the store takes it over."""
        collection = self._collections[storage]
        previous = collection.objects.get(key)
        stored = self._stamp(obj)
        collection.objects[key] = stored
        kind = ChangeType.ADDED if previous is None else ChangeType.MODIFIED
        self._record(storage, Change(self.version, kind, stored, previous))
        return stored

    def reread(self, storage: StorageKey, read: Callable[[Object], Object]) -> None:
        """Replace each object of a resource by what `read` makes of it, at the same version.

        Nothing was written, so watches see nothing of it.
        """
        objects = self._collections[storage].objects
        for key, stored in objects.items():
            objects[key] = Stored(read(stored.object))

    def remove(self, storage: StorageKey, key: ObjectKey, last: Mapping[str, Any]) -> Stored:
        """Remove an object; `last` is its final state for watches."""
        collection = self._collections[storage]
        previous = collection.objects.pop(key)
        stored = self._stamp(last)
        self._record(storage, Change(self.version, ChangeType.DELETED, stored, previous))
        return stored

    def drop(self, storage: StorageKey) -> None:
        """Remove a resource and end its watches."""
        self._collections.pop(storage).close()

    def end_watches(self, storage: StorageKey, ending: Ending) -> None:
        """End the open watches of one resource; expired ones cannot resume."""
        if ending is Ending.EXPIRED:
            self.version += 1
            self.collection(storage).forget(self.version)
        self.collection(storage).end_watches(ending)

    def close(self) -> None:
        """End every watch."""
        for collection in self._collections.values():
            collection.close()

    def backup(self) -> "Backup":
        """Return the present objects of all resources."""
        objects = {storage: dict(each.objects) for storage, each in self._collections.items()}
        return Backup(self.version, objects)

    def roll_back(self, backup: "Backup", version: int | None = None) -> None:
        """Replace everything by a backup, without any watch event, and cut all watches.

        The versions continue from `version`, or from that of the backup, as after `etcdutl snapshot restore`
        with or without `--bump-revision`: https://etcd.io/docs/v3.6/op-guide/recovery/.
        """
        self.version = backup.version if version is None else version
        for storage, collection in self._collections.items():
            collection.objects = dict(backup.objects.get(storage, {}))
            collection.forget(self.version)
            collection.end_watches(Ending.CUT)

    def _record(self, storage: StorageKey, change: Change) -> None:
        self._collections[storage].record(change)
        for each in self.on_change:
            each(storage, change)

    def _stamp(self, obj: Mapping[str, Any]) -> Stored:
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        return Stored({**obj, "metadata": metadata})


def encode(value: Any) -> bytes:
    """Encode as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
