"""The data file, which stores all objects between runs.

The first line has the format and the current version. Each further line is one stored object; definitions
come before their instances.
"""

import asyncio
import fcntl
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from . import definitions, files
from .errors import FieldError
from .resources import DEFINITIONS, Catalog, StorageKey
from .store import Store, encode
from .validation import validate

Object = dict[str, Any]

_FORMAT = "cloudrun-identity kubeapi 1"


class DataFileError(Exception):
    """A file that cannot be used. The message has the file, the line if one is invalid, and the reason."""


@dataclass
class DataFile:
    """Stores objects in a file, which one server uses at a time."""

    path: Path
    store: Store
    catalog: Catalog
    _kept: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Load the file, if it exists, into the empty store, and lock it inside the block.

        Raises:
            DataFileError: The file is invalid, of another program, unreadable, or in use. It is not changed.

        """
        with ExitStack() as context:
            try:
                # The lock is on another file, because each write replaces the data file.
                lock = context.enter_context(self.path.with_name(f".{self.path.name}.lock").open("a"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.path.exists():
                    self._load(self.path.read_bytes())
            except BlockingIOError as error:
                raise DataFileError(f"another server is using {self.path}") from error
            except OSError as error:
                raise DataFileError(f"cannot use {self.path}: {error.strerror}") from error
            yield

    async def save(self) -> None:
        """Return when everything stored before the call is on disk. Concurrent calls share a write.

        Raises:
            DataFileError: The file cannot be written; the next call retries.

        """
        if self._kept < self.store.version:
            # Shielded: a client that disconnects must not let two writes overlap.
            await asyncio.shield(self._save(self.store.version))

    async def _save(self, wanted: int) -> None:
        async with self._lock:
            if self._kept >= wanted:
                return
            version, content = self.store.version, b"".join(_lines(self.store))
            try:
                await asyncio.to_thread(files.replace, self.path, content)
            except OSError as error:
                raise DataFileError(f"cannot write {self.path}: {error.strerror}") from error
            self._kept = version

    def _load(self, content: bytes) -> None:
        for number, line in enumerate(content.splitlines() or [b""], 1):
            try:
                entry = json.loads(line)
                if number == 1:
                    self._begin(entry)
                else:
                    self._restore(entry)
            except json.JSONDecodeError as error:
                self._refuse(number, f"column {error.colno}: {error.msg}", error)
            except KeyError as error:
                self._refuse(number, f"{error} is missing", error)
            except (ValueError, TypeError, AttributeError) as error:
                self._refuse(number, str(error), error)
        self._kept = self.store.version

    def _refuse(self, number: int, why: str, error: Exception) -> NoReturn:
        raise DataFileError(f"{self.path}, line {number}: {why}") from error

    def _begin(self, head: Any) -> None:
        if not isinstance(head, dict) or head.get("format") != _FORMAT:
            raise ValueError("this command did not write it")
        self.store.begin(int(head["version"]))

    def _restore(self, entry: Object) -> None:
        plural, _, group = entry["resource"].partition(".")
        storage, obj = (group, plural), entry["object"]
        own = obj["metadata"]
        if not own["uid"] or not 0 < int(own["resourceVersion"]) <= self.store.version:
            raise ValueError(
                f"the resourceVersion {own['resourceVersion']} is newer than the version of the file"
            )
        for error in self._errors(storage, obj):
            raise ValueError(f"{entry['resource']} {own['name']}: {error}")
        self.store.restore(storage, (own.get("namespace", ""), own["name"]), obj)
        if storage == DEFINITIONS:
            for resource in definitions.resources(obj):
                self.catalog.install(resource)

    def _errors(self, storage: StorageKey, obj: Object) -> list[FieldError]:
        """Return the errors that would break the server; values that are no longer allowed do not."""
        resource = self.catalog.stored_as(storage)
        if resource is None:
            if self.store.find(DEFINITIONS, ("", f"{storage[1]}.{storage[0]}")) is None:
                raise ValueError(f"{storage[1]}.{storage[0]} is not defined above")
            return []
        found = validate(obj, resource.schema) if not resource.definition else []
        return found or (definitions.errors(obj) if storage == DEFINITIONS else [])


def _lines(store: Store) -> Iterator[bytes]:
    yield encode({"format": _FORMAT, "version": store.version}) + b"\n"
    for (group, plural), stored in sorted(store.all(), key=lambda kept: kept[0] != DEFINITIONS):
        name = f"{plural}.{group}" if group else plural
        yield b'{"resource":"%s","object":%s}\n' % (name.encode(), stored.json)
