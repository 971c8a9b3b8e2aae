"""Versions that the watches have delivered, compared with those that the API server lists."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudrun_identity.kube.objects import version_in
from cloudrun_identity.kube.resources import Listing, Object

Name = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object."""

    uid: str
    number: int
    """The resourceVersion, as a number."""

    @classmethod
    def of(cls, raw: Object) -> "Version":
        """Return the version of an object."""
        metadata = raw["metadata"]
        return cls(sys.intern(metadata["uid"]), version_in(metadata))


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Differences between a list and the deliveries before it, which later deliveries must resolve."""

    newer: Mapping[Name, Version]
    """Listed versions that were not delivered yet."""
    deleted: Mapping[Name, Version]
    """Delivered versions of objects that are no longer listed."""

    def __bool__(self) -> bool:
        return bool(self.newer or self.deleted)


class WatchedVersions:
    """The last delivered version of every object of one resource."""

    def __init__(self, listing: Listing[Object]) -> None:
        """`listing` is the list after which the watch begins."""
        self.since = listing.version
        """The resourceVersion after which the watch begins."""
        self._versions: dict[Name, Version] = {}
        for raw in listing.items:
            self.deliver(raw, deleted=False)

    def deliver(self, raw: Object, *, deleted: bool) -> None:
        """Take in an event of the watch."""
        if deleted:
            self._versions.pop(_name(raw), None)
        else:
            namespace, name = _name(raw)
            self._versions[sys.intern(namespace), sys.intern(name)] = Version.of(raw)

    def is_ahead_of(self, raw: Object) -> bool:
        """Return whether a newer version of the same object was delivered.

        Versions of an object only grow, unless the storage of the API server was restored from a backup.
        """
        known, version = self._versions.get(_name(raw)), Version.of(raw)
        return known is not None and known.uid == version.uid and known.number > version.number

    def listed(self, raw: Object) -> tuple[Name, Version]:
        """Return the name and the version of a listed object; the delivered version if it is the same.

        A check lists all objects, and nearly all of them are unchanged.
        """
        name, version = _name(raw), Version.of(raw)
        known = self._versions.get(name)
        return name, known if known == version else version

    def snapshot(self) -> Mapping[Name, Version]:
        """Return the versions that are delivered now, to compare them with a list that begins now."""
        return dict(self._versions)

    def undelivered(self, current: Mapping[Name, Version], before: Mapping[Name, Version]) -> Undelivered:
        """Return what a list shows and no event has delivered. `before` is the snapshot before the list."""
        return Undelivered(
            newer={name: version for name, version in current.items() if not self._has(name, version)},
            deleted={name: version for name, version in before.items() if name not in current},
        )

    def still_undelivered(self, differences: Undelivered) -> Iterable[Name]:
        """Yield the objects without an event since the list."""
        yield from (name for name, version in differences.newer.items() if not self._has(name, version))
        for name, version in differences.deleted.items():
            if self._versions.get(name) == version:
                yield name

    def ahead_of(self, current: Mapping[Name, Version], before: Mapping[Name, Version]) -> Iterable[Name]:
        """Yield the objects that a list shows in an older version than was delivered before the list.

        Only an API server that was restored from a backup does that.
        """
        for name, version in current.items():
            known = before.get(name)
            if known is not None and known.uid == version.uid and known.number > version.number:
                yield name

    def _has(self, name: Name, version: Version) -> bool:
        known = self._versions.get(name)
        return known is not None and (known.number >= version.number)


def _name(raw: Object) -> Name:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
