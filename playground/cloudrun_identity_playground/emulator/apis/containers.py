"""Folders and organizations, and the hierarchy above a resource."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid

_NAME = re.compile(r"(folders|organizations)/(\d+)")


@dataclass(frozen=True)
class Container:
    """A folder or an organization."""

    name: str
    """`folders/NUMBER` or `organizations/NUMBER`."""
    display_name: str
    """Name in lists; the domain of an organization."""
    parent: str = ""
    """Name of the container that a folder is in."""
    created_at: float = 0.0
    """Seconds since the epoch."""

    @property
    def collection(self) -> str:
        """`folders` or `organizations`."""
        return self.name.partition("/")[0]


class Containers:
    """The folders and organizations that exist.

    Unless `strict`, every number has one: it can be read, and is created when it is first named while
    `auto_creating` is set.
    """

    def __init__(self, *, strict: bool, clock: Callable[[], float]) -> None:
        self.auto_creating = False
        self._clock = clock
        self._strict = strict
        self._by_name: dict[str, Container] = {}

    def __iter__(self) -> Iterator[Container]:
        return iter(self._by_name.values())

    def add(self, container: Container) -> Container:
        """Add a folder or an organization."""
        self._by_name[container.name] = container
        return container

    def find(self, name: str) -> Container | None:
        """Return the existing container of that name; create nothing."""
        return self._by_name.get(name)

    def resolve(self, name: str) -> Container:
        """Return the folder or organization of a resource name.

        Raises GoogleError: INVALID_ARGUMENT; PERMISSION_DENIED, because Google does not reveal what exists.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(
                f"Invalid resource name '{name}'; expected 'folders/NUMBER' or 'organizations/NUMBER'."
            )
        if container := self.find(name):
            return container
        if self._strict:
            raise _hidden(name, match[1])
        container = Container(name, display_name=match[2], created_at=self._clock())
        return self.add(container) if self.auto_creating else container

    def resolve_in(self, collection: str, name: str) -> Container:
        """Return the container as `resolve` does, if it belongs to the collection."""
        if not name.startswith(f"{collection}/"):
            raise invalid(f"Invalid resource name '{name}'; expected '{collection}/NUMBER'.")
        return self.resolve(name)

    def canonical(self, collection: str, name: str) -> str:
        """Return the name of the container that `resolve_in` finds."""
        return self.resolve_in(collection, name).name

    def above(self, name: str) -> Iterator[str]:
        """Yield a container and its ancestors up to the organization; nothing for an empty name."""
        while name:
            yield name
            container = self.find(name)
            name = container.parent if container is not None else ""


def etag(identity: str, changed_at: float) -> str:
    """Return the etag of a project, folder or organization, in the form of Resource Manager."""
    digest = hashlib.sha256(f"{identity}@{changed_at}".encode()).hexdigest()[:16]
    return f'W/"{digest}"'


def _hidden(name: str, collection: str) -> GoogleError:
    noun = collection.removesuffix("s").capitalize()
    rpc = f"google.cloud.resourcemanager.v3.{collection.capitalize()}/Get{noun}"
    return denied(rpc, f"resourcemanager.{collection}.get", name)
