"""JSON of the page: dataclasses as objects with camelCase names."""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

from pydantic_core import to_json


@cache
def _names(kind: type) -> tuple[tuple[str, str], ...]:
    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(each.capitalize() for each in rest)

    return tuple((each.name, camel(each.name)) for each in fields(kind))


def plain(value: object) -> object:
    """Return dataclasses as dictionaries, and times in UTC."""
    if is_dataclass(value) and not isinstance(value, type):
        return {camel: plain(getattr(value, name)) for name, camel in _names(type(value))}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def encoded(value: object) -> bytes:
    """Return the JSON of a value."""
    return to_json(plain(value))


def etag_of(body: bytes) -> str:
    """Return the ETag of a body."""
    return sha256(body).hexdigest()[:32]
