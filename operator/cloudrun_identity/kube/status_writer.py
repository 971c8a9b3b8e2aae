"""The one way in which a status is written."""

import logging

from .crds import INSTALL
from .errors import KubeError
from .merge_patches import merge_patch
from .objects import newest_of, resource_of
from .resources import Object, Verbs

_log = logging.getLogger(__name__)


class StatusWriter:
    """Writes statuses through the status subresource, only where they differ, never over a newer object."""

    def __init__(self, client: Verbs) -> None:
        self._client = client
        self._told: set[tuple[str, str]] = set()

    async def write(self, obj: Object, status: Object) -> Object | None:
        """Make `status` the object's status: one merge patch that holds the difference alone.

        Returns the stored object; `obj` itself when there was nothing to write; None when it is gone. When
        the object has moved on since `obj` was read, nothing is written and the newest one is returned, whose
        status is then not the one asked for. Raises `KubeError` for everything else.

        A server that keeps less of the status than was written is told of once, in the log, and the object is
        returned as if it had kept it all: to write it again would be in vain, and so without an end.
        """
        changes = merge_patch(obj.get("status", {}), status)
        if not changes:
            return obj
        metadata = obj["metadata"]
        resource, name, namespace = resource_of(obj), metadata["name"], metadata.get("namespace", "")
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": changes}
        try:
            stored = await self._client.patch(resource, name, namespace, patch, subresource="status")
            self._tell_of_loss(obj["kind"], status, stored.get("status", {}))
            return {**stored, "status": status}
        except KubeError as error:
            if not (error.is_conflict or error.is_not_found):
                raise
        return await newest_of(self._client, obj)

    def _tell_of_loss(self, kind: str, written: Object, kept: Object) -> None:
        for field in sorted(field for field, value in written.items() if kept.get(field) != value):
            if (kind, field) not in self._told:
                self._told.add((kind, field))
                _log.warning(
                    "the API server does not keep status.%s of %s as it is written: the installed CRDs are "
                    "older than this operator (run `%s`), or an admission webhook changes it",
                    field,
                    kind,
                    INSTALL,
                )
