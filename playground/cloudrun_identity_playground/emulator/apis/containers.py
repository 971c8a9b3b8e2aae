"""Folders and organizations: which there are, and what lies above what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid

_NAME = re.compile(r"(folders|organizations)/(\d+)")


@dataclass(frozen=True)
class Container:
    """A folder or an organization. `name` is `folders/NUMBER` or `organizations/NUMBER`, as is `parent`."""

    name: str
    display_name: str
    parent: str = ""

    @property
    def collection(self) -> str:
        """`folders` or `organizations`."""
        return self.name.partition("/")[0]


class Containers:
    """The folders and organizations that exist.

    Unless `strict`, there is one behind every number: it can be read, and comes into being when it is first
    named while `founding` is set.
    """

    def __init__(self, *, strict: bool) -> None:
        self.founding = False
        self._strict = strict
        self._by_name: dict[str, Container] = {}

    def __iter__(self) -> Iterator[Container]:
        return iter(self._by_name.values())

    def add(self, container: Container) -> Container:
        """Make `container` exist."""
        self._by_name[container.name] = container
        return container

    def find(self, name: str) -> Container | None:
        """The container of that name if it exists already; naming it here creates nothing."""
        return self._by_name.get(name)

    def resolve(self, name: str) -> Container:
        """The folder or organization of a resource name.

        Raises GoogleError: INVALID_ARGUMENT, or PERMISSION_DENIED, as Google hides whether one exists.
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
        container = Container(name, display_name=match[2])
        return self.add(container) if self.founding else container

    def resolve_in(self, collection: str, name: str) -> Container:
        """As `resolve`, of one of the collections."""
        if not name.startswith(f"{collection}/"):
            raise invalid(f"Invalid resource name '{name}'; expected '{collection}/NUMBER'.")
        return self.resolve(name)

    def canonical(self, collection: str, name: str) -> str:
        """The name of what `resolve_in` finds."""
        return self.resolve_in(collection, name).name

    def above(self, name: str) -> Iterator[str]:
        """The name of a container, and those of what lies above it, up to the organization; none of ``."""
        while name:
            yield name
            container = self.find(name)
            name = container.parent if container is not None else ""


def _hidden(name: str, collection: str) -> GoogleError:
    noun = collection.removesuffix("s").capitalize()
    rpc = f"google.cloud.resourcemanager.v3.{collection.capitalize()}/Get{noun}"
    return denied(rpc, f"resourcemanager.{collection}.get", name)
