"""Object metadata: fields that the server sets, and validation of those that clients set."""

import datetime as dt
import re
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

from .errors import Cause, FieldError, bad_request
from .schema import Schema

Object = dict[str, Any]

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_LENGTH = 63
_NAME_LENGTH = 253
_SUFFIX_LENGTH = 5
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN.pattern}')"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    f"for validation is '{_LABEL_VALUE.pattern}')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_MOST = 256 << 10  # bytes of all annotations
_SERVER_FIELDS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "resourceVersion",
)
_FINALIZERS_OF_SERVER = frozenset({"orphan", "foregroundDeletion", "kubernetes", "customresourcecleanup"})
_MAPS = ("labels", "annotations")
_LISTS = ("finalizers", "ownerReferences")

SCHEMA = Schema.parse(
    {
        "description": "Standard object's metadata.",
        "type": "object",
        "properties": {
            **{
                name: {"type": "string"}
                for name in (*_SERVER_FIELDS, "selfLink")
                if name not in ("generation", "deletionGracePeriodSeconds")
            },
            "generation": {"type": "integer"},
            "deletionGracePeriodSeconds": {"type": "integer"},
            **{name: {"type": "object", "additionalProperties": {"type": "string"}} for name in _MAPS},
            "finalizers": {
                "type": "array",
                "items": {"type": "string"},
                "x-kubernetes-list-type": "set",
            },
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "items": {
                    "type": "object",
                    "properties": {
                        **{name: {"type": "string"} for name in ("apiVersion", "kind", "name", "uid")},
                        "controller": {"type": "boolean"},
                        "blockOwnerDeletion": {"type": "boolean"},
                    },
                },
            },
            "managedFields": {
                "type": "array",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
    }
)
"""Schema of metadata, the same for every kind; it also defines how lists are merged."""


def timestamp() -> str:
    """Return the current time in the format of objects."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of(obj: Object) -> Object:
    """Return the metadata of an object that a client sent.

    Raises:
        ApiError: 400, labels, annotations, finalizers or owners have a wrong type.

    """
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for name in _MAPS:
        value = metadata.get(name) or {}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise bad_request(f"metadata.{name} must be a map of strings")
    for name in _LISTS:
        if not isinstance(metadata.get(name) or [], list):
            raise bad_request(f"metadata.{name} must be a list")
    return metadata


def stamp(metadata: Object, *, generation: bool) -> None:
    """Set uid, creation time and generation of a new object."""
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp()
    if generation:
        metadata["generation"] = 1
    drop_empty(metadata)


def name_for(metadata: Object) -> str:
    """Return the name of a new object: its own, or one generated from `generateName`; empty without both."""
    if not metadata.get("name") and metadata.get("generateName"):
        suffix = "".join(secrets.choice(_NAME_ALPHABET) for _ in range(_SUFFIX_LENGTH))
        metadata["name"] = f"{metadata['generateName'][: _LABEL_LENGTH - _SUFFIX_LENGTH]}{suffix}"
    return str(metadata.get("name") or "")


def carry_over(old: Object, new: Object) -> None:
    """Restore, in `new`, the fields that an update cannot change."""
    for name in _SERVER_FIELDS:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)
    drop_empty(new)


def drop_empty(metadata: Object) -> None:
    """Remove, in place, empty maps and lists, which are not stored."""
    for name in (*_MAPS, *_LISTS):
        if name in metadata and not metadata[name]:
            del metadata[name]


def errors(metadata: Object, old: Object | None) -> list[FieldError]:
    """Return the errors in the metadata of a new (`old` is None) or changed object."""
    found = []
    name, prefix = metadata.get("name"), metadata.get("generateName")
    if (
        old is None
        and prefix
        and not _SUBDOMAIN.fullmatch(f"{prefix[:-1]}a" if prefix[-1] == "-" else prefix)
    ):
        found.append(_invalid("metadata.generateName", prefix, _NAME_RULE))
    if not name:
        missing = "Required value: name or generateName is required"
        found.append(FieldError("metadata.name", Cause.REQUIRED, missing))
    elif old is None and not _SUBDOMAIN.fullmatch(name):
        found.append(_invalid("metadata.name", name, _NAME_RULE))
    elif old is None and len(name) > _NAME_LENGTH:
        why = f"must be no more than {_NAME_LENGTH} characters"
        found.append(_invalid("metadata.name", name, why))
    found += [
        _invalid("metadata.labels", value, rule)
        for value in (metadata.get("labels") or {}).values()
        if (rule := refusal_of_label(value))
    ]
    found += [
        _invalid(f"metadata.{field}", key, rule)
        for field in _MAPS
        for key in metadata.get(field) or {}
        if (rule := refusal_of_key(key))
    ]
    if sum(len(f"{key}{text}".encode()) for key, text in (metadata.get("annotations") or {}).items()) > _MOST:
        why = f"Too long: may not be more than {_MOST} bytes"
        found.append(FieldError("metadata.annotations", Cause.TOO_LONG, why))
    found += [
        _invalid("metadata.finalizers", name, rule)
        for name in metadata.get("finalizers") or []
        if isinstance(name, str) and (rule := refusal_of_key(name))
    ]
    found.extend(_owner_errors(metadata.get("ownerReferences") or []))
    if old is not None and old.get("deletionTimestamp"):
        found.extend(_added_finalizers(metadata, old))
    return found


def warnings(metadata: Object) -> list[str]:
    """Return the warnings about the metadata of a custom resource."""
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name to avoid accidental '
        "conflicts with other finalizer writers"
        for name in metadata.get("finalizers") or []
        if "/" not in name and name not in _FINALIZERS_OF_SERVER
    ]


def _owner_errors(owners: list[Any]) -> Iterator[FieldError]:
    owners = [owner for owner in owners if isinstance(owner, dict)]  # others violate the schema
    for owner in owners:
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                yield _invalid(f"metadata.ownerReferences.{name}", "", "must not be empty")
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        why = "Only one reference can have Controller set to true"
        yield FieldError("metadata.ownerReferences", Cause.INVALID, f"Invalid value: {why}")


def refusal_of_label(value: str) -> str:
    """Return why a value of a label is refused; empty if it is not."""
    if len(value) > _LABEL_LENGTH:
        return f"must be no more than {_LABEL_LENGTH} bytes"
    return "" if _LABEL_VALUE.fullmatch(value) else _LABEL_RULE


def refusal_of_key(key: str) -> str:
    """Return why a key of labels or annotations is refused; empty if it is not."""
    prefix, slash, name = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        return f"prefix part {_NAME_RULE}"
    if not name:
        return "name part must be non-empty"
    if len(name) > _LABEL_LENGTH:
        return f"name part must be no more than {_LABEL_LENGTH} bytes"
    return "" if _LABEL_VALUE.fullmatch(name) else _KEY_RULE


def _added_finalizers(metadata: Object, old: Object) -> list[FieldError]:
    before = old.get("finalizers") or []
    added = [name for name in metadata.get("finalizers") or [] if name not in before]
    if not added:
        return []
    shown = ", ".join(f'"{name}"' for name in added)
    message = (
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{shown}}}"
    )
    return [FieldError("metadata.finalizers", Cause.FORBIDDEN, message)]


def _invalid(field: str, value: str, why: str) -> FieldError:
    return FieldError(field, Cause.INVALID, f'Invalid value: "{value}": {why}')
