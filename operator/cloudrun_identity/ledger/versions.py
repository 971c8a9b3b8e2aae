"""The newest versions of objects that were seen, to recognize late watch events."""

from typing import Final

from cloudrun_identity.kube.objects import version_in
from cloudrun_identity.kube.resources import Object

DELETED_KEPT: Final = 512
"""The number of deleted objects whose versions are kept."""


class SeenVersions:
    """The newest seen version of each object of one kind in one namespace, also of the last deleted ones.

    Most watch events echo writes of this process. A late event must not restore a deleted object.
    """

    def __init__(self, deleted_kept: int = DELETED_KEPT) -> None:
        self._deleted_kept = deleted_kept
        self._present: dict[str, int] = {}
        self._deleted: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of objects with a known version."""
        return len(self._present) + len(self._deleted)

    def has(self, metadata: Object) -> bool:
        """Return whether this version of an object or a newer one was seen."""
        name = metadata["name"]
        return version_in(metadata) <= self._present.get(name, self._deleted.get(name, 0))

    def add(self, metadata: Object) -> None:
        """Note the version of an object that is present."""
        self._deleted.pop(metadata["name"], None)
        self._present[metadata["name"]] = version_in(metadata)

    def note_deletion(self, name: str) -> None:
        """Keep the version of a deleted object, and forget that of the object that was deleted first."""
        if (version := self._present.pop(name, None)) is not None:
            self._deleted[name] = version
        while len(self._deleted) > self._deleted_kept:
            del self._deleted[next(iter(self._deleted))]
