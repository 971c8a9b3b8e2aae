"""Writes the status of an object. All status updates go through here."""

import logging

from .crds import INSTALL
from .errors import KubeError
from .objects import build_merge_patch, read_latest, resource_of
from .resources import Object, ObjectClient

_log = logging.getLogger(__name__)


class StatusWriter:
    """Writes through the status subresource, only if the status differs, and never over a newer object."""

    def __init__(self, client: ObjectClient) -> None:
        self._client = client
        self._reported: set[tuple[str, str]] = set()

    async def write(self, obj: Object, status: Object) -> Object | None:
        """Set the status of the object with one merge patch that contains only the difference.

        If the API server stores less of the status than was written, the operator logs a warning once per
        kind and field, and returns the object as if all of it had been stored. Writing it again could not
        succeed and would never end.

        Returns:
            The stored object, or `obj` itself if the status is equal. If the object has changed since `obj`
            was read, nothing is written, and the latest object is returned with its own status. None if the
            object was deleted.

        Raises:
            KubeError: The write failed for any other reason.

        """
        changes = build_merge_patch(obj.get("status", {}), status)
        if not changes:
            return obj
        metadata = obj["metadata"]
        resource, name, namespace = resource_of(obj), metadata["name"], metadata.get("namespace", "")
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": changes}
        try:
            stored = await self._client.patch(resource, name, namespace, patch, subresource="status")
            self._report_lost_fields(obj["kind"], status, stored.get("status", {}))
            return {**stored, "status": status}
        except KubeError as error:
            if not (error.is_conflict or error.is_not_found):
                raise
        return await read_latest(self._client, obj)

    def _report_lost_fields(self, kind: str, written: Object, stored: Object) -> None:
        for field in sorted(field for field, value in written.items() if stored.get(field) != value):
            if (kind, field) not in self._reported:
                self._reported.add((kind, field))
                _log.warning(
                    "the API server does not store status.%s of %s as the operator writes it: the installed "
                    "CRDs are older than this operator (run `%s`), or an admission webhook changes the field",
                    field,
                    kind,
                    INSTALL,
                )
