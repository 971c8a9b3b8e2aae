"""Functions on raw objects: their resource, a compact copy, their latest version, and merge patches."""

import sys
from functools import cache
from typing import Any

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.group import GROUP, VERSION
from cloudrun_identity.api.resource import Scope

from .errors import KubeError, OlderVersion
from .resources import NAMESPACES, Object, ObjectClient, Resource
from .sharing import SharedParts

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation with the manifest that `kubectl apply` applied last."""


@cache
def resource(kind: str) -> Resource:
    """Return the resource of one of the operator's kinds, such as `IAMBinding`.

    Raises:
        KeyError: The operator does not define this kind.

    """
    model = KINDS[kind]
    return Resource(GROUP, VERSION, model.plural, namespaced=model.scope is Scope.NAMESPACED)


def resource_of(obj: Object) -> Resource:
    """Return the resource of a raw object of one of the operator's kinds."""
    return resource(obj["kind"])


def compact(obj: Object, known: Object | None = None) -> Object:
    """Copy the object for the cache. The copy has all that the operator uses, in a quarter of the memory.

    `managedFields` and kubectl's last-applied configuration are dropped: they are as large as all the rest.
    Equal strings, in particular attribute names, are interned, because the JSON decoder creates new ones for
    each object. So are equal flat parts, such as conditions and references. A part, such as the spec, that is
    equal in `known`, an earlier compact copy, is the same dictionary in both. `is` then shows that it did not
    change.
    """
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        kept = {name: text for name, text in metadata["annotations"].items() if name != LAST_APPLIED}
        metadata["annotations"] = kept
    before = known or {}
    return {
        sys.intern(name): before[name] if name in before and before[name] == part else _interned(part)
        for name, part in {**obj, "metadata": metadata}.items()
    }


def version_in(metadata: Object) -> int:
    """Return the resourceVersion as a number, which grows with each write; 0 if it is not a number.

    It was opaque by an earlier contract. KEP-5504 defines it as an ordered integer, which every API server
    already uses.
    """
    version = metadata.get("resourceVersion", "")
    return int(version) if version.isdigit() else 0


def is_before(metadata: Object, known: Object) -> bool:
    """Return whether `metadata` is of an older version of the same object than `known`."""
    return metadata["uid"] == known["uid"] and version_in(metadata) < version_in(known)


async def read_latest(client: ObjectClient, obj: Object) -> Object | None:
    """Read the object again. Return None if it was deleted, also if a new object has the same name.

    Raises:
        OlderVersion: The object that was read before is newer.
        KubeError: The object cannot be read.

    """
    metadata = obj["metadata"]
    try:
        latest = await client.get(resource_of(obj), metadata["name"], metadata.get("namespace", ""))
    except KubeError as error:
        if error.is_not_found:
            return None
        raise
    if is_before(latest["metadata"], metadata):
        raise OlderVersion(shown_name(resource_of(obj), obj))
    return latest if latest["metadata"]["uid"] == metadata["uid"] else None


def shown_name(resource: Resource, obj: Object) -> str:
    """Return the object as messages name it, such as `iambindings payments/web`."""
    metadata = obj["metadata"]
    name = "/".join(part for part in (metadata.get("namespace", ""), metadata["name"]) if part)
    return f"{resource.plural} {name}"


async def ensure_namespace(client: ObjectClient, name: str) -> None:
    """Create the namespace if it does not exist.

    Raises:
        KubeError: The namespace can neither be read nor created.

    """
    try:
        await client.get(NAMESPACES, name)
    except KubeError as error:
        if not error.is_not_found:
            raise
    else:
        return
    try:
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except KubeError as error:
        if not error.is_conflict:  # another client created it in the meantime
            raise


def build_merge_patch(old: Object, new: Object) -> Object:
    """Build the JSON merge patch (RFC 7386) that turns `old` into `new`; empty if they are equal.

    Removed attributes become null, and lists are replaced as a whole. `new` must not contain nulls, because a
    merge patch cannot set an attribute to null.
    """
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            both_objects = isinstance(old[key], dict) and isinstance(value, dict)
            patch[key] = build_merge_patch(old[key], value) if both_objects else value
    return patch


def apply_merge_patch(stored: Any, patch: Any) -> Any:
    """Return the result of a JSON merge patch (RFC 7386). `stored` is not modified."""
    if not isinstance(patch, dict):
        return patch
    result = dict(stored) if isinstance(stored, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply_merge_patch(result.get(name), value)
    return result


_SHARED: SharedParts[Object] = SharedParts()


def _interned(value: Any) -> Any:
    if isinstance(value, dict):
        copy = {sys.intern(name): _interned(each) for name, each in value.items()}
        types = tuple(map(type, copy.values()))
        is_flat = dict not in types and list not in types
        return _SHARED.one_of((*copy, *copy.values(), *types), copy) if is_flat else copy
    if isinstance(value, list):
        return [_interned(each) for each in value]
    return sys.intern(value) if type(value) is str else value
