"""Owners of fields: `metadata.managedFields`.

The notation of `fieldsV1` is the path of a field: `f:NAME` is a field, `k:{…}` an item of a keyed list, `v:…`
a value of a set. A set of fields holds the paths of scalars, atomic values, empty containers and list items,
but not those of objects with fields.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import metadata
from .schema import Schema

Object = dict[str, Any]
Path = tuple[str, ...]
Fields = frozenset[Path]

_OWNED_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


@dataclass(frozen=True)
class Writer:
    """A manager and the subresource it writes."""

    manager: str
    operation: str
    """`Apply` or `Update`."""
    subresource: str = ""


@dataclass(frozen=True)
class Entry:
    """One entry of managedFields."""

    writer: Writer
    api_version: str
    time: str
    fields: Fields


def track_update(old: Object | None, new: Object, schema: Schema, writer: Writer) -> None:
    """Record in `new` that the writer set all fields that differ from `old`, for all operations but apply.

    The client may have edited managedFields, as kubectl does when it migrates to server-side apply. The
    record starts with those of `new`.
    """
    after = leaves(new, schema)
    before = leaves(old, schema) if old is not None else {}
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    present = frozenset(after)
    entries = {
        entry.writer: replace(
            entry, fields=entry.fields & present - (frozenset() if entry.writer == writer else changed)
        )
        for entry in entries_of(new)
    }
    if changed:
        mine = entries.get(writer)
        owned = changed | (mine.fields if mine is not None else frozenset())
        entries[writer] = Entry(writer, new["apiVersion"], metadata.timestamp(), owned)
    write(new, entries.values())


def with_metadata(schema: Schema) -> Schema:
    """Return the schema of a kind with that of its metadata."""
    return replace(schema, properties={**schema.properties, "metadata": metadata.SCHEMA})


def leaves(obj: Object, schema: Schema) -> Mapping[Path, Any]:
    """Return all fields of an object that can have an owner, with their values."""
    owned = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
    own_metadata = obj.get("metadata") or {}
    owned["metadata"] = {name: own_metadata[name] for name in _OWNED_METADATA if name in own_metadata}
    if not owned["metadata"]:
        del owned["metadata"]
    return dict(_walk(owned, with_metadata(schema), ())) if owned else {}


def _walk(value: Any, schema: Schema | None, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and not (schema is not None and schema.atomic_map):
        for name, below in value.items():
            yield from _walk(below, schema.at(name) if schema is not None else None, (*path, f"f:{name}"))
    elif isinstance(value, list) and value and schema is not None and schema.list_type == "set":
        for item in value:
            yield (*path, f"v:{compact(item)}"), item
    elif isinstance(value, list) and value and schema is not None and schema.list_type == "map":
        for item in value:
            here = (*path, f"k:{compact(schema.key_of(item))}")
            yield here, None
            yield from _walk(item, schema.items, here)
    else:
        yield path, value


def entries_of(obj: Object) -> list[Entry]:
    """Return the managedFields of an object."""
    return [
        Entry(
            Writer(entry["manager"], entry["operation"], entry.get("subresource", "")),
            entry.get("apiVersion", ""),
            entry.get("time", ""),
            frozenset(_paths(entry.get("fieldsV1") or {}, ())),
        )
        for entry in obj["metadata"].get("managedFields") or []
        if entry.get("manager") and entry.get("operation")
    ]


def write(obj: Object, entries: Iterable[Entry]) -> None:
    """Set the managedFields of an object; entries without fields are removed."""
    managed = [_as_managed_fields(entry) for entry in entries if entry.fields]
    if managed:
        obj["metadata"]["managedFields"] = managed
    else:
        obj["metadata"].pop("managedFields", None)


def _as_managed_fields(entry: Entry) -> Object:
    tree: Object = {}
    for path in sorted(entry.fields):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    managed: Object = {
        "manager": entry.writer.manager,
        "operation": entry.writer.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": tree,
    }
    if entry.writer.subresource:
        managed["subresource"] = entry.writer.subresource
    return managed


def _paths(tree: Object, path: Path) -> Iterator[Path]:
    for step, below in tree.items():
        if step == ".":
            yield path
        elif below:
            yield from _paths(below, (*path, step))
        else:
            yield (*path, step)


def compact(value: Any) -> str:
    """Return a value in the format of a path."""
    return json.dumps(value, separators=(",", ":"))
