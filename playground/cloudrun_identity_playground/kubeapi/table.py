"""Server-side tables for `kubectl get`."""

import datetime as dt
import json
from collections.abc import Callable, Iterable
from typing import Any

from .builtin import rendered
from .jsonpath import json_path
from .resources import Column, Resource

Object = dict[str, Any]

_NAME = Column("Name", "string", ".metadata.name", format="name")
# Ages in seconds from which the coarser unit is used, as in kubectl.
_SECONDS_UNTIL, _MINUTES_EXACT_UNTIL, _MINUTES_UNTIL = 2 * 60, 10 * 60, 3 * 3600
_HOURS_EXACT_UNTIL, _HOURS_UNTIL, _DAYS_EXACT_UNTIL, _DAYS_UNTIL = 8 * 3600, 48 * 3600, 8 * 86400, 730 * 86400


def table(
    resource: Resource, objects: Iterable[Object], metadata: Object, *, include: str, header: bool = True
) -> Object:
    """Return a `meta.k8s.io/v1` Table.

    Args:
        resource: The resource with the columns.
        objects: The stored objects, one per row.
        metadata: Metadata of the list or the object.
        include: Object in each row: `Metadata` (the default), `Object` or `None`.
        header: Include column definitions; a watch does so in its first event only.
    """
    columns = (*((_NAME,) if resource.name_column else ()), *resource.columns)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns] if header else None,
        "rows": [_row(resource, columns, obj, include) for obj in objects],
    }


def partial_metadata(obj: Object) -> Object:
    """Return an object with its metadata only."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def age(since: str, now: dt.datetime | None = None) -> str:
    """Return the age of a time (RFC 3339) as kubectl shows it: `90s`, `5m30s`, `3h`, `2d`."""
    try:
        seconds = int(((now or dt.datetime.now(dt.UTC)) - dt.datetime.fromisoformat(since)).total_seconds())
    except (ValueError, TypeError):
        return "<invalid>"
    if seconds < 0:
        return "0s" if seconds >= -2 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < _SECONDS_UNTIL:
        return f"{seconds}s"
    if seconds < _MINUTES_UNTIL:
        return f"{minutes}m" + _rest(seconds % 60, "s", seconds < _MINUTES_EXACT_UNTIL)
    if seconds < _HOURS_UNTIL:
        return f"{hours}h" + _rest(minutes % 60, "m", seconds < _HOURS_EXACT_UNTIL)
    if seconds < _DAYS_UNTIL:
        return f"{days}d" + _rest(hours % 24, "h", seconds < _DAYS_EXACT_UNTIL)
    return f"{days // 365}y" + _rest(days % 365, "d", days < 8 * 365)


def _rest(amount: int, unit: str, shown: bool) -> str:
    return f"{amount}{unit}" if shown and amount else ""


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(resource: Resource, columns: Iterable[Column], obj: Object, include: str) -> Object:
    row: Object = {"cells": [_cell(column, obj) for column in columns]}
    if include != "None":
        row["object"] = rendered(resource, obj) if include == "Object" else partial_metadata(obj)
    return row


def _cell(column: Column, obj: Object) -> Any:
    if column.computed:
        return _COMPUTED[column.computed](obj)
    values = json_path(obj, column.json_path)
    if not values or values[0] is None:
        return None
    value = values[0] if len(values) == 1 else ",".join(map(str, values))
    if column.type == "date" and not column.verbatim:
        return age(value)
    return json.dumps(value) if isinstance(value, dict | list) else value


def _entries(obj: Object) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _last_seen(obj: Object) -> str:
    seen = (
        (obj.get("series") or {}).get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    )
    return age(seen or obj["metadata"]["creationTimestamp"])


def _involved_object(obj: Object) -> str:
    involved = obj.get("involvedObject") or {}
    return f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"


_COMPUTED: dict[str, Callable[[Object], Any]] = {
    "entries": _entries,
    "last-seen": _last_seen,
    "involved-object": _involved_object,
}
