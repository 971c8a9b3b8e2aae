"""Server-side apply: merge what a manager declares, and remove what it no longer declares."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from . import metadata
from .errors import ApiError
from .ownership import Entry, Fields, Path, Writer, compact, entries_of, leaves, with_metadata, write
from .schema import TYPE_META, Schema

Object = dict[str, Any]

_ITEM = object()
_KUBECTL = "kubectl"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(
    live: Object | None, config: Object, schema: Schema, writer: Writer, *, force: bool, split_status: bool
) -> Object:
    """Merge `config` into the live object, and remove fields that the writer applied before and now omits.

    Args:
        live: The stored object; None creates it.
        config: The configuration that the writer applies.
        schema: The schema, which defines how lists are merged.
        writer: The manager, with the operation `Apply`.
        force: Take over fields of other managers.
        split_status: Status is written through its own subresource only.

    Raises:
        ApiError: 409, another manager owns a field with another value.

    """
    config = copy.deepcopy(config)
    config.get("metadata", {}).pop("managedFields", None)
    wanted = {
        path: value
        for path, value in leaves(config, schema).items()
        if not split_status or (path[0] == "f:status") == (writer.subresource == "status")
    }
    mine = frozenset(wanted)
    entries = {entry.writer: entry for entry in (entries_of(live) if live is not None else ())}
    previous = entries.get(writer)
    others = [entry for entry in entries.values() if entry is not previous]
    current = leaves(live, schema) if live is not None else {}
    conflicting = {path for path in mine if current.get(path, _ITEM) != wanted[path]}
    if not force:
        _refuse_conflicts(others, conflicting - _applied_by_client(live, current, schema, writer))
    for other in others:
        entries[other.writer] = replace(other, fields=other.fields - conflicting)
    merged = copy.deepcopy(_merge(live, config, with_metadata(schema)) if live is not None else config)
    for path in _abandoned(previous, mine, others):
        _remove(merged, path)
    if previous is None or previous.fields != mine:
        entries[writer] = Entry(writer, config["apiVersion"], metadata.timestamp(), mine)
    write(merged, entries.values())
    return merged


def check_types(config: Object, schema: Schema) -> None:
    """Check that a configuration matches the types of its kind, as the merge needs it.

    Raises ApiError: 500, as a real API server answers.
    """
    own = config["metadata"]
    for path, why in _type_errors(config, schema, "", root=True):
        name = f"{own.get('namespace', '')}/{own['name']}"
        what = f"{name}; {config['apiVersion']}, Kind={config['kind']}"
        raise ApiError(500, "", f"failed to create typed patch object ({what}): {path}: {why}")


def _type_errors(value: Any, schema: Schema, path: str, *, root: bool = False) -> Iterator[tuple[str, str]]:
    """Yield path and message of each value that does not have the type of its field."""
    if value is None or schema.int_or_string:
        return
    types, expected = _TYPES.get(schema.type or "", ((), ""))
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        yield path, f"expected {expected}, got {_name_of(value)}"
    elif isinstance(value, dict):
        for name, inner in value.items():
            below = schema.at(name)
            if (root or schema.embedded) and name in TYPE_META:
                continue
            if below is not None:
                yield from _type_errors(inner, below, f"{path}.{name}")
            elif not schema.keeps_unknown:
                yield f"{path}.{name}", "field not declared in schema"
    elif isinstance(value, list) and schema.items is not None:
        yield from _key_errors(value, schema, path)
        for place, item in enumerate(value):
            yield from _type_errors(item, schema.items, f"{path}[{place}]")


def _key_errors(items: list[Any], schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    if schema.list_type == "atomic":
        return
    seen = set()
    for place, item in enumerate(items):
        key = schema.key_of(item)
        if schema.list_type == "map" and not key:
            keys = " ".join(json.dumps(name) for name in schema.list_keys)
            omitted = f"omits all key fields [{keys}] (and doesn't have default values for any key fields)"
            yield path, f"element {place}: associative list with keys has an element that {omitted}"
        text = compact(key)
        if text in seen:
            shown = f"={text}"
            if isinstance(key, dict):
                shown = ",".join(f"{name}={compact(value)}" for name, value in key.items())
            yield path, f"duplicate entries for key [{shown}]"
        seen.add(text)


def _name_of(value: Any) -> str:
    return next((name for kind, name in _NAMES.items() if isinstance(value, kind)), "null")


_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "integer": ((int, float), "numeric (int or float)"),
    "number": ((int, float), "numeric (int or float)"),
    "string": ((str,), "string"),
    "boolean": ((bool,), "boolean"),
    "object": ((dict,), "map"),
    "array": ((list,), "list"),
}
_NAMES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    dict: "map",
    list: "list",
}


def _abandoned(previous: Entry | None, mine: Fields, others: Iterable[Entry]) -> list[Path]:
    """Return the fields that the writer omits and no other manager owns; a list item before its fields."""
    if previous is None:
        return []
    held = frozenset(
        path[:length] for entry in others for path in entry.fields for length in range(1, len(path) + 1)
    )
    return sorted((path for path in previous.fields - mine - held if not _is_key(path)), key=len)


def _is_key(path: Path) -> bool:
    """Return whether a field is the key of its list item. It is removed with the item only."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def _applied_by_client(
    live: Object | None, current: Mapping[Path, Any], schema: Schema, writer: Writer
) -> Fields:
    """Return the fields that kubectl set by client-side apply and that did not change since.

    Server-side apply may take over these fields.
    """
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(_LAST_APPLIED)
    if writer.manager != _KUBECTL or not text:
        return frozenset()
    try:
        last_applied = leaves(json.loads(text), schema)
    except (ValueError, AttributeError):
        # Users can edit the annotation. Ignore one that cannot be read.
        return frozenset()
    return frozenset(path for path, value in last_applied.items() if current.get(path, _ITEM) == value)


