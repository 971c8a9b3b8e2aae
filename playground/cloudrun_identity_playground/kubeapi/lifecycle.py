"""The life cycle of objects: finalizers, deletion of namespaces and of definitions.

All effects of a write happen within it. The garbage collector acts on the propagation policies `Foreground`
and `Orphan` only. Dependents of an object that is deleted in the background remain, as without a controller
manager.
"""

import copy
from dataclasses import dataclass
from typing import Any

from . import definitions, metadata
from .defaults import set_defaults
from .metadata import timestamp
from .resources import DEFINITIONS, NAMESPACES, Catalog, Resource, StorageKey
from .schema import Schema, prune
from .store import ObjectKey, Store, Stored

Object = dict[str, Any]

_COLLECTED = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""Finalizers of the garbage collector, by propagation policy."""


@dataclass
class Lifecycle:
    """Stores and removes objects, with all consequences."""

    store: Store
    catalog: Catalog

    def commit(self, resource: Resource, key: ObjectKey, obj: Object) -> Stored:
        """Store a checked object. A deleted object without finalizers is removed."""
        own = obj["metadata"]
        if own.get("deletionTimestamp") and not self._is_held(resource, key, obj):
            return self._remove(resource.storage, key, obj)
        stored = self.store.put(resource.storage, key, obj)
        if resource.storage == DEFINITIONS:
            self._serve(stored.object)
        return stored

    def delete(self, resource: Resource, key: ObjectKey, propagation: str = "") -> Stored:
        """Remove an object, or set its deletionTimestamp if it has finalizers. Idempotent.

        With the propagation policy `Foreground` or `Orphan`, return the object with the finalizer of the
        garbage collector, which then acts.
        """
        stored = self.store.collection(resource.storage).objects[key]
        obj = stored.object
        if propagation in _COLLECTED and "deletionTimestamp" not in obj["metadata"]:
            own = obj["metadata"]
            held = {**own, "finalizers": [*own.get("finalizers", ()), _COLLECTED[propagation]]}
            marked = self.store.put(resource.storage, key, _marked(resource, {**obj, "metadata": held}))
            self._cascade(resource.storage, key)
            self._collect(resource.storage, key)
            return marked
        if not self._is_held(resource, key, obj):
            return self._remove(resource.storage, key, obj)
        if "deletionTimestamp" not in obj["metadata"]:
            stored = self.store.put(resource.storage, key, _marked(resource, obj))
            self._cascade(resource.storage, key)
        return self.store.find(resource.storage, key) or stored

    def _is_held(self, resource: Resource, key: ObjectKey, obj: Object) -> bool:
        if resource.storage == NAMESPACES:
            return any(self.store.in_namespace(key[1])) or bool(obj["metadata"].get("finalizers"))
        return bool(obj["metadata"].get("finalizers"))

    def _remove(self, storage: StorageKey, key: ObjectKey, obj: Object) -> Stored:
        stored = self.store.remove(storage, key, obj)
        if storage == DEFINITIONS:
            self.catalog.remove(key[1])
            self.store.drop(definitions.storage_of(obj))
        self._settle_namespace(key[0])
        self._settle_definition(storage)
        owners = {owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())}
        for owner_storage, owner in list(self.store.all()) if owners else ():
            own = owner.object["metadata"]
            if own["uid"] in owners and _COLLECTED["Foreground"] in own.get("finalizers", ()):
                self._collect(owner_storage, _key(own))
        return stored

    def _collect(self, storage: StorageKey, key: ObjectKey) -> None:
        """Delete or orphan the dependents of an object that is being deleted, and release it after that."""
        stored = self.store.find(storage, key)
        finalizers = stored.object["metadata"].get("finalizers", ()) if stored is not None else ()
        if stored is None or not set(finalizers) & set(_COLLECTED.values()):
            return
        uid = stored.object["metadata"]["uid"]
        for inner, dependent in self._dependents(uid):
            others = [o for o in dependent.object["metadata"]["ownerReferences"] if o["uid"] != uid]
            resource = self.catalog.stored_as(inner)
            if resource is None:
                continue
            if others or _COLLECTED["Orphan"] in finalizers:
                own = {**dependent.object["metadata"], "ownerReferences": others}
                metadata.drop_empty(own)
                self.store.put(inner, _key(own), {**dependent.object, "metadata": own})
            elif "deletionTimestamp" not in dependent.object["metadata"]:
                self.delete(resource, _key(dependent.object["metadata"]), "Foreground")
        if not self._dependents(uid):
            self._release(storage, key)

    def _dependents(self, uid: str) -> list[tuple[StorageKey, Stored]]:
        return [
            (storage, stored)
            for storage, stored in self.store.all()
            if any(owner["uid"] == uid for owner in stored.object["metadata"].get("ownerReferences", ()))
        ]

    def _release(self, storage: StorageKey, key: ObjectKey) -> None:
        """Remove the finalizers of the garbage collector, and the object if it has no others."""
        stored = self.store.find(storage, key)
        if stored is None:
            return
        own = stored.object["metadata"]
        left = [name for name in own.get("finalizers", ()) if name not in _COLLECTED.values()]
        if left != own.get("finalizers"):
            self.store.put(storage, key, {**stored.object, "metadata": {**own, "finalizers": left}})
            self._settle(storage, key)

    def _cascade(self, storage: StorageKey, key: ObjectKey) -> None:
        """Delete everything in a namespace or of a definition that is being deleted."""
        if storage == NAMESPACES:
            for inner, stored in list(self.store.in_namespace(key[1])):
                self._delete_instance(inner, stored)
            self._settle_namespace(key[1])
        elif storage == DEFINITIONS:
            definition = self.store.collection(storage).objects[key].object
            self._serve(definition)
            instances = definitions.storage_of(definition)
            for stored in list(self.store.collection(instances).objects.values()):
                self._delete_instance(instances, stored)
            self._settle_definition(instances)

    def _delete_instance(self, storage: StorageKey, stored: Stored) -> None:
        resource = self.catalog.stored_as(storage)
        own = stored.object["metadata"]
        if resource is not None:
            self.delete(resource, (own.get("namespace", ""), own["name"]))

    def _settle_namespace(self, name: str) -> None:
        """Remove a namespace that is being deleted and is empty."""
        self._settle(NAMESPACES, ("", name))

    def _settle_definition(self, instances: StorageKey) -> None:
        """Release a definition that is being deleted and has no instances."""
        key = ("", f"{instances[1]}.{instances[0]}")
        stored = self.store.find(DEFINITIONS, key)
        if stored is None or self.store.collection(instances).objects:
            return
        own = stored.object["metadata"]
        if "deletionTimestamp" in own and definitions.CLEANUP_FINALIZER in own.get("finalizers", ()):
            left = [name for name in own["finalizers"] if name != definitions.CLEANUP_FINALIZER]
            released = {**stored.object, "metadata": {**own, "finalizers": left}}
            self.store.put(DEFINITIONS, key, released)
            self._settle(DEFINITIONS, key)

    def _settle(self, storage: StorageKey, key: ObjectKey) -> None:
        stored = self.store.find(storage, key)
        resource = self.catalog.stored_as(storage)
        if stored is None or resource is None or "deletionTimestamp" not in stored.object["metadata"]:
            return
        if not self._is_held(resource, key, stored.object):
            self._remove(storage, key, stored.object)

    def _serve(self, definition: Object) -> None:
        storage = definitions.storage_of(definition)
        before = self.catalog.stored_as(storage)
        self.catalog.remove(definition["metadata"]["name"])
        for resource in definitions.resources(definition):
            self.catalog.install(resource)
        after = self.catalog.stored_as(storage)
        if after is not None and (before is None or before.schema is not after.schema):
            self.store.reread(storage, lambda obj: _as_read(obj, after.schema))


def _key(own: Object) -> ObjectKey:
    return own.get("namespace", ""), own["name"]


def _as_read(obj: Object, schema: Schema) -> Object:
    """Show a stored object as the schema of today has it: pruned, with its defaults.

    A real API server does so each time it reads an object, and keeps the old form until the next write. Here
    the old form is lost with the new schema.
    """
    shown = copy.deepcopy(obj)
    prune(shown, schema)
    set_defaults(shown, schema)
    return shown


def _marked(resource: Resource, obj: Object) -> Object:
    own = {**obj["metadata"], "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
    if resource.tracks_generation:
        own["generation"] = own["generation"] + 1
    marked = {**obj, "metadata": own}
    if resource.storage == NAMESPACES:
        return {**marked, "status": {"phase": "Terminating"}}
    return definitions.terminate(marked) if resource.storage == DEFINITIONS else marked
