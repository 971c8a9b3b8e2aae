"""Patches of an existing object: JSON patch, merge patch, strategic merge patch."""

import copy
from typing import Any

import jsonpatch
import jsonpointer

from . import metadata
from .errors import ApiError, bad_request
from .schema import Schema

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

ACCEPTED = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
"""Formats of every resource; built-in kinds also accept the strategic merge patch."""

_ORDER = "$setElementOrder/"
_DELETE_ITEMS = "$deleteFromPrimitiveList/"


def json_patch(obj: Object, patch: Any) -> Any:
    """Apply a JSON patch (RFC 6902).

    Raises:
        ApiError: 400 if it is not a JSON patch, 422 if a test fails or a path does not exist.

    """
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    try:
        return jsonpatch.apply_patch(obj, patch)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"invalid operation: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise ApiError(
            422, "Invalid", "the server rejected our request due to an error in our request", {}
        ) from error


def merge_patch(value: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), change)
    return merged


def strategic_patch(obj: Object, patch: Object, schema: Schema) -> Object:
    """Apply a strategic merge patch, which can merge lists; for built-in kinds."""
    root = Schema(source={}, properties={**schema.properties, "metadata": metadata.SCHEMA})
    merged = _strategic(obj, patch, root)
    if not isinstance(merged, dict):
        raise bad_request("error decoding patch: it must be an object")
    return merged


def _strategic(value: Any, patch: Any, schema: Schema | None) -> Any:
    if isinstance(patch, dict):
        return _strategic_object(value, patch, schema)
    if isinstance(patch, list) and isinstance(value, list) and schema is not None:
        return _strategic_list(value, patch, schema)
    return copy.deepcopy(patch)


def _strategic_object(value: Any, patch: Object, schema: Schema | None) -> Object:
    changes = {name: change for name, change in patch.items() if not name.startswith("$")}
    if patch.get("$patch") == "replace":
        return copy.deepcopy(changes)
    merged = dict(value) if isinstance(value, dict) else {}
    for directive, items in patch.items():
        if directive.startswith(_DELETE_ITEMS):
            name = directive.removeprefix(_DELETE_ITEMS)
            merged[name] = [item for item in merged.get(name) or [] if item not in items]
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        else:
            below = schema.at(name) if schema is not None else None
            merged[name] = _strategic(merged.get(name), change, below)
    for directive, order in patch.items():
        name = directive.removeprefix(_ORDER)
        if directive.startswith(_ORDER) and merged.get(name) and schema is not None:
            merged[name] = _in_order(merged[name], order, schema.at(name))
    return merged


def _strategic_list(value: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    if schema.list_type == "set":
        return value + [item for item in patch if item not in value]
    if schema.list_type != "map" or {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    merged = list(value)
    for change in patch:
        index = next((i for i, item in enumerate(merged) if _key(schema, item) == _key(schema, change)), None)
        if change.get("$patch") == "delete":
            if index is not None:
                del merged[index]
        elif index is None:
            merged.append(copy.deepcopy(change))
        else:
            merged[index] = _strategic(merged[index], change, schema.items)
    return merged


def _in_order(items: list[Any], order: list[Any], schema: Schema | None) -> list[Any]:
    if schema is None:
        return items
    wanted = [_key(schema, item) for item in order]

    def rank(item: Any) -> int:
        key = _key(schema, item)
        return wanted.index(key) if key in wanted else len(wanted)

    return sorted(items, key=rank)


def _key(schema: Schema, item: Any) -> Any:
    return schema.key_of(item)
