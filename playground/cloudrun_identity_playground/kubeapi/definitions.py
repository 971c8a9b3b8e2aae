"""CustomResourceDefinitions: validation, status, and the resources that they add."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from . import defaults
from .errors import Cause, FieldError
from .jsonpath import json_path
from .metadata import timestamp
from .resources import AGE, Resource, StorageKey, read_column
from .schema import InvalidSchemaError, Schema

Object = dict[str, Any]

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
"""Finalizer of a definition until its instances are deleted."""


def storage_of(definition: Object) -> StorageKey:
    """Return the key under which the instances of a definition are stored."""
    return definition["spec"]["group"], definition["spec"]["names"]["plural"]


def complete(definition: Object) -> None:
    """Set, in place, the fields of a definition that the server sets."""
    spec = definition["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})


def establish(definition: Object) -> None:
    """Set, in place, the status and the finalizer of a new definition, which is served at once."""
    spec = definition["spec"]
    definition["status"] = {
        "conditions": [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": dict(spec["names"]),
        "storedVersions": [version["name"] for version in spec["versions"] if version["storage"]],
    }
    finalizers = definition["metadata"].setdefault("finalizers", [])
    if CLEANUP_FINALIZER not in finalizers:
        finalizers.append(CLEANUP_FINALIZER)


def terminate(definition: Object) -> Object:
    """Return the definition as it is while its instances are being deleted."""
    status = definition["status"]
    terminating = _condition(
        "Terminating", "InstanceDeletionInProgress", "CustomResource deletion is in progress"
    )
    return {**definition, "status": {**status, "conditions": [*status["conditions"], terminating]}}


def errors(definition: Object) -> list[FieldError]:
    """Return the errors of a definition whose fields have the right types."""
    return list(_errors(definition))


def resources(definition: Object) -> Iterator[Resource]:
    """Yield one resource for each served version."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version["served"]:
            continue
        yield Resource(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            schema=_parsed(json.dumps(version["schema"]["openAPIV3Schema"])),
            singular=names["singular"],
            list_kind=names["listKind"],
            storage=storage_of(definition),
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=("status",) if "status" in (version.get("subresources") or {}) else (),
            tracks_generation=True,
            selectable=frozenset(
                field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()
            ),
            columns=tuple(map(read_column, version.get("additionalPrinterColumns") or ())) or (AGE,),
            definition=name,
            terminating="deletionTimestamp" in definition["metadata"],
        )


def _errors(definition: Object) -> Iterator[FieldError]:
    spec, name = definition["spec"], definition["metadata"]["name"]
    expected = f"{spec['names']['plural']}.{spec['group']}"
    if name != expected:
        yield FieldError(
            "metadata.name",
            Cause.INVALID,
            f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group',
        )
    if spec.get("preserveUnknownFields"):
        yield FieldError("spec.preserveUnknownFields", Cause.INVALID, "Invalid value: true: must be false")
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        yield FieldError(
            "spec.conversion.strategy",
            Cause.NOT_SUPPORTED,
            'Unsupported value: conversion webhooks are not served here: supported values: "None"',
        )
    if sum(version["storage"] for version in spec["versions"]) != 1:
        yield FieldError(
            "spec.versions",
            Cause.INVALID,
            "Invalid value: must have exactly one version marked as storage version",
        )
    alone = len(spec["versions"]) == 1
    for index, version in enumerate(spec["versions"]):
        path = f"spec.versions[{index}]"
        # A real server moves what all versions have in common to the spec before it validates.
        yield from _schema_errors(version, path, "spec.validation" if alone else f"{path}.schema")
        yield from _column_errors(version, "spec" if alone else path)


def _schema_errors(version: Object, path: str, place: str) -> Iterator[FieldError]:
    source = (version.get("schema") or {}).get("openAPIV3Schema")
    if not source:
        yield FieldError(
            f"{path}.schema.openAPIV3Schema", Cause.REQUIRED, "Required value: schemas are required"
        )
        return
    at_schema = f"{place}.openAPIV3Schema"
    if source.get("type") != "object":
        message = f"Invalid value: {json.dumps(source.get('type', ''))}: must be object at the root"
        yield FieldError(f"{at_schema}.type", Cause.INVALID, message)
        return
    try:
        schema = _parsed(json.dumps(source))
    except InvalidSchemaError as error:
        yield FieldError(at_schema + error.path, Cause.INVALID, f"Invalid value: {error.reason}")
        return
    yield from defaults.errors(schema, at_schema)


def _column_errors(version: Object, place: str) -> Iterator[FieldError]:
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        at_column = f"{place}.additionalPrinterColumns[{index}]"
        for name, shown in (("name", "name"), ("type", "type"), ("jsonPath", "JSONPath")):
            if not column.get(name):
                yield FieldError(f"{at_column}.{shown}", Cause.REQUIRED, "Required value")
        try:
            json_path({}, column.get("jsonPath") or "")
        except ValueError as error:
            shown = json.dumps(column["jsonPath"])
            yield FieldError(f"{at_column}.JSONPath", Cause.INVALID, f"Invalid value: {shown}: {error}")


@lru_cache(maxsize=64)
def _parsed(schema: str) -> Schema:
    """Return the compiled schema; cached, because most writes to a definition change its status only."""
    return Schema.parse(json.loads(schema))


def _condition(kind: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": "True",
        "lastTransitionTime": timestamp(),
        "reason": reason,
        "message": message,
    }
