"""Served resources: built-in ones, and those of CustomResourceDefinitions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from .schema import Schema

Object = dict[str, Any]
StorageKey = tuple[str, str]
"""Group and plural under which objects are stored."""

READ_WRITE = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
NAMESPACES: StorageKey = ("", "namespaces")
EVENTS: StorageKey = ("", "events")
SECRETS: StorageKey = ("", "secrets")
CONFIG_MAPS: StorageKey = ("", "configmaps")
LEASES: StorageKey = ("coordination.k8s.io", "leases")
DEFINITIONS: StorageKey = ("apiextensions.k8s.io", "customresourcedefinitions")


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; with a priority above 0, `-o wide` shows it only."""

    name: str
    type: str
    json_path: str = ""
    computed: str = ""
    """Name of a function in `table` for a cell that no path leads to."""
    verbatim: bool = False
    """True for a date that is shown as it is, not as an age."""
    priority: int = 0
    description: str = ""
    format: str = ""


AGE = Column("Age", "date", ".metadata.creationTimestamp")


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource in one version, as in discovery."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    schema: Schema
    singular: str
    list_kind: str
    storage: StorageKey
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = READ_WRITE
    subresources: tuple[str, ...] = ()
    tracks_generation: bool = False
    selectable: frozenset[str] = frozenset()
    """Fields that a field selector may use, besides metadata.name and metadata.namespace."""
    columns: tuple[Column, ...] = (AGE,)
    name_column: bool = True
    definition: str = ""
    """Name of the CustomResourceDefinition; empty for a built-in resource."""
    terminating: bool = False
    """True while the definition is being deleted, when nothing new can be created."""

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified_name(self) -> str:
        """`plural.group`, as in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """True if status is written through its own subresource only."""
        return "status" in self.subresources


@dataclass
class Catalog:
    """Served resources by group, version and plural."""

    _served: dict[tuple[str, str, str], Resource] = field(default_factory=dict)

    def install(self, resource: Resource) -> None:
        """Serve a resource, in place of an older one."""
        self._served[resource.group, resource.version, resource.plural] = resource

    def remove(self, definition: str) -> None:
        """Stop serving the resources of a CustomResourceDefinition."""
        self._served = {key: r for key, r in self._served.items() if r.definition != definition}

    def all(self) -> Iterable[Resource]:
        """Return all served resources."""
        return self._served.values()

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource at a path, if it is served."""
        return self._served.get((group, version, plural))

    def stored_as(self, storage: StorageKey) -> Resource | None:
        """Return a served resource whose objects are stored under that key."""
        return next((r for r in self._served.values() if r.storage == storage), None)

    def in_version(self, group: str, version: str) -> list[Resource]:
        """Return the resources of one group and version."""
        return [r for r in self._served.values() if (r.group, r.version) == (group, version)]

    def versions(self) -> Mapping[str, list[str]]:
        """Return the served versions of each group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self._served:
            versions = found.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        for versions in found.values():
            versions.sort(key=_version_rank, reverse=True)
        return found


def builtin_resources() -> Iterator[Resource]:
    """Yield the built-in resources."""
    for entry in _builtin():
        group, plural, kind = entry["group"], entry["plural"], entry["kind"]
        yield Resource(
            group=group,
            version="v1",
            plural=plural,
            kind=kind,
            namespaced=entry.get("namespaced", True),
            schema=Schema.parse(entry["schema"]),
            singular=kind.lower(),
            list_kind=f"{kind}List",
            # One object is served in both groups, as a real API server does.
            storage=EVENTS if kind == "Event" else (group, plural),
            short_names=tuple(entry.get("shortNames", ())),
            categories=tuple(entry.get("categories", ())),
            verbs=tuple(entry.get("verbs", READ_WRITE)),
            subresources=tuple(entry.get("subresources", ())),
            tracks_generation=entry.get("generation", False),
            selectable=frozenset(entry.get("selectable", ())),
            columns=tuple(read_column(column) for column in entry["columns"]),
            name_column=plural != "events",
        )


@cache
def _builtin() -> list[Object]:
    """Return the content of `builtin.yaml`, which nothing changes."""
    text = files(__package__).joinpath("builtin.yaml").read_text(encoding="utf-8")
    found: list[Object] = yaml.safe_load(text)["resources"]
    return found


def read_column(entry: Object) -> Column:
    """Parse one of `additionalPrinterColumns`."""
    return Column(
        name=entry["name"],
        type=entry["type"],
        json_path=entry.get("jsonPath", ""),
        computed=entry.get("computed", ""),
        verbatim=entry.get("verbatim", False),
        priority=entry.get("priority", 0),
        description=entry.get("description", ""),
        format=entry.get("format", ""),
    )


def _version_rank(version: str) -> tuple[int, int, int, str]:
    """Return the rank in Kubernetes' order: v2 over v1 over v1beta2 over v1alpha1, other names last."""
    parts = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if parts is None:
        return 0, 0, 0, version
    stability = {None: 3, "beta": 2, "alpha": 1}[parts[2]]
    return stability, int(parts[1]), int(parts[3] or 0), ""
