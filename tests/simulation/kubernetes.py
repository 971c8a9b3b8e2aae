"""API server of a simulation: in memory, with users who apply and delete objects, and with backups."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from cloudrun_identity.api.crd import generate
from cloudrun_identity.kube.lease import NAME as LEASE
from cloudrun_identity.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from cloudrun_identity_playground.kubeapi import faults
from cloudrun_identity_playground.kubeapi.operations import Write
from cloudrun_identity_playground.kubeapi.resources import LEASES, NAMESPACES, Resource, StorageKey
from cloudrun_identity_playground.kubeapi.server import KubeApi
from cloudrun_identity_playground.kubeapi.store import Backup, Change

from .declarations import API_VERSION, PLURALS, ObjectName

Object = dict[str, Any]

OPERATOR_NAMESPACE = "operator"
URL = "http://kube.simulation"

_BUMP = 1_000_000
"""Number by which the versions continue after a restore with `--bump-revision`."""
_USER = "kubectl"


class Kubernetes:
    """The API server, as its users and its administrator see it."""

    def __init__(self, directory: Path) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self.on_write: list[Callable[[str, str, str, bytes], None]] = []
        """Called with the change, kind, name and JSON after each write that is not one of a Lease."""
        self._api = KubeApi()
        self._api.operations.store.on_change.append(self._note_write)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
        """Serve during the block. Yields the factory of the server's end of a connection."""
        async with self._api.in_memory(URL) as connect:
            for definition in _definitions():
                self._create(
                    self._resource(CUSTOM_RESOURCE_DEFINITIONS.group, "v1", "customresourcedefinitions"),
                    json.loads(definition),
                )
            self.kubeconfig.write_text(self._api.render_kubeconfig())
            yield connect

    def apply(self, obj: Object) -> None:
        """Create an object and its namespace, or replace its spec. Raises ApiError."""
        name = name_of(obj)
        if name.namespace:
            self.create_namespace(name.namespace)
        resource = self._of_kind(name.kind)
        stored = self._api.operations.store.find(resource.storage, (name.namespace, name.name))
        if stored is None:
            self._create(resource, copy.deepcopy(obj))
        else:
            new = copy.deepcopy(stored.object) | {"spec": copy.deepcopy(obj["spec"])}
            key = name.namespace, name.name
            self._api.operations.update(resource, key, new, Write(manager=_USER))

    def create_namespace(self, name: str) -> None:
        """Create a namespace, if it does not exist."""
        if self._api.operations.store.find(NAMESPACES, ("", name)) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._create(self._resource("", "v1", "namespaces"), body)

    def delete(self, name: ObjectName) -> None:
        """Delete an object. Raises ApiError."""
        key = name.namespace, name.name
        self._api.operations.delete(self._of_kind(name.kind), key, {}, Write(manager=_USER))

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace with all its objects. Raises ApiError."""
        resource = self._resource("", "v1", "namespaces")
        self._api.operations.delete(resource, ("", name), {}, Write(manager=_USER))

    def find(self, name: ObjectName) -> Object | None:
        """Return an object of the operator's kinds; None if it does not exist."""
        storage = self._of_kind(name.kind).storage
        stored = self._api.operations.store.find(storage, (name.namespace, name.name))
        return stored.object if stored else None

    def ledgers(self) -> Iterator[Object]:
        """Yield all PolicyLedgers."""
        for (_, plural), stored in self._api.operations.store.all():
            if plural == "policyledgers":
                yield stored.object

    def secret(self, namespace: str, name: str) -> Object | None:
        """Return a Secret; None if it does not exist."""
        storage = self._resource("", "v1", "secrets").storage
        stored = self._api.operations.store.find(storage, (namespace, name))
        return stored.object if stored else None

    def public_text(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and JSON of every object that is not a Secret."""
        for (_, plural), stored in self._api.operations.store.all():
            if plural != "secrets":
                yield f"{plural}/{stored.object['metadata']['name']}", stored.json

    def leader(self) -> str:
        """Return the name of the process that holds the Lease by what the API server stores; or empty."""
        lease = self._api.operations.store.find(LEASES, (OPERATOR_NAMESPACE, LEASE))
        holder = lease.object["spec"].get("holderIdentity", "") if lease else ""
        return str(holder).partition("_")[0]

    def backup(self) -> Backup:
        """Return a backup of the storage."""
        return self._api.operations.store.backup()

    def restore(self, backup: Backup, *, bump: bool) -> None:
        """Restore the storage. With `bump`, no version is used twice."""
        store = self._api.operations.store
        store.roll_back(backup, store.version + _BUMP if bump else None)

    def fail(self, fault: Object) -> None:
        """Set a fault of the next requests, or end watches."""
        self._api.handler.inject(faults.read(fault))

    def calm(self) -> None:
        """Clear the faults."""
        self._api.handler.clear_faults()

    def _create(self, resource: Resource, body: Object) -> None:
        namespace = body["metadata"].get("namespace", "")
        self._api.operations.create(resource, namespace, body, Write(manager=_USER))

    def _note_write(self, storage: StorageKey, change: Change) -> None:
        if storage == LEASES:
            return
        obj = change.stored.object
        metadata = obj["metadata"]
        name = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        for each in self.on_write:
            each(change.type, obj.get("kind", storage[1]), name, change.stored.json)

    def _of_kind(self, kind: str) -> Resource:
        group, _, version = API_VERSION.partition("/")
        return self._resource(group, version, PLURALS[kind])

    def _resource(self, group: str, version: str, plural: str) -> Resource:
        found = self._api.operations.catalog.find(group, version, plural)
        assert found, plural
        return found


def name_of(obj: Object) -> ObjectName:
    """Return the name of an object."""
    metadata = obj["metadata"]
    return ObjectName(obj["kind"], metadata.get("namespace", ""), metadata["name"])


@cache
def _definitions() -> tuple[str, ...]:
    """Return the CRDs as JSON, which is faster to copy: an API server keeps and changes what it creates."""
    return tuple(map(json.dumps, generate().values()))
