"""Raw objects of our own kinds: which resource they belong to, and how they stand on the server now."""

import sys
from functools import cache
from typing import Any

from cloudrun_identity.api import KINDS
from cloudrun_identity.api.group import GROUP, VERSION
from cloudrun_identity.api.resource import Scope

from .errors import KubeError
from .resources import Object, Resource, Verbs


@cache
def resource(kind: str) -> Resource:
    """Find the resource of one of our kinds by its name (`IAMBinding`); KeyError for any other."""
    model = KINDS[kind]
    return Resource(GROUP, VERSION, model.plural, namespaced=model.scope is Scope.NAMESPACED)


def resource_of(obj: Object) -> Resource:
    """Find the resource that a raw object of ours belongs to."""
    return resource(obj["kind"])


def compact(obj: Object) -> Object:
    """Copy the object as it is worth keeping: a quarter of the memory, and nothing less that we look at.

    `managedFields` and kubectl's copy of the manifest go, which are as large as all the rest; equal texts,
    and above all the names of attributes, become one text, because JSON decodes them anew for every object.
    """
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        kept = {name: text for name, text in metadata["annotations"].items() if name != _LAST_APPLIED}
        metadata["annotations"] = kept
    interned: Object = _interned({**obj, "metadata": metadata})
    return interned


async def newest_of(client: Verbs, obj: Object) -> Object | None:
    """Read the object anew; None when it is gone, also when another one took its name."""
    metadata = obj["metadata"]
    try:
        newest = await client.get(resource_of(obj), metadata["name"], metadata.get("namespace", ""))
    except KubeError as error:
        if error.is_not_found:
            return None
        raise
    return newest if newest["metadata"]["uid"] == metadata["uid"] else None


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _interned(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(name): _interned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_interned(each) for each in value]
    return sys.intern(value) if type(value) is str else value
