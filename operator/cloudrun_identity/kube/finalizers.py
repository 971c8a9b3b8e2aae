"""The operator's finalizer: added before the operator acts on an object, removed after its cleanup."""

from datetime import datetime
from http import HTTPStatus

from cloudrun_identity.api.group import FINALIZER

from .crds import CrdState, installed
from .errors import KubeError
from .objects import read_latest, resource, resource_of
from .resources import Object, ObjectClient

TRIES = 5
"""Attempts at an object that other clients edit at the same moment."""


class Finalizers:
    """Adds and removes the operator's finalizer. Other finalizers stay as they are.

    Each patch carries the resourceVersion that was read. Therefore the operator never adds the finalizer to
    an object that is already being deleted, which Kubernetes refuses. The patches are merge patches, because
    the API server answers a stale version with 409. A failed `test` of a JSON patch is a 422, like any other
    invalid request.
    """

    def __init__(self, client: ObjectClient) -> None:
        self._client = client

    async def add(self, obj: Object) -> Object | None:
        """Add the operator's finalizer unless the object is being deleted.

        Returns:
            The stored object, or None if it was deleted.

        Raises:
            KubeError: The object cannot be written, or it changed during each attempt.

        """
        current: Object | None = obj
        for _ in range(TRIES):
            if current is None or is_deleting(current) or has_finalizer(current):
                return current
            current = await self._patch(current, [*_finalizers(current), FINALIZER])
        raise _conflict(obj)

    async def remove(self, obj: Object) -> None:
        """Remove the operator's finalizer. Does nothing if the object was deleted.

        Raises:
            KubeError: The object cannot be written, or it changed during each attempt.

        """
        current: Object | None = obj
        for _ in range(TRIES):
            if current is None or not has_finalizer(current):
                return
            kept = [finalizer for finalizer in _finalizers(current) if finalizer != FINALIZER]
            current = await self._patch(current, kept)
        raise _conflict(obj)

    async def _patch(self, obj: Object, finalizers: list[str]) -> Object | None:
        """Set the finalizers if the object is unchanged. Return the stored object; None if it was deleted."""
        metadata = obj["metadata"]
        resource, name, namespace = resource_of(obj), metadata["name"], metadata.get("namespace", "")
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
        try:
            return await self._client.patch(resource, name, namespace, patch)
        except KubeError as error:
            if error.is_not_found:
                return None
            if not error.is_conflict:
                raise
        return await read_latest(self._client, obj)


async def remove_finalizers_of_deleted_kinds(client: ObjectClient) -> int:
    """Remove the operator's finalizer from every object whose CRD is being deleted. Return their number.

    Kubernetes deletes a CRD only after the last of its objects. An uninstalled operator can no longer
    finalize these objects, and deleting a CRD is no request to delete anything in Google Cloud.

    Raises:
        KubeError: An object cannot be read or written.

    """
    finalizers, count = Finalizers(client), 0
    for kind, state in (await installed(client)).items():
        if state is CrdState.DELETING:
            for obj in await client.list(resource(kind)):
                await finalizers.remove(obj)
                count += 1
    return count


def has_finalizer(obj: Object) -> bool:
    """Return whether the object has the operator's finalizer."""
    return FINALIZER in _finalizers(obj)


def is_deleting(obj: Object) -> bool:
    """Return whether the object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def is_bypassed(removed: Object) -> bool:
    """Return whether the API server removed an object in spite of the operator's finalizer.

    It does so if a deletion coincides with the addition of the finalizer: both requests succeed, and the
    object is never marked as being deleted (https://github.com/kubernetes/kubernetes/issues/77988). If the
    operator or a user removes the finalizer instead, the last version has a deletion timestamp.
    """
    return has_finalizer(removed) and not is_deleting(removed)


def as_being_deleted(obj: Object, now: datetime) -> Object:
    """Return a copy of the object that is marked as being deleted since `now`."""
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": timestamp}}


def _finalizers(obj: Object) -> list[str]:
    return list(obj["metadata"].get("finalizers", ()))


def _conflict(obj: Object) -> KubeError:
    metadata = obj["metadata"]
    namespace = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return KubeError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f"the finalizers of {obj['kind']} {namespace}{metadata['name']} were not written: another client "
        f"changed the object during each of {TRIES} attempts",
    )