def _refuse_conflicts(others: Iterable[Entry], conflicting: AbstractSet[Path]) -> None:
    causes, texts = [], []
    for entry in others:
        paths = sorted(entry.fields & conflicting)
        if not paths:
            continue
        owner = _owner(entry)
        shown = [_show(path) for path in paths]
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path}
            for path in shown
        ]
        many = f"conflicts with {owner}:" + "".join(f"\n- {path}" for path in shown)
        texts.append(f"conflict with {owner}: {shown[0]}" if len(shown) == 1 else many)
    if causes:
        count = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
        raise ApiError(409, "Conflict", f"Apply failed with {count}: " + "\n".join(texts), {"causes": causes})


def _owner(entry: Entry) -> str:
    """Return the name of a manager in messages; only updates have the version in it."""
    writer = entry.writer
    subresource = f' with subresource "{writer.subresource}"' if writer.subresource else ""
    version = f" using {entry.api_version}" if writer.operation == "Update" else ""
    return f'"{writer.manager}"{subresource}{version}'


def _merge(live: Any, config: Any, schema: Schema | None) -> Any:
    if schema is not None and schema.atomic_map:
        return config
    if isinstance(live, dict) and isinstance(config, dict):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = _merge(live.get(name), value, schema.at(name) if schema is not None else None)
        return merged
    if isinstance(live, list) and isinstance(config, list) and schema is not None:
        if schema.list_type == "set":
            return live + [item for item in config if item not in live]
        if schema.list_type == "map":
            return _merge_keyed(live, config, schema)
    return config


def _merge_keyed(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    merged = {compact(schema.key_of(item)): item for item in live}
    for item in config:
        key = compact(schema.key_of(item))
        merged[key] = _merge(merged.get(key), item, schema.items)
    return list(merged.values())


def _remove(value: Any, path: Path) -> None:
    """Remove the value at the path, and the objects that become empty."""
    step, rest = path[0], path[1:]
    mark, name = step[0], step[2:]
    if mark == "f" and isinstance(value, dict) and name in value:
        if rest:
            _remove(value[name], rest)
        if not rest or value[name] in ({}, []):
            del value[name]
    elif mark in "kv" and isinstance(value, list):
        wanted = json.loads(name)
        for item in [item for item in value if _is_item(item, wanted)]:
            if rest:
                _remove(item, rest)
            else:
                value.remove(item)


def _is_item(item: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(item, dict):
        return all(item.get(key) == value for key, value in wanted.items())
    return bool(item == wanted)


def _show(path: Path) -> str:
    """Return a path in the format of messages: `.spec.items[name="a"].value`."""
    shown = ""
    for step in path:
        mark, name = step[0], step[2:]
        if mark == "f":
            shown += f".{name}"
        elif mark == "k":
            shown += (
                "[" + ",".join(f"{key}={compact(value)}" for key, value in json.loads(name).items()) + "]"
            )
        else:
            shown += f"[={name}]"
    return shown
