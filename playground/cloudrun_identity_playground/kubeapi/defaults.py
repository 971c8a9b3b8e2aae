"""Defaults of a schema: setting them in objects, and validation with the definition."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from .errors import Cause, FieldError
from .schema import Schema, prune
from .validation import validate_part


def set_defaults(value: Any, schema: Schema) -> None:
    """Set, in place, the defaults of absent fields. A null that is not allowed counts as absent."""
    if isinstance(value, dict):
        for name, below in schema.properties.items():
            if name in value and value[name] is None and not below.nullable:
                del value[name]
            if name not in value and "default" in below.source:
                value[name] = copy.deepcopy(below.source["default"])
            if name in value:
                set_defaults(value[name], below)
        if schema.additional is not None:
            for name in value.keys() - schema.properties.keys():
                set_defaults(value[name], schema.additional)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            set_defaults(item, schema.items)


def errors(schema: Schema, path: str) -> Iterator[FieldError]:
    """Yield the defaults at or below `path` that their own schema refuses; map values are not checked.

    A default is checked as written, without the defaults of its own fields.
    """
    value = schema.source.get("default")
    if value is not None:
        yield from _errors(value, schema, f"{path}.default")
    for name, below in schema.properties.items():
        yield from errors(below, f"{path}.properties[{name}]")
    if schema.items is not None:
        yield from errors(schema.items, f"{path}.items")


def _errors(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if prune(copy.deepcopy(value), schema, root=False):
        shown = json.dumps(value, separators=(",", ":"))
        yield FieldError(path, Cause.INVALID, f"Invalid value: {shown}: must not have unknown fields")
    for error in validate_part(value, schema):
        below = "" if error.field == "<nil>" else f".{error.field}"
        yield FieldError(path + below, error.cause, error.message)
