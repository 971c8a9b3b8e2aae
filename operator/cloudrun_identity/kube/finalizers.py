"""Our finalizer on an object: put there before anything is done for it, taken off when all is undone."""

from http import HTTPStatus

from cloudrun_identity.api.group import FINALIZER

from .errors import KubeError
from .objects import newest_of, resource_of
from .resources import Object, Verbs

TRIES = 5  # against objects that others edit at the same moment


class Finalizers:
    """Adds and removes our finalizer; others' finalizers are never touched.

    Patches are checked by resourceVersion, so none ever meets an object that began to be deleted meanwhile:
    Kubernetes refuses new finalizers there. They are merge patches, because a stale version is then answered
    with 409; a failed `test` of a JSON patch is a 422, as is any other fault.
    """

    def __init__(self, client: Verbs) -> None:
        self._client = client

    async def add(self, obj: Object) -> Object | None:
        """Make sure that the object carries our finalizer; returns it as stored, None when it is gone.

        An object that is being deleted is returned as it is.
        """
        current: Object | None = obj
        for _ in range(TRIES):
            if current is None or is_deleting(current) or has_finalizer(current):
                return current
            current = await self._patch(current, [*_finalizers(current), FINALIZER])
        raise _contended(obj)

    async def remove(self, obj: Object) -> None:
        """Make sure that the object does not carry our finalizer, or is gone."""
        current: Object | None = obj
        for _ in range(TRIES):
            if current is None or not has_finalizer(current):
                return
            kept = [finalizer for finalizer in _finalizers(current) if finalizer != FINALIZER]
            current = await self._patch(current, kept)
        raise _contended(obj)

    async def _patch(self, obj: Object, finalizers: list[str]) -> Object | None:
        """Set the finalizers if nobody was faster; the stored object either way, None when it is gone."""
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
        return await newest_of(self._client, obj)


def has_finalizer(obj: Object) -> bool:
    """Tell whether the object carries our finalizer."""
    return FINALIZER in _finalizers(obj)


def is_deleting(obj: Object) -> bool:
    """Tell whether somebody has asked for the object's deletion."""
    return "deletionTimestamp" in obj["metadata"]


def _finalizers(obj: Object) -> list[str]:
    return list(obj["metadata"].get("finalizers", ()))


def _contended(obj: Object) -> KubeError:
    metadata = obj["metadata"]
    where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return KubeError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f"{obj['kind']} {where}{metadata['name']} changed under each of {TRIES} tries at its finalizers",
    )
