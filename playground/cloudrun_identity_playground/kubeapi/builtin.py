"""Defaults and validation of built-in kinds that their schema cannot express."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import definitions
from .errors import Cause, FieldError
from .resources import CONFIG_MAPS, DEFINITIONS, EVENTS, LEASES, NAMESPACES, SECRETS, Resource, StorageKey

Object = dict[str, Any]

_NAME_LABEL = "kubernetes.io/metadata.name"
# Fields of events.k8s.io/v1 and their names in v1. Events are stored as v1.
_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "deprecatedSource": "source",
    "reportingController": "reportingComponent",
}


def rendered(resource: Resource, obj: Object) -> Object:
    """Return a stored object as a resource shows it."""
    if obj["apiVersion"] == resource.api_version:
        return obj
    if resource.storage == EVENTS:
        to_new = {old: new for new, old in _EVENT_FIELDS.items()}
        obj = {to_new.get(name, name): value for name, value in obj.items()}
    return {**obj, "apiVersion": resource.api_version}


def stored(resource: Resource, obj: Object) -> Object:
    """Return an object of a client in the form in which it is stored."""
    if resource.storage == EVENTS and resource.group:
        kept = {_EVENT_FIELDS.get(name, name): value for name, value in obj.items()}
        return {**kept, "apiVersion": "v1"}
    return obj


def complete(resource: Resource, new: Object, old: Object | None) -> None:
    """Set, in place, the fields that the kind sets; schema defaults are set before."""
    hook = _COMPLETE.get(resource.storage)
    if hook is not None:
        hook(new, old)


def errors(resource: Resource, new: Object, old: Object | None) -> list[FieldError]:
    """Return the errors of an object that its schema allows but its kind does not."""
    found = []
    if resource.storage == DEFINITIONS and (old is None or new["spec"] != old["spec"]):
        found += definitions.errors(new)
    if old is not None and old.get("immutable"):
        found += [
            FieldError(name, Cause.FORBIDDEN, "Forbidden: field is immutable when `immutable` is set")
            for name in ("data", "binaryData", "immutable")
            if old.get(name) != new.get(name)
        ]
    check = _ERRORS.get(resource.storage)
    return found + list(check(new, old)) if check is not None else found


def _secret_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    yield from _key_errors(new, old)
    if sum(map(_decoded_size, (new.get("data") or {}).values())) > _LARGEST_SECRET:
        why = f"Too long: may not be more than {_LARGEST_SECRET} bytes"
        yield FieldError("data", Cause.TOO_LONG, why)
    if old is not None and old.get("type") != new.get("type"):
        why = f'Invalid value: "{new.get("type", "")}": field is immutable'
        yield FieldError("type", Cause.INVALID, why)


def _key_errors(new: Object, _old: Object | None) -> Iterator[FieldError]:
    for field in ("data", "binaryData"):
        for key in new.get(field) or {}:
            if not _KEY.fullmatch(key):
                why = f'Invalid value: "{key}": {_KEY_RULE}'
                yield FieldError(f"{field}[{key}]", Cause.INVALID, why)


def _lease_errors(new: Object, _old: Object | None) -> Iterator[FieldError]:
    spec = new.get("spec") or {}
    for name, least, rule in (
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ):
        if spec.get(name) is not None and spec[name] < least:
            yield FieldError(f"spec.{name}", Cause.INVALID, f"Invalid value: {spec[name]}: {rule}")


def _namespace_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    name = new["metadata"]["name"]
    if old is None and "." in name:
        yield FieldError("metadata.name", Cause.INVALID, f'Invalid value: "{name}": must not contain dots')


def _event_errors(new: Object, _old: Object | None) -> Iterator[FieldError]:
    """Yield the error of an event in another namespace than its object: `default` for one without any."""
    involved = (new.get("involvedObject") or new.get("regarding") or {}).get("namespace") or ""
    if new["metadata"]["namespace"] != (involved or "default"):
        why = f'Invalid value: "{involved}": does not match event.namespace'
        yield FieldError("involvedObject.namespace", Cause.INVALID, why)


def _decoded_size(text: str) -> int:
    return len(text) // 4 * 3 - text.count("=")


_LARGEST_SECRET = 1 << 20
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_ERRORS: Mapping[StorageKey, Callable[[Object, Object | None], Iterator[FieldError]]] = {
    SECRETS: _secret_errors,
    CONFIG_MAPS: _key_errors,
    LEASES: _lease_errors,
    NAMESPACES: _namespace_errors,
    EVENTS: _event_errors,
}


def _complete_namespace(new: Object, old: Object | None) -> None:
    if old is None:
        new["spec"] = {"finalizers": ["kubernetes"]}
        new["status"] = {"phase": "Active"}
    new["metadata"].setdefault("labels", {})[_NAME_LABEL] = new["metadata"]["name"]


def _complete_secret(new: Object, _old: Object | None) -> None:
    plain: Mapping[str, str] = new.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        new["data"] = {**(new.get("data") or {}), **encoded}


def _complete_definition(new: Object, old: Object | None) -> None:
    definitions.complete(new)
    if old is None:
        definitions.establish(new)


_COMPLETE: Mapping[StorageKey, Callable[[Object, Object | None], None]] = {
    NAMESPACES: _complete_namespace,
    SECRETS: _complete_secret,
    DEFINITIONS: _complete_definition,
}
