"""The object that `kubectl apply` would leave: a manifest merged into the object that the cluster has.

A field of the manifest wins. A field that the manifest no longer has is removed if it was applied before, and
kept if another client set it. Lists are replaced as a whole.
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#merge-patch-calculation
"""

import json
from typing import Any

from cloudrun_identity.kube.objects import LAST_APPLIED, apply_merge_patch, build_merge_patch
from cloudrun_identity.kube.resources import Object

_PARTS = ("labels", "annotations")


def applied(stored: Object, manifest: Object) -> Object:
    """Return the stored object with the manifest applied. Its generation rises if its spec changes."""
    metadata, declared = stored["metadata"], manifest["metadata"]
    before = _applied_before(stored)
    spec = _merged(stored.get("spec") or {}, before.get("spec"), manifest.get("spec") or {})
    parts = {
        part: _merged(
            metadata.get(part) or {}, (before.get("metadata") or {}).get(part), declared.get(part) or {}
        )
        for part in _PARTS
        if metadata.get(part) or declared.get(part)
    }
    generation = metadata.get("generation", 1) + (spec != stored.get("spec"))
    return {**stored, "spec": spec, "metadata": {**metadata, **parts, "generation": generation}}


def _merged(stored: Object, before: Any, declared: Object) -> Object:
    """Return the stored fields with the declared ones, without those that were applied before only."""
    removals = _removals(before, declared) if isinstance(before, dict) else {}
    merged: Object = apply_merge_patch(apply_merge_patch(stored, removals), _without_nulls(declared))
    return merged


def _removals(before: Object, declared: Object) -> Object:
    """Return the merge patch that removes what was applied before and is not declared any more."""
    patch: Object = {}
    for name, value in build_merge_patch(before, declared).items():
        if value is None:
            patch[name] = None
        elif isinstance(value, dict) and isinstance(before.get(name), dict):
            patch[name] = _removals(before[name], declared[name])
    return patch


def _applied_before(stored: Object) -> Object:
    """Return the fields that were applied last: client-side from the annotation, else by their managers."""
    annotation = (stored["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if annotation is not None:
        try:
            before = json.loads(annotation)
        except ValueError:
            return {}
        return before if isinstance(before, dict) else {}
    owned: Object = {}
    for entry in stored["metadata"].get("managedFields") or ():
        if entry.get("operation") == "Apply" and not entry.get("subresource"):
            owned = apply_merge_patch(owned, _fields(entry.get("fieldsV1") or {}))
    return owned


def _fields(owned: Object) -> Object:
    """Return the field names of a `fieldsV1` entry as nested objects; the values of leaves are not recorded.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    return {
        name.removeprefix("f:"): _fields(each) if any(key.startswith("f:") for key in each) else True
        for name, each in owned.items()
        if name.startswith("f:")
    }


def _without_nulls(value: Any) -> Any:
    """Return the declared fields that have a value: `null` means the default, as an absent field does."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value
