"""Defaults and validation of built-in kinds that their schema cannot express."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from . import definitions
from .errors import Cause, FieldError
from .resources import DEFINITIONS, EVENTS, NAMESPACES, SECRETS, Resource, StorageKey

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
    return found


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
